// Members who stop reading, and what the others feel of it: the driver of stall.test.mjs.
//
// Opens many members of one room, lets ten of them talk on a schedule, leaves the sockets of some unread for a while,
// then reads on. Each member's sequences are checked; the time from when a message was due to when it was received is
// kept for those who always read. What the kernel holds for the server's side of the unread sockets is asked of the
// kernel itself (sock_diag). Says what it does in lines of JSON on stdout, so that the test can read the server's
// metrics at the right moments. One thread; the receivers of 200,000 frames a second leave no time for JSON: of a frame
// only its two ends are looked at.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

constexpr int talkers = 10;
constexpr size_t read_bytes = 256 << 10;

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "stall_driver: %s (%s)\n", why.c_str(), std::strerror(errno));
  std::exit(1);
}

int64_t now_us() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000 + now.tv_nsec / 1000;
}

// --- latencies: counts in buckets no wider than a thousandth of their value ---

class Histogram {
 public:
  void add(int64_t us) {
    ++counts_[bucket(static_cast<uint64_t>(std::max<int64_t>(us, 0)))];
    ++total_;
  }
  int64_t at(double share) const {
    const auto rank = static_cast<uint64_t>(share * static_cast<double>(total_));
    uint64_t seen = 0;
    for (const auto& [bucket, count] : counts_)
      if ((seen += count) > rank) return static_cast<int64_t>(bucket);
    return counts_.empty() ? 0 : static_cast<int64_t>(counts_.rbegin()->first);
  }
  uint64_t total() const { return total_; }

 private:
  static uint64_t bucket(uint64_t us) {
    int shift = 0;
    while ((us >> shift) >= 2048) ++shift;
    return (us >> shift) << shift;
  }
  std::map<uint64_t, uint64_t> counts_;
  uint64_t total_ = 0;
};

// --- members ---

struct Member {
  int fd = -1;
  int number = 0;
  sockaddr_in own{};  // its address
  bool stalls = false, ready = false;
  uint64_t sequence = 0;  // the newest it has
  std::string left;       // an unfinished frame, or the handshake's answer
  std::string unsent;
};

struct Settings {
  int port = 0;
  int members = 2000, stallers = 200;
  int rate = 100;  // messages a second
  double warm_seconds = 3, stall_seconds = 15, settle_seconds = 30;
  int text_bytes = 100;
};

class Driver {
 public:
  explicit Driver(const Settings& settings)
      : settings_(settings), members_(static_cast<size_t>(settings.members)), buffer_(read_bytes, 0) {
    epoll_ = epoll_create1(0);
  }
  void run();

 private:
  void open(Member& member, int number);
  void say(Member& member, std::string_view text);
  void flush(Member& member);
  void take(Member& member);
  void frame(Member& member, uint8_t opcode, std::string_view payload);
  void message(Member& member, std::string_view payload);
  void turn(int64_t until_us);
  void talk(double seconds, bool measured);
  void watch(Member& member, bool reading);
  uint64_t kernel_bytes_max() const;
  void report(const char* event) const;

  const Settings settings_;
  int epoll_ = -1;
  std::vector<Member> members_;
  std::string buffer_;
  int ready_ = 0;
  uint64_t sent_ = 0;
  std::vector<int64_t> due_us_ = {0};  // of each sequence, once somebody received it
  bool measuring_ = false;
  Histogram others_;
  uint64_t faults_ = 0, closed_ = 0, deliveries_ = 0;
};

void Driver::watch(Member& member, bool reading) {
  epoll_event event{};
  event.events = (reading ? EPOLLIN : 0u) | (member.unsent.empty() ? 0u : EPOLLOUT);
  event.data.ptr = &member;
  if (epoll_ctl(epoll_, EPOLL_CTL_MOD, member.fd, &event) != 0) die("epoll_ctl");
}

