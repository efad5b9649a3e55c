#include "bus/nats_bus.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "bus/bus_message.h"
#include "bus/local_bus.h"

namespace tertulia {
namespace {

constexpr int64_t flush_ms = 1'000;
constexpr int64_t flush_again_us = 100'000;
constexpr int64_t tick_us = 1'000'000;
constexpr int unanswered_max = 4;  // flushes in a row; then the server hangs
constexpr int64_t former_kept_us = 30'000'000;
constexpr int64_t pause_min_us = 100'000, pause_max_us = 2'000'000;
constexpr int64_t lasting_us = 5'000'000;
constexpr const char* consequence = "; members of other nodes hear with up to 2 s delay";

}  // namespace

struct NatsBus::Inlet {
  LocalBus local;
  SharedCounter received, not_understood, gaps;

  std::mutex mutex;
  BusWatcher* watcher = nullptr;  // under mutex
  Executor* executor = nullptr;   // under mutex
  std::string own_node;           // under mutex

  void hear_room(const std::string& room, std::string_view bytes) {
    received.add();
    std::optional<RoomNews> news = decode_room_news(bytes);
    if (!news) {
      not_understood.add();
      return;
    }
    local.publish(std::make_shared<BusItem>(BusItem{room, std::move(*news)}));
  }

  void hear_heartbeat(std::string_view bytes) {
    received.add();
    std::optional<Heartbeat> heartbeat = decode_heartbeat(bytes);
    if (!heartbeat) {
      not_understood.add();
      return;
    }
    // Posted under the lock: after watch(nullptr) nothing more is.
    const std::lock_guard lock(mutex);
    if (watcher == nullptr || heartbeat->node == own_node) return;
    executor->post([to = watcher, node = std::move(heartbeat->node)] { to->bus_heard(node); });
  }

  void tell_returned() {
    const std::lock_guard lock(mutex);
    if (watcher != nullptr) executor->post([to = watcher] { to->bus_returned(); });
  }
};

struct NatsBus::Mailbox {
  std::mutex mutex;
  Worker* keeper = nullptr;  // under mutex; null: the bus has ended

