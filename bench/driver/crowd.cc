#include "driver/crowd.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "driver/process.h"
#include "driver/wire.h"

namespace tertulia::bench {
namespace {

constexpr size_t buffer_bytes = 256 << 10;
constexpr uint32_t joining_max = 64;  // at once, so that no accept queue overflows
constexpr int64_t gather_patience_ns = 180'000'000'000;
constexpr size_t out_bytes_max = 64 << 20;  // what publishers may be ahead of a server that does not read
constexpr uint64_t sample_every = 1009;
constexpr uint8_t opcode_text = 1, opcode_close = 8, opcode_ping = 9, opcode_pong = 10;

}  // namespace

Crowd::Crowd(const CrowdOptions& options)
    : options_(options),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      buffer_(buffer_bytes),
      connections_(options.members),
      members_of_(options.rooms),
      heads_(options.rooms),
      judge_(options.members, options.rooms, options.rooms_each) {
  for (uint32_t member = 0; member < options.members; ++member)
    for (uint32_t place = 0; place < options.rooms_each; ++place) ++members_of_[room_of(member, place)];
}

Crowd::~Crowd() {
  for (const Connection& connection : connections_)
    if (connection.fd >= 0) close(connection.fd);
  if (epoll_ >= 0) close(epoll_);
}

void Crowd::give_up(std::string why) {
  if (trouble_.empty()) trouble_ = std::move(why);
}

// --- coming together ---

bool Crowd::connect_next() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    give_up(std::string("socket: ") + std::strerror(errno) + "; raise the limit of open files (ulimit -n)");
    return false;
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  const uint16_t port = options_.ports[std::size_t{connected_} * options_.ports.size() / options_.members];
  address.sin_port = htons(port);
  inet_pton(AF_INET, options_.host.c_str(), &address.sin_addr);
  // Blocking: on loopback it is done at once, and it spares a state.
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    give_up(std::string("connect: ") + std::strerror(errno));
    close(fd);
    return false;
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  Connection& connection = connections_[connected_];
  connection.fd = fd;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = connected_;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  connection.out = upgrade_request(options_.host + ':' + std::to_string(port), !options_.bare);
  write(connected_);
  ++connected_;
  return true;
}

std::string Crowd::gather() {
  const int64_t deadline_ns = monotonic_ns() + gather_patience_ns;
  while (ready_ < options_.members && trouble_.empty()) {
    while (connected_ < options_.members && connected_ - ready_ < joining_max && connect_next()) {
    }
    step(monotonic_ns() + 100'000'000);
    if (monotonic_ns() > deadline_ns)
      give_up("only " + std::to_string(ready_) + " of " + std::to_string(options_.members) + " members have joined");
  }
  return trouble_;
}

size_t Crowd::on_upgrade(uint32_t member, std::string_view data) {
  const size_t end = data.find("\r\n\r\n");
  if (end == std::string_view::npos) return 0;
  if (!data.starts_with("HTTP/1.1 101")) {
    give_up("the upgrade was answered with " + std::string(data.substr(0, data.find('\r'))));
    return data.size();
  }
  Connection& connection = connections_[member];
  connection.upgraded = true;
  if (options_.bare) {
    ++ready_;
    return end + 4;
  }
  connection.joins_left = static_cast<uint16_t>(options_.rooms_each);
  for (uint32_t place = 0; place < options_.rooms_each; ++place)
    append_client_frame(connection.out, opcode_text, join_request(room_of(member, place), member), mask_);
  write(member);
  return end + 4;
}

// --- sockets ---

void Crowd::step(int64_t wait_until_ns) {
  epoll_event events[256];
  const int64_t wait_ns = std::max<int64_t>(0, wait_until_ns - monotonic_ns());
  const timespec wait{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
  const int count = epoll_pwait2(epoll_, events, 256, &wait, nullptr);
  for (int i = 0; i < count; ++i) on_event(events[i].data.u32, events[i].events);
}

void Crowd::on_event(uint32_t member, uint32_t events) {
  Connection& connection = connections_[member];
  if (connection.fd < 0) return;
  if (events & EPOLLOUT) write(member);
  if ((events & ~static_cast<uint32_t>(EPOLLOUT)) == 0) return;
  // What is left of a frame goes before what comes.
  const size_t kept = connection.rest.size();
  if (kept + buffer_bytes / 2 > buffer_.size()) buffer_.resize(kept + buffer_bytes);
  std::memcpy(buffer_.data(), connection.rest.data(), kept);
  const ssize_t got = recv(connection.fd, buffer_.data() + kept, buffer_.size() - kept, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    give_up("member " + std::to_string(member) + " lost its connection");
    close(connection.fd);
    connection.fd = -1;
    return;
  }
  now_ns_ = monotonic_ns();
  if (seen_ != nullptr) ++seen_->receives;
  on_bytes(member, buffer_.data(), kept + static_cast<size_t>(got));
}

void Crowd::on_bytes(uint32_t member, char* data, size_t size) {
  Connection& connection = connections_[member];
  size_t at = 0;
  if (!connection.upgraded) at = on_upgrade(member, {data, size});
  while (connection.upgraded && at < size) {
    bool valid = true;
    const std::optional<FrameHead> head = read_head(data + at, size - at, valid);
    if (!valid) {
      give_up("a frame that no server may send");
      return;
    }
    if (!head || size - at < head->header_bytes + head->payload_bytes) break;
    on_frame(member, head->opcode, {data + at + head->header_bytes, head->payload_bytes});
    at += head->header_bytes + head->payload_bytes;
  }
  if (at < size) {
    connection.rest.assign(data + at, size - at);
  } else if (connection.rest.capacity() > 4096) {
    std::string().swap(connection.rest);
  } else {
    connection.rest.clear();
  }
}

void Crowd::write(uint32_t member) {
  Connection& connection = connections_[member];
  const ssize_t sent = send(connection.fd, connection.out.data(), connection.out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent > 0) connection.out.erase(0, static_cast<size_t>(sent));
  if (connection.out.size() > out_bytes_max) give_up("the server reads so slowly that the publisher gave up");
  if (connection.out.empty() == !connection.watching_write) return;
  connection.watching_write = !connection.watching_write;
  epoll_event event{};
  event.events = connection.watching_write ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.u32 = member;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event);
}