void Driver::open(Member& member, int number) {
  member.number = number;
  member.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (member.fd < 0) die("socket: raise the limit of open files");
  // As of many hosts: the caps are for each address. And little of what is unread hides on our side.
  sockaddr_in& own = member.own;
  own.sin_family = AF_INET;
  own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 0x100 + static_cast<uint32_t>(number) % 16);
  const int receive_bytes = 32 << 10, on = 1;
  setsockopt(member.fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
  setsockopt(member.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (bind(member.fd, reinterpret_cast<sockaddr*>(&own), sizeof own) != 0) die("bind");
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(settings_.port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(member.fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) die("connect");
  socklen_t size = sizeof own;
  getsockname(member.fd, reinterpret_cast<sockaddr*>(&own), &size);
  fcntl(member.fd, F_SETFL, O_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = &member;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, member.fd, &event) != 0) die("epoll_ctl");
  member.unsent = "GET /chat HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(settings_.port) +
                  "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: tertulia.v2\r\n\r\n";
  flush(member);
}

void Driver::say(Member& member, std::string_view text) {
  std::string& out = member.unsent;
  out += static_cast<char>(0x81);
  if (text.size() < 126) {
    out += static_cast<char>(0x80 | text.size());
  } else {
    out += static_cast<char>(0x80 | 126);
    out += static_cast<char>(text.size() >> 8);
    out += static_cast<char>(text.size() & 0xff);
  }
  out.append(4, '\0');  // the mask
  out += text;
  flush(member);
}

void Driver::flush(Member& member) {
  while (!member.unsent.empty()) {
    const ssize_t taken = send(member.fd, member.unsent.data(), member.unsent.size(), MSG_NOSIGNAL);
    if (taken < 0) break;
    member.unsent.erase(0, static_cast<size_t>(taken));
  }
}

void Driver::take(Member& member) {
  const ssize_t got = recv(member.fd, buffer_.data(), buffer_.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    ++closed_;
    epoll_ctl(epoll_, EPOLL_CTL_DEL, member.fd, nullptr);
    return;
  }
  std::string_view bytes(buffer_.data(), static_cast<size_t>(got));
  if (!member.left.empty()) {
    member.left += bytes;
    bytes = member.left;
  }
  if (bytes.starts_with("HTTP/1.1 ")) {
    const size_t end = bytes.find("\r\n\r\n");
    if (end != std::string_view::npos && !bytes.starts_with("HTTP/1.1 101")) die("the handshake was refused");
    bytes.remove_prefix(end == std::string_view::npos ? 0 : end + 4);
    if (end == std::string_view::npos) {
      member.left = std::string(bytes);
      return;
    }
    say(member, R"({"jsonrpc":"2.0","method":"joinRoom","params":{"roomName":"stall","limit":0,"userName":"member )" +
                    std::to_string(member.number) + R"("},"id":1})");
  }
  while (bytes.size() >= 2) {
    const auto* head = reinterpret_cast<const uint8_t*>(bytes.data());
    size_t at = 2, length = head[1];
    if (length == 126) {
      if (bytes.size() < 4) break;
      length = static_cast<size_t>(head[2]) << 8 | head[3];
      at = 4;
    } else if (length == 127) {
      if (bytes.size() < 10) break;
      length = 0;
      for (int i = 2; i < 10; ++i) length = length << 8 | head[i];
      at = 10;
    }
    if (bytes.size() < at + length) break;
    frame(member, head[0] & 0x0f, bytes.substr(at, length));
    bytes.remove_prefix(at + length);
  }
  member.left = std::string(bytes);
}

void Driver::frame(Member& member, uint8_t opcode, std::string_view payload) {
  if (opcode == 9) {
    member.unsent += std::string("\x8a\x80\0\0\0\0", 6);
    flush(member);
    return;
  }
  if (opcode == 8) {
    std::fprintf(stderr, "stall_driver: closed with %d\n",
                 payload.size() < 2 ? 1005 : static_cast<uint8_t>(payload[0]) << 8 | static_cast<uint8_t>(payload[1]));
    return;  // counted when the connection ends
  }
  constexpr std::string_view of_message = R"({"jsonrpc":"2.0","method":"textMessage")";
  if (payload.starts_with(of_message)) {
    message(member, payload);
  } else if (payload.starts_with(R"({"jsonrpc":"2.0","error")")) {
    die("an error came: " + std::string(payload));
  } else if (!member.ready && payload.find(R"("sessionId")") != std::string_view::npos) {
    member.ready = true;
    ++ready_;
  }
}