  void post(Function<void()> task) {
    const std::lock_guard lock(mutex);
    if (keeper != nullptr) keeper->post(std::move(task));
  }
};

NatsBus::Opened NatsBus::open(const std::string& urls, const NatsOptions& options, const Clock& clock, Random& random) {
  auto servers = parse_nats_urls(urls);
  if (const auto* wrong = std::get_if<std::string>(&servers)) return {nullptr, "bus: " + *wrong};
  const NatsCredentials& files = options.credentials;
  for (const std::string* file : {&files.creds_file, &files.ca_file, &files.cert_file, &files.key_file}) {
    if (!file->empty() && ::access(file->c_str(), R_OK) != 0) {
      return {nullptr, "bus: cannot read " + *file + " (" + std::strerror(errno) +
                           "), named by --nats-creds, --nats-ca, " + "--nats-cert or --nats-key"};
    }
  }
  if (files.cert_file.empty() != files.key_file.empty()) {
    return {nullptr, "bus: --nats-cert and --nats-key belong together; one of them is missing"};
  }
  std::unique_ptr<NatsBus> bus(new NatsBus(std::get<0>(std::move(servers)), options, clock, random));
  bus->start();
  return {std::move(bus), ""};
}

NatsBus::NatsBus(std::vector<NatsServer> servers, const NatsOptions& options, const Clock& clock, Random& random)
    : options_(options),
      clock_(clock),
      random_(random),
      addresses_(addresses_of(servers)),
      inlet_(std::make_shared<Inlet>()),
      mailbox_(std::make_shared<Mailbox>()),
      away_since_us_(clock.now_us()),
      trouble_("bus: not yet connected to " + addresses_ + consequence) {
  for (NatsServer& server : servers) {
    servers_.emplace_back();
    servers_.back().at = std::move(server);
  }
  ThreadWorkers workers;
  timer_ = workers.make("bus-timer");
  keeper_ = workers.make("bus-keeper");
  outbox_ = std::make_unique<NatsOutbox>(
      workers.make("bus-out"), options.outbox,
      [this](const std::shared_ptr<NatsLink>& link) { mailbox_->post([this, link] { lose_if(link); }); });
}

void NatsBus::start() {
  {
    const std::lock_guard lock(mailbox_->mutex);
    mailbox_->keeper = keeper_.get();
  }
  keeper_->post([this] {
    // So that the nodes of a cluster do not all begin with the same server.
    next_server_ = random_.below(servers_.size());
    connect_next();
    tick();
  });
}

NatsBus::~NatsBus() {
  stop();
}

void NatsBus::stop() {
  if (std::exchange(stopped_, true)) return;
  {
    const std::lock_guard lock(mailbox_->mutex);
    mailbox_->keeper = nullptr;
  }
  outbox_->stop();
  keeper_->stop();
  timer_->stop();
  for (Server& server : servers_) {
    // One that hangs is left behind: it holds nothing of the bus.
    if (server.attempt.joinable()) server.attempt.detach();
  }
  watch(nullptr, nullptr);
  link_ = nullptr;
  former_.clear();
}

// --- the door ---

void NatsBus::subscribe(const std::string& room, BusSubscriber& subscriber, Function<void()> ready) {
  inlet_->local.subscribe(room, subscriber, [] {});
  const int64_t now = clock_.now_us();
  const std::lock_guard lock(mutex_);
  Room& entry = rooms_[room];
  entry.subscribers.push_back(&subscriber);
  Waiter waiter{room, &subscriber, std::move(ready), now};
  if (entry.stands) {
    fire(waiter);
    return;
  }
  // Who comes while the bus is away for long need not wait for it: its return is told to everybody.
  waiter.until_us = (connected_ ? now : away_since_us_) + options_.ready_wait_ms * 1000;
  if (waiter.until_us <= now) {
    entry.unsure = true;
    fire(waiter);
  } else {
    wake_timer(waiter.until_us - now);
    waiters_.push_back(std::move(waiter));
  }
  dirty_.insert(room);
  kick();
}

void NatsBus::unsubscribe(const std::string& room, BusSubscriber& subscriber) {
  inlet_->local.unsubscribe(room, subscriber);
  std::vector<Waiter> gone;  // what they hold ends outside the lock
  const std::lock_guard lock(mutex_);
  const auto found = rooms_.find(room);
  if (found == rooms_.end()) return;
  std::erase(found->second.subscribers, &subscriber);
  for (size_t i = 0; i < waiters_.size();) {
    if (waiters_[i].subscriber == &subscriber && waiters_[i].room == room) {
      gone.push_back(std::move(waiters_[i]));
      waiters_.erase(waiters_.begin() + static_cast<ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
  if (!found->second.subscribers.empty()) return;
  dirty_.insert(room);
  kick();
}

void NatsBus::publish(std::shared_ptr<const BusItem> item, const BusSubscriber& from) {
  inlet_->local.publish(item, from);
  outbox_->offer(std::move(item));
}

void NatsBus::publish(std::shared_ptr<const BusItem> item) {
  inlet_->local.publish(item);
  outbox_->offer(std::move(item));
}

void NatsBus::watch(BusWatcher* watcher, Executor* executor) {
  CHECK((watcher == nullptr) == (executor == nullptr), "a watcher is told somewhere");
  {
    const std::lock_guard lock(inlet_->mutex);
    inlet_->watcher = watcher;
    inlet_->executor = executor;
  }
  // Whoever begins to watch a bus that stands has missed nothing; but he cannot know that it does.
  const std::lock_guard lock(mutex_);
  if (connected_ && watcher != nullptr) inlet_->tell_returned();
}

void NatsBus::beat(const std::string& node) {
  {
    const std::lock_guard lock(inlet_->mutex);
    inlet_->own_node = node;
  }
  outbox_->beat(node);
}

std::string NatsBus::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

NatsBus::Counts NatsBus::counts() const {
  return {outbox_->published(), inlet_->received.value(),       outbox_->dropped(),
          inlet_->gaps.value(), inlet_->not_understood.value(), connections_.value()};
}

void NatsBus::describe(MetricsSink& sink) const {
  inlet_->local.describe(sink);
  const Counts all = counts();
  const auto counter = [&](const char* name, const char* help, uint64_t value) {
    sink.counter(name, help, static_cast<double>(value));
  };
  counter("tertulia_bus_published_total", "Messages handed to the bus between nodes.", all.published);
  counter("tertulia_bus_received_total", "Messages that came over the bus between nodes.", all.received);
  counter("tertulia_bus_unsent_total", "Items not sent to other nodes: the bus was away, or slower than they came.",
          all.dropped_out);
  counter("tertulia_bus_gaps_total", "Times that messages of other nodes came faster than they were taken.",
          all.dropped_in);
  counter("tertulia_bus_not_understood_total", "Messages of the bus that are malformed or of another version.",
          all.not_understood);
  counter("tertulia_bus_connections_total", "Connections made to a server of the bus.", all.connections);
  const std::lock_guard lock(mutex_);
  sink.gauge("tertulia_bus_connected", "1 while the bus between nodes is connected.", connected_ ? 1 : 0);
}

// --- under mutex_ ---

void NatsBus::kick() {
  if (std::exchange(kicked_, true)) return;
  keeper_->post([this] { sync(); });
}

void NatsBus::fire(Waiter& waiter) {
  waiter.subscriber->bus_executor().post(std::move(waiter.ready));
}

void NatsBus::wake_timer(int64_t us) {
  if (std::exchange(timing_, true)) return;
  timer_->post_after(us, [this] { expire(); });
}

void NatsBus::expire() {
  const int64_t now = clock_.now_us();
  const std::lock_guard lock(mutex_);
  timing_ = false;
  int64_t next_us = INT64_MAX;
  std::erase_if(waiters_, [&](Waiter& waiter) {
    if (waiter.until_us > now) {
      next_us = std::min(next_us, waiter.until_us);
      return false;
    }
    rooms_.at(waiter.room).unsure = true;  // whoever waits has not unsubscribed
    fire(waiter);
    return true;
  });
  if (next_us != INT64_MAX) wake_timer(next_us - now);
}

// --- the keeper: one connection after another ---

void NatsBus::connect_next() {
  if (attempt_ != 0 || link_) return;
  size_t at = servers_.size();
  for (size_t i = 0; i < servers_.size() && at == servers_.size(); ++i) {
    const size_t candidate = (next_server_ + i) % servers_.size();
    if (!servers_[candidate].busy) at = candidate;
  }
  if (at == servers_.size()) {
    pause_before_connecting();
    return;
  }
  next_server_ = (at + 1) % servers_.size();
  ++tried_;
  const uint64_t id = attempt_ = ++last_id_;
  servers_[at].busy = true;
  auto events = std::make_shared<NatsLink::Events>();
  events->lost = [this, mailbox = mailbox_, id](const std::string& why) {
    mailbox->post([this, id, why] { lose(id, why); });
  };
  events->slow = [inlet = inlet_] { inlet->gaps.add(); };
  events->denied = [this, mailbox = mailbox_, id](const std::string& what) {
    mailbox->post([this, id, what] { denied(id, what); });
  };
  servers_[at].attempt = NatsLink::connect(
      servers_[at].at, options_.credentials, clock_, std::move(events),
      [this, mailbox = mailbox_, id, at](std::shared_ptr<NatsLink> link, bool refused, const std::string& why) {
        mailbox->post([this, id, at, link = std::move(link), refused, why] { arrived(id, at, link, refused, why); });
      });
  keeper_->post_after(options_.connect_wait_ms * 1000, [this, id] { give_up(id); });
}

void NatsBus::pause_before_connecting() {
  tried_ = 0;
  pause_us_ = std::clamp(pause_us_ * 2, pause_min_us, pause_max_us);
  keeper_->post_after(pause_us_ / 2 + static_cast<int64_t>(random_.below(static_cast<uint64_t>(pause_us_))),
                      [this] { connect_next(); });
}

void NatsBus::arrived(uint64_t id, size_t server, std::shared_ptr<NatsLink> link, bool refused,
                      const std::string& why) {
  servers_[server].busy = false;
  if (servers_[server].attempt.joinable()) servers_[server].attempt.join();
  if (id != attempt_) return;  // given up: another is being tried
  attempt_ = 0;
  if (link) {
    link_id_ = id;
    linked(std::move(link));
  } else {
    failed(servers_[server].at.address() + (refused ? " refuses the credentials (" : " (") + why + ")", refused);
  }
}

void NatsBus::give_up(uint64_t id) {
  if (id != attempt_) return;
  attempt_ = 0;
  failed("no answer from a server within " + std::to_string(options_.connect_wait_ms) + " ms", false);
}

void NatsBus::failed(const std::string& why, bool refused) {
  say("bus: not connected: " + why +
          (refused ? "; check the user and password or token in --bus, or --nats-creds"
                   : "; the servers are " + addresses_) +
          consequence,
      refused ? LogLevel::error : LogLevel::warn);
  if (tried_ < servers_.size()) {
    connect_next();
  } else {
    pause_before_connecting();
  }
}

void NatsBus::linked(std::shared_ptr<NatsLink> link) {
  link_ = std::move(link);
  linked_us_ = clock_.now_us();
  bool good = link_->subscribe(heartbeat_subject,
                               [inlet = inlet_](std::string_view bytes) { inlet->hear_heartbeat(bytes); }) != nullptr;
  std::vector<std::string> rooms;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [room, entry] : rooms_) rooms.push_back(room);
  }
  good = good && subscribe_missing(rooms) && link_->flush(flush_ms);
  if (!good) {
    lose(link_id_, "it ended at once");
    return;
  }
  connections_.add();
  outbox_->set_link(link_);
  say("", LogLevel::info);
  if (options_.log != nullptr) {
    options_.log->limited(LogLevel::info, 1, "bus", "connected", {{"servers", addresses_}});
  }
  {
    const std::lock_guard lock(mutex_);
    connected_ = true;
  }
  tell_return_ = true;
  unflushed_ = true;
  settle();
}

void NatsBus::lose_if(const std::shared_ptr<NatsLink>& link) {
  if (link == link_) lose(link_id_, "the server does not take what is sent");
}

void NatsBus::lose(uint64_t id, const std::string& why) {
  if (!link_ || id != link_id_) return;
  link_id_ = 0;
  unanswered_ = 0;
  fresh_.clear();
  outbox_->set_link(nullptr);
  const std::shared_ptr<NatsLink> former = std::move(link_);
  link_ = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(connected_, false)) away_since_us_ = clock_.now_us();
    for (auto& [room, entry] : rooms_) {
      entry.line = nullptr;
      entry.stands = false;
    }
  }
  say("bus: the connection was lost (" + why + "); the servers are " + addresses_ + consequence, LogLevel::warn);
  // One that did not last is worth no more than one that was refused: a server that ends every connection at once is
  // not to be asked without a pause.
  if (clock_.now_us() - linked_us_ >= lasting_us) tried_ = 0, pause_us_ = 0;
  if (tried_ >= servers_.size()) {
    pause_before_connecting();
  } else {
    connect_next();
  }
  former_.emplace_back(clock_.now_us() + former_kept_us, former);
  former->hang_up();  // may wait a little, while the next is being connected
}