// --- frames ---

void Crowd::on_frame(uint32_t member, uint8_t opcode, std::string_view payload) {
  if (opcode == opcode_ping) {
    append_client_frame(connections_[member].out, opcode_pong, payload, mask_);
    write(member);
    return;
  }
  if (opcode == opcode_close) {
    give_up("the server closed member " + std::to_string(member) + ": " +
            std::string(payload.substr(std::min<size_t>(2, payload.size()))));
    return;
  }
  switch (kind_of(payload)) {
    case FrameKind::message: on_push(member, payload); return;
    case FrameKind::failure: give_up("the server answered " + std::string(payload.substr(0, 200))); return;
    case FrameKind::answer:
    case FrameKind::other: return;
    case FrameKind::live: break;
  }
  const std::optional<uint64_t> sequence = find_sequence(payload);
  Connection& connection = connections_[member];
  if (!sequence || connection.joins_left == 0) return give_up("a `live` nobody waits for");
  // Joins of one connection take effect in the order sent.
  const uint32_t place = options_.rooms_each - connection.joins_left;
  judge_.joined(member, place, *sequence);
  heads_[room_of(member, place)] = *sequence;
  if (--connection.joins_left == 0) ++ready_;
}

void Crowd::on_push(uint32_t member, std::string_view payload) {
  const std::optional<Push> push = read_push(payload);
  const bool sample = ++sampled_ % sample_every == 0;
  if (!push || push->room >= options_.rooms || push->index >= messages_.size() ||
      (sample && !push_is_whole(payload, options_.text_bytes))) {
    ++judge_.faults().malformed;
    return;
  }
  const uint32_t place =
      (push->room + options_.rooms - (member * options_.rooms_each) % options_.rooms) % options_.rooms;
  if (place >= options_.rooms_each) {
    ++judge_.faults().malformed;
    return;
  }
  if (!judge_.received(member, place, push->room, push->sequence, push->index)) return;
  Message& message = messages_[push->index];
  const int64_t age_ns = now_ns_ - message.due_ns;
  last_receipt_ns_ = now_ns_;
  ++seen_->deliveries;
  seen_->each.add(age_ns);
  if (waiting_deliveries_ > 0) --waiting_deliveries_;
  if (message.waiting > 0 && --message.waiting == 0) seen_->last.add(age_ns);
}

// --- a run ---

void Crowd::publish(int64_t due_ns, int64_t now_ns) {
  const uint64_t index = messages_.size();
  const uint32_t publisher = static_cast<uint32_t>(index % options_.publishers);
  const uint32_t place = static_cast<uint32_t>(index / options_.publishers % options_.rooms_each);
  const uint32_t room = room_of(publisher, place);
  messages_.push_back({due_ns, members_of_[room]});
  waiting_deliveries_ += members_of_[room];
  const uint64_t sequence = ++heads_[room];
  const std::string text = text_of(index, options_.text_bytes);
  mask_ = mask_ * 1664525 + 1013904223;
  append_client_frame(connections_[publisher].out, opcode_text,
                      options_.bare ? push(room, index, options_.run, text, sequence, unix_ms())
                                    : text_request(room, index, options_.run, text),
                      mask_);
  ++seen_->messages;
  seen_->latest_send_ns = std::max(seen_->latest_send_ns, now_ns - due_ns);
}

std::string Crowd::run(const Schedule& schedule, Seen& seen) {
  seen_ = &seen;
  judge_.faults() = {};
  const int64_t began_ns = monotonic_ns(), end_ns = began_ns + schedule.duration_ns;
  last_receipt_ns_ = began_ns;
  uint64_t bursts = 0;
  auto due = [&] {
    return schedule.bursts_per_second <= 0
               ? INT64_MAX
               : began_ns + static_cast<int64_t>(static_cast<double>(bursts) * 1e9 / schedule.bursts_per_second);
  };
  while (trouble_.empty()) {
    const int64_t now_ns = monotonic_ns();
    const bool over = now_ns >= end_ns && due() >= end_ns;
    if (over && (waiting_deliveries_ == 0 || now_ns >= std::max(end_ns, last_receipt_ns_) + schedule.patience_ns))
      break;
    for (; due() <= now_ns && due() < end_ns && trouble_.empty(); ++bursts) {
      for (uint32_t i = 0; i < schedule.burst; ++i) publish(due(), now_ns);
      for (uint32_t i = 0; i < options_.publishers; ++i)
        if (!connections_[i].out.empty()) write(i);
    }
    step(std::min(due() < end_ns ? due() : INT64_MAX, over ? now_ns + 100'000'000 : end_ns));
  }
  seen.elapsed_ns = std::max(last_receipt_ns_ - began_ns, schedule.duration_ns);
  for (uint32_t member = 0; member < options_.members; ++member)
    for (uint32_t place = 0; place < options_.rooms_each; ++place) {
      const uint32_t room = room_of(member, place);
      judge_.ended(member, place, room, heads_[room]);
    }
  waiting_deliveries_ = 0;
  seen.faults = judge_.faults();
  return trouble_;
}

}  // namespace tertulia::bench