// …,"sequence":N,"_id":"N-CCCCCCCCCCCCCCCC"}
void Driver::message(Member& member, std::string_view payload) {
  size_t end = payload.size() - 2 - 16 - 1;
  uint64_t sequence = 0, place = 1;
  for (size_t i = end; i-- > 0 && payload[i] != '"'; place *= 10)
    sequence += static_cast<uint64_t>(payload[i] - '0') * place;
  if (member.sequence != 0 && sequence != member.sequence + 1) ++faults_;
  member.sequence = sequence;
  ++deliveries_;
  if (sequence >= due_us_.size()) due_us_.resize(sequence + 1);
  int64_t& due = due_us_[sequence];
  if (due == 0) {
    constexpr std::string_view key = R"("text":")";
    due = std::strtoll(payload.data() + payload.find(key) + key.size(), nullptr, 10);
  }
  if (measuring_ && !member.stalls) others_.add(now_us() - due);
}

void Driver::turn(int64_t until_us) {
  epoll_event events[512];
  const int64_t left_us = std::max<int64_t>(0, until_us - now_us());
  const int count = epoll_wait(epoll_, events, 512, static_cast<int>(left_us / 1000));
  for (int i = 0; i < count; ++i) {
    auto& member = *static_cast<Member*>(events[i].data.ptr);
    if (events[i].events & EPOLLOUT) flush(member);
    if (events[i].events & ~static_cast<uint32_t>(EPOLLOUT)) take(member);
  }
}

// The talkers take turns; a message that is late is late, and is measured from when it was due.
void Driver::talk(double seconds, bool measured) {
  measuring_ = measured;
  const int64_t begin = now_us(), end = begin + static_cast<int64_t>(seconds * 1e6);
  const int64_t step = 1'000'000 / settings_.rate;
  for (int64_t due = begin; due < end; due += step) {
    while (now_us() < due) turn(due);
    turn(0);
    Member& talker = members_[members_.size() - 1 - sent_ % talkers];
    std::string text = std::to_string(due);
    text.resize(std::max<size_t>(text.size(), static_cast<size_t>(settings_.text_bytes)), '.');
    const std::string number = std::to_string(++sent_);
    say(talker, R"({"jsonrpc":"2.0","method":"textMessage","params":{"roomName":"stall","text":")" + text +
                    R"(","uuid":"stall-)" + number + R"(","date":""},"id":)" + number + "}");
  }
  measuring_ = false;
}

// The most the kernel holds for the server's end of an unread connection: queued to send and received, overhead
// included.
uint64_t Driver::kernel_bytes_max() const {
  const int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd < 0) die("sock_diag");
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } ask{};
  ask.header.nlmsg_len = sizeof ask;
  ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  ask.request.sdiag_family = AF_INET;
  ask.request.sdiag_protocol = IPPROTO_TCP;
  ask.request.idiag_ext = 1 << (INET_DIAG_SKMEMINFO - 1);
  ask.request.idiag_states = 1 << TCP_ESTABLISHED;
  if (send(fd, &ask, sizeof ask, 0) < 0) die("sock_diag");
  std::set<std::pair<uint32_t, uint16_t>> unread;
  for (const Member& member : members_)
    if (member.stalls) unread.emplace(member.own.sin_addr.s_addr, member.own.sin_port);
  uint64_t most = 0, seen = 0;
  alignas(nlmsghdr) char answer[32 << 10];
  for (bool more = true; more;) {
    auto size = recv(fd, answer, sizeof answer, 0);
    if (size < 0) die("sock_diag");
    for (auto* header = reinterpret_cast<nlmsghdr*>(answer); NLMSG_OK(header, size);
         header = NLMSG_NEXT(header, size)) {
      if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR) {
        more = false;
        break;
      }
      const auto* entry = static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
      if (ntohs(entry->id.idiag_sport) != settings_.port) continue;
      if (!unread.contains({entry->id.idiag_dst[0], entry->id.idiag_dport})) continue;
      auto length = static_cast<int>(header->nlmsg_len - NLMSG_LENGTH(sizeof *entry));
      for (auto* part = reinterpret_cast<const rtattr*>(entry + 1); RTA_OK(part, length);
           part = RTA_NEXT(part, length)) {
        if (part->rta_type != INET_DIAG_SKMEMINFO) continue;
        const auto* memory = static_cast<const uint32_t*>(RTA_DATA(part));
        most = std::max<uint64_t>(most, uint64_t{memory[SK_MEMINFO_WMEM_QUEUED]} + memory[SK_MEMINFO_RMEM_ALLOC]);
        ++seen;
      }
    }
  }
  close(fd);
  if (seen != static_cast<uint64_t>(settings_.stallers)) die("sock_diag has not shown all unread connections");
  return most;
}

