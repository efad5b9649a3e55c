#include "node/shard.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/failpoint.h"
#include "base/limits.h"

namespace tertulia {
namespace {

using limits::committed_uuids_max;
using limits::heads_asked_max;
using limits::sweep_members_max;
using limits::sweep_slice_us;
using limits::tails_bytes_shard_max;
constexpr int64_t turn_us = 1'000;  // then the loop sees to its sockets
constexpr int64_t tick_us = 1'000'000;
constexpr int64_t life_tick_min_us = 20'000;
constexpr int64_t compare_retry_us = 500'000;
constexpr int64_t quiet_us = 5'000'000;
constexpr size_t parted_max = 10'000;  // rooms that left memory and whose heads are still announced
constexpr int64_t overslept_noticed_us = 1'000'000;
constexpr int64_t drain_margin_us = 2'000'000;  // for closes and appends under way when the window is over

LifeLimits life_limits_of(const Options& options, Dialect dialect) {
  LifeLimits limits;
  limits.ping_us = options.ping_interval_ms * 1000;
  const bool classic = dialect == Dialect::classic;
  limits.silent_us = (classic ? options.classic_silent_ms : options.silent_ms) * 1000;
  limits.stalled_us = (classic ? options.classic_silent_ms : options.stalled_ms) * 1000;
  limits.vanished_us = options.vanished_ms * 1000;
  limits.no_room_us = options.no_room_ms * 1000;
  limits.started_frame_us = options.handshake_ms * 1000;
  limits.heartbeat_us = options.heartbeat_ms * 1000;
  return limits;
}

// How often sessions are looked at: often enough for the shortest of their durations, a second where all are long.
int64_t life_tick_of(const LifeLimits& classic, const LifeLimits& v2, const Options& options) {
  int64_t shortest_us = options.first_join_wait_ms * 1000;
  for (const LifeLimits* each : {&classic, &v2})
    for (const int64_t us : {each->ping_us, each->silent_us, each->stalled_us, each->vanished_us, each->no_room_us,
                             each->started_frame_us, each->heartbeat_us})
      shortest_us = std::min(shortest_us, us);
  return std::clamp(shortest_us / 4, life_tick_min_us, tick_us);
}

}  // namespace

Shard::Shard(NodeContext& context, Executor& executor, Timers& timers)
    : context_(context),
      executor_(executor),
      timers_(timers),
      life_limits_{life_limits_of(context.options, Dialect::classic), life_limits_of(context.options, Dialect::v2)},
      life_tick_us_(life_tick_of(life_limits_[0], life_limits_[1], context.options)),
      live_(context.options.live),
      committed_uuids_(committed_uuids_max) {
  websocket_limits_.message_bytes_max = context.options.message_bytes_max;
}

Shard::~Shard() = default;

void Shard::start() {
  timers_.after(tick_us, [this] { tick(); });
  timers_.after(life_tick_us_, [this] { life_tick(); });
}

void Shard::open(std::unique_ptr<Transport> transport, Greeting greeting) {
  const uint64_t id = next_session_++;
  Transport& door = *transport;
  auto session = std::make_unique<Session>(*this, id, std::move(transport), greeting);
  Session& opened = *session;
  sessions_.emplace(id, std::move(session));
  metrics_.sessions.add(1);
  door.set_user(&opened);
  if (draining_) opened.close(CloseCode::restart, "this node is leaving", Closed::restart);
}

void Shard::make_room() {
  std::vector<std::pair<int64_t, uint64_t>> idle;  // since when, and who
  for (const auto& [id, session] : sessions_)
    if (!session->in_room() && !session->closing()) idle.emplace_back(session->without_room_since_us(), id);
  const size_t count = std::min(idle.size(), limits::pressed_out_max);
  std::partial_sort(idle.begin(), idle.begin() + static_cast<ptrdiff_t>(count), idle.end());
  for (size_t i = 0; i < count; ++i)
    if (Session* session = find_session(idle[i].second))
      session->close(CloseCode::try_again, "the node is full", Closed::pressure);
}

void Shard::remove(Session& session) {
  metrics_.sessions.add(-1);
  sessions_.erase(session.id());
  if (draining_ && sessions_.empty()) drain_step();
}

Session* Shard::find_session(uint64_t id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second.get();
}

RoomHost& Shard::room(const std::string& name) {
  std::unique_ptr<RoomHost>& host = rooms_[name];
  if (!host) {
    host = std::make_unique<RoomHost>(*this, name);
    metrics_.rooms.add(1);
  }
  return *host;
}

RoomHost* Shard::find_room(const std::string& name) {
  const auto found = rooms_.find(name);
  return found == rooms_.end() ? nullptr : found->second.get();
}

void Shard::close_room(RoomHost& host) {
  // Not now: the room is somewhere up the stack.
  rooms_closing_.push_back(host.room_name());
  schedule();
}

void Shard::pump_soon(Session& session) {
  if (!session.queue_pump()) return;
  to_pump_.push_back(session.id());
  schedule();
}

void Shard::sweep_soon(RoomHost& host) {
  to_sweep_.push_back(host.room_name());
  schedule();
}

void Shard::schedule() {
  if (std::exchange(scheduled_, true)) return;
  executor_.post([this] { run(); });
}

// One turn: private answers first, then a slice of each room that grew, round robin, until the turn is over. What is
// left goes on behind the loop's other work, so that a room of 10,000 does not delay a room of 2.
void Shard::run() {
  scheduled_ = false;
  const int64_t began_us = now_us();
  // At most half of the turn is theirs: after a restart thousands may have something to say at once.
  size_t pumped = 0;
  for (; pumped < to_pump_.size() && (pumped % 32 != 0 || now_us() - began_us < turn_us / 2); ++pumped)
    if (Session* session = find_session(to_pump_[pumped])) session->pump();
  to_pump_.erase(to_pump_.begin(), to_pump_.begin() + static_cast<ptrdiff_t>(pumped));
  while (!to_sweep_.empty()) {
    const std::string name = std::move(to_sweep_.front());
    to_sweep_.pop_front();
    RoomHost* host = find_room(name);
    if (host == nullptr) continue;
    const int64_t slice_began_us = now_us();
    bool more = true;
    for (size_t served = 0; more && served < sweep_members_max; served += 32) {
      more = host->sweep(32);
      if (now_us() - slice_began_us >= sweep_slice_us) break;
    }
    if (more) {
      FAILPOINT("mid_sweep");
      to_sweep_.push_back(name);
    }
    if (now_us() - began_us >= turn_us) break;
  }
  for (const std::string& name : std::exchange(rooms_closing_, {})) {
    const auto found = rooms_.find(name);
    if (found == rooms_.end() || found->second->in_use()) continue;
    // Whoever says one thing and leaves must be heard, too.
    const int64_t until_us = found->second->announces_until_us();
    if (until_us > began_us && parted_.size() < parted_max) parted_[name] = {found->second->log().head(), until_us};
    rooms_.erase(found);
    metrics_.rooms.add(-1);
  }
  if (!to_sweep_.empty() || !to_pump_.empty()) schedule();
}

void Shard::on_bus(const std::shared_ptr<const BusItem>& item) {
  if (RoomHost* host = find_room(item->room)) host->on_bus(*item);
}

// --- several nodes ---

void Shard::compare_heads() {
  ++compares_;
  compare_all_ = true;
  compare_next();
}

void Shard::announce(const std::string& room, const Position& head) {
  if (FAILPOINT("unsafe_announce_nothing")) return;
  context_.bus.publish(std::make_shared<BusItem>(BusItem{room, head}), *this);
}

void Shard::compare_head(RoomHost& host) {
  to_compare_.push_back(host.room_name());
  compare_next();
}

void Shard::compare_next() {
  if (comparing_) return;
  if (to_compare_.empty() && std::exchange(compare_all_, false)) {
    std::vector<const RoomHost*> hosts;
    for (const auto& [name, host] : rooms_)
      if (host->in_use()) hosts.push_back(host.get());
    std::sort(hosts.begin(), hosts.end(),
              [](const RoomHost* a, const RoomHost* b) { return a->grew_us() > b->grew_us(); });
    for (const RoomHost* host : hosts) to_compare_.push_back(host->room_name());
  }
  struct Asked {
    std::string room;
    Position held;
    uint32_t past;
  };
  std::vector<Asked> asked;
  std::vector<std::string> names;
  while (!to_compare_.empty() && asked.size() < heads_asked_max) {
    // One that is not open yet compares when it is, if it must.
    const RoomHost* host = find_room(to_compare_.front());
    if (host != nullptr && host->log().is_open()) {
      asked.push_back({host->room_name(), host->log().head(), host->log().pasts()});
      names.push_back(host->room_name());
    }
    to_compare_.pop_front();
  }
  if (asked.empty()) return;
  comparing_ = true;
  context_.store.heads(std::move(names), executor_,
                       [this, asked = std::move(asked)](std::optional<std::vector<Position>> heads) {
                         if (!heads) {
                           for (const Asked& each : asked) to_compare_.push_back(each.room);
                           timers_.after(compare_retry_us, [this] {
                             comparing_ = false;
                             compare_next();
                           });
                           return;
                         }
                         comparing_ = false;
                         metrics_.heads_compared.add(asked.size());
                         for (size_t i = 0; i < asked.size(); ++i)
                           if (RoomHost* host = find_room(asked[i].room))
                             host->store_head((*heads)[i], asked[i].held, asked[i].past);
                         compare_next();
                       });
}

void Shard::name_lost(const std::string& room, const std::string& name_folded, const std::string& user_id) {
  std::vector<uint64_t> ids;
  for (const auto& [id, session] : sessions_) ids.push_back(id);
  for (const uint64_t id : ids)
    if (Session* session = find_session(id)) session->name_lost(room, name_folded, user_id);
  // What they had waiting, and what those who went before them left.
  if (RoomHost* host = find_room(room)) host->withdraw_departed(user_id);
}

void Shard::life_tick() {
  timers_.after(life_tick_us_, [this] { life_tick(); });
  const int64_t now = now_us();
  // A paused machine or a stopped process: nobody was read from meanwhile, so that time is not anybody's silence.
  const int64_t overslept_us = ticked_us_ == 0 ? 0 : now - ticked_us_ - life_tick_us_;
  ticked_us_ = now;
  std::vector<uint64_t> ids;
  ids.reserve(sessions_.size());
  for (const auto& [id, session] : sessions_) ids.push_back(id);
  for (const uint64_t id : ids) {
    Session* session = find_session(id);
    if (session == nullptr) continue;
    if (overslept_us >= overslept_noticed_us) session->was_not_served(overslept_us);
    session->tick(now);
  }
}

void Shard::tick() {
  timers_.after(tick_us, [this] { tick(); });
  int64_t tail_bytes = 0, waiting_count = 0, waiting_bytes = 0;
  for (const auto& [name, host] : rooms_) {
    host->tick();
    tail_bytes += static_cast<int64_t>(host->log().tail().bytes());
    waiting_count += static_cast<int64_t>(host->log().waiting_count());
    waiting_bytes += static_cast<int64_t>(host->log().waiting_bytes());
  }
  const int64_t now = now_us();
  std::erase_if(parted_, [now](const auto& each) { return each.second.until_us <= now; });
  for (const auto& [name, parted] : parted_) announce(name, parted.head);
  if (tail_bytes > static_cast<int64_t>(tails_bytes_shard_max)) trim_tails(tails_bytes_shard_max / 4 * 3);
  metrics_.tail_bytes.set(tail_bytes);
  metrics_.waiting_messages.set(waiting_count);
  metrics_.waiting_bytes.set(waiting_bytes);
  if (draining_) drain_step();
}

void Shard::trim_tails(size_t bytes_max) {
  size_t bytes = 0;
  for (const auto& [name, host] : rooms_) bytes += host->log().tail().bytes();
  for (const bool quiet_only : {true, false}) {
    for (const auto& [name, host] : rooms_) {
      if (bytes <= bytes_max) return;
      if (quiet_only && now_us() - host->grew_us() < quiet_us) continue;
      bytes -= host->log().tail().bytes();
      host->log().drop_tail();
    }
  }
}

void Shard::reload(const Options::Live& live) {
  live_ = live;
}

void Shard::drain(int64_t window_ms, Function<void()> done) {
  CHECK(!draining_, "a shard drains once");
  draining_ = true;
  drained_ = std::move(done);
  drain_deadline_us_ = now_us() + window_ms * 1000;
  // Each v2 session gets its own moment in the first part of the window, so that the last one still has time to open
  // the new connection before this one ends.
  const size_t count = sessions_.size();
  size_t at = 0;
  std::vector<uint64_t> ids;
  for (const auto& [id, session] : sessions_) ids.push_back(id);
  for (const uint64_t id : ids) {
    Session* session = find_session(id);
    const int64_t delay_ms = window_ms * static_cast<int64_t>(at++) / static_cast<int64_t>(count);
    if (session == nullptr) continue;
    if (session->dialect() == Dialect::v2) {
      session->ask_to_move(delay_ms * 4 / 5, window_ms);
    } else {
      timers_.after(delay_ms * 1000, [this, id] {
        if (Session* leaving = find_session(id))
          leaving->close(CloseCode::restart, "this node is leaving", Closed::restart);
      });
    }
  }
  timers_.after(window_ms * 1000, [this] { drain_step(); });
  drain_step();
}

void Shard::drain_step() {
  if (!drained_) return;
  const int64_t now = now_us();
  bool waiting = false;
  for (const auto& [name, host] : rooms_) waiting |= host->log().waiting_count() > 0;
  if (now >= drain_deadline_us_) {
    close_all();
    // The store may never take what still waits; its senders keep it and send it again elsewhere.
    if (now >= drain_deadline_us_ + drain_margin_us) waiting = false;
  }
  const bool out_of_time = now >= drain_deadline_us_ + drain_margin_us;
  if (waiting || (!sessions_.empty() && !out_of_time)) {
    if (now >= drain_deadline_us_) timers_.after(20'000, [this] { drain_step(); });
    return;
  }
  Function<void()> done = std::exchange(drained_, nullptr);
  executor_.post([done = std::move(done)] { done(); });
}

void Shard::close_all() {
  std::vector<uint64_t> ids;
  for (const auto& [id, session] : sessions_) ids.push_back(id);
  for (const uint64_t id : ids)
    if (Session* session = find_session(id))
      session->close(CloseCode::restart, "this node is leaving", Closed::restart);
}

}  // namespace tertulia