void NatsBus::denied(uint64_t id, const std::string& what) {
  if (!link_ || id != link_id_) return;
  say("bus: the server does not allow what is needed (" + what +
          "); let the user publish and subscribe to room.* and node.heartbeat" + consequence,
      LogLevel::error);
}

void NatsBus::say(const std::string& trouble, LogLevel level) {
  {
    const std::lock_guard lock(mutex_);
    if (trouble_ == trouble) return;
    trouble_ = trouble;
  }
  if (options_.log != nullptr && !trouble.empty()) {
    options_.log->limited(level, 1, "bus", "trouble", {{"what", trouble}});
  }
}

// --- the keeper: interest by room ---

void NatsBus::sync() {
  std::unordered_set<std::string> dirty;
  std::vector<std::string> missing;
  std::vector<NatsLink::Line*> leave;
  {
    const std::lock_guard lock(mutex_);
    kicked_ = false;
    dirty.swap(dirty_);
    for (const std::string& room : dirty) {
      const auto found = rooms_.find(room);
      if (found == rooms_.end()) continue;
      if (!found->second.subscribers.empty()) {
        if (found->second.line == nullptr) missing.push_back(room);
        continue;
      }
      // In one step: who subscribes from now on finds nothing that stands.
      if (found->second.line != nullptr) leave.push_back(found->second.line);
      rooms_.erase(found);
    }
  }
  if (!link_) return;
  for (NatsLink::Line* line : leave) link_->unsubscribe(line);
  if (missing.empty()) return;
  if (!subscribe_missing(missing)) {
    lose(link_id_, "it takes no subscription");
    return;
  }
  unflushed_ = true;
  settle();
}