void Driver::report(const char* event) const {
  std::printf("{\"event\":\"%s\"", event);
}

void Driver::run() {
  // Spread over the members as they joined; the last ones talk.
  const int quiet = settings_.members - talkers;
  for (int i = 0; i < settings_.stallers; ++i)
    members_[static_cast<size_t>(i) * quiet / settings_.stallers].stalls = true;
  for (int i = 0; i < settings_.members; ++i) {
    open(members_[i], i);
    while (ready_ < i - 50) turn(now_us() + 1000);
  }
  while (ready_ < settings_.members) turn(now_us() + 1000);
  report("joined");
  std::printf("}\n");
  talk(settings_.warm_seconds, false);

  for (Member& member : members_)
    if (member.stalls) watch(member, false);
  rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  const int64_t begin = now_us();
  const double last = std::min(5.0, settings_.stall_seconds / 3);
  talk(settings_.stall_seconds - last, true);
  report("last");
  std::printf(",\"seconds\":%.1f}\n", last);
  talk(last, true);
  const uint64_t kernel = settings_.stallers > 0 ? kernel_bytes_max() : 0;
  getrusage(RUSAGE_SELF, &after);
  const auto used_us = [](const rusage& u) {
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1'000'000 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
  };
  uint64_t unread_behind = UINT64_MAX;
  for (const Member& member : members_)
    if (member.stalls) unread_behind = std::min(unread_behind, sent_ - member.sequence);
  report("stalled");
  std::printf(
      ",\"kernelBytesMax\":%llu,\"othersP50Us\":%lld,\"othersP99Us\":%lld,\"deliveries\":%llu,"
      "\"driverShare\":%.3f,\"leastBehind\":%lld}\n",
      static_cast<unsigned long long>(kernel), static_cast<long long>(others_.at(0.5)),
      static_cast<long long>(others_.at(0.99)), static_cast<unsigned long long>(others_.total()),
      static_cast<double>(used_us(after) - used_us(before)) / static_cast<double>(now_us() - begin),
      settings_.stallers > 0 ? static_cast<long long>(unread_behind) : 0);

  for (Member& member : members_)
    if (member.stalls) watch(member, true);
  const int64_t resumed = now_us(), deadline = resumed + static_cast<int64_t>(settings_.settle_seconds * 1e6);
  const auto all_there = [&] {
    return std::all_of(members_.begin(), members_.end(), [&](const Member& each) { return each.sequence == sent_; });
  };
  while (!all_there() && now_us() < deadline) turn(now_us() + 10'000);
  const auto there =
      std::count_if(members_.begin(), members_.end(), [&](const Member& m) { return m.sequence == sent_; });
  report("caughtUp");
  std::printf(",\"sent\":%llu,\"there\":%lld,\"faults\":%llu,\"closed\":%llu,\"caughtUpMs\":%lld}\n",
              static_cast<unsigned long long>(sent_), static_cast<long long>(there),
              static_cast<unsigned long long>(faults_), static_cast<unsigned long long>(closed_),
              static_cast<long long>((now_us() - resumed) / 1000));
}

}  // namespace

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  Settings settings;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const double value = std::atof(argv[i + 1]);
    if (name == "--port")
      settings.port = static_cast<int>(value);
    else if (name == "--members")
      settings.members = static_cast<int>(value);
    else if (name == "--stallers")
      settings.stallers = static_cast<int>(value);
    else if (name == "--rate")
      settings.rate = static_cast<int>(value);
    else if (name == "--warm")
      settings.warm_seconds = value;
    else if (name == "--stall")
      settings.stall_seconds = value;
    else if (name == "--text-bytes")
      settings.text_bytes = static_cast<int>(value);
    else
      die("what is " + std::string(name) + "?");
  }
  rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  Driver(settings).run();
}