bool NatsBus::subscribe_missing(const std::vector<std::string>& rooms) {
  for (const std::string& room : rooms) {
    NatsLink::Line* const line = link_->subscribe(
        room_subject(room), [inlet = inlet_, room](std::string_view bytes) { inlet->hear_room(room, bytes); });
    if (line == nullptr) return false;
    const std::lock_guard lock(mutex_);
    rooms_.at(room).line = line;  // nobody but the keeper removes an entry
    fresh_.push_back(room);
  }
  return true;
}

bool NatsBus::flushed() {
  if (link_->flush(flush_ms)) {
    unanswered_ = 0;
    return true;
  }
  if (++unanswered_ >= unanswered_max) lose(link_id_, "the server does not answer");
  return false;
}

void NatsBus::settle() {
  if (!link_ || !unflushed_) return;
  if (!flushed()) {
    // If the connection has ended, its end will be told; if the server is slow, it gets another second.
    keeper_->post_after(flush_again_us, [this] { settle(); });
    return;
  }
  unflushed_ = false;
  bool tell = std::exchange(tell_return_, false);
  {
    const std::lock_guard lock(mutex_);
    // The keeper alone makes lines, so each was made before the flush.
    for (const std::string& room : fresh_) {
      const auto found = rooms_.find(room);
      if (found == rooms_.end() || found->second.line == nullptr) continue;
      found->second.stands = true;
      tell |= std::exchange(found->second.unsure, false);
    }
    fresh_.clear();
    std::erase_if(waiters_, [&](Waiter& waiter) {
      if (!stands(waiter.room)) return false;
      fire(waiter);
      return true;
    });
  }
  if (tell) inlet_->tell_returned();
}

bool NatsBus::stands(const std::string& room) const {
  const auto found = rooms_.find(room);
  return found != rooms_.end() && found->second.stands;
}

void NatsBus::tick() {
  if (link_) {
    link_->sweep();
    const uint64_t gaps = inlet_->gaps.value() + inlet_->local.dropped();
    if (std::exchange(gaps_told_, gaps) != gaps) inlet_->tell_returned();
    flushed();
  }
  const int64_t now = clock_.now_us();
  std::erase_if(former_, [now](const auto& each) { return each.first <= now; });
  keeper_->post_after(unanswered_ == 0 ? tick_us : 0, [this] { tick(); });
}

}  // namespace tertulia
