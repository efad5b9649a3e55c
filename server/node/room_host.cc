#include "node/room_host.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/failpoint.h"
#include "base/limits.h"
#include "node/room_later.h"
#include "node/shard.h"
#include "protocol/frames.h"

namespace tertulia {
namespace {

constexpr int64_t open_wait_us = 5'000'000;
constexpr int64_t open_retry_us = 200'000;
constexpr int64_t page_retry_us = 200'000;
constexpr int64_t resend_retry_us = 500'000;
using limits::page_bytes_max;
using limits::page_rows_max;
using limits::pages_kept_max;
constexpr int64_t page_kept_us = 2'000'000;
constexpr int64_t announce_for_us = 10'000'000;
using limits::newest_members;
using limits::waiting_bytes_node_max;
using limits::waiting_bytes_room_max;

RoomLog::Limits log_limits(const Options& options) {
  RoomLog::Limits limits;
  limits.tail_bytes_max = options.tail_bytes_max;
  return limits;
}

uint64_t next_number() {
  thread_local uint64_t number = 0;
  return ++number;
}

}  // namespace

RoomHost::RoomHost(Shard& shard, std::string room)
    : shard_(shard),
      number_(next_number()),
      log_(std::move(room), shard.committed_uuids(), *this, log_limits(shard.options())) {}

RoomHost::~RoomHost() {
  while (!pages_.empty()) drop_last_page();
  if (subscribed_) shard_.context().bus.unsubscribe(room_name(), shard_);
}

bool RoomHost::in_use() const {
  return members_count_ > 0 || holds_ > 0 || log_.waiting_count() > 0 || !departures_.empty() ||
         !blocked_senders_.empty();
}

void RoomHost::maybe_leave_memory() {
  if (!in_use()) shard_.close_room(*this);
}

void RoomHost::unhold() {
  CHECK(holds_ > 0, "holds are counted");
  --holds_;
  maybe_leave_memory();
}

// --- opening ---

void RoomHost::when_open(Function<void(bool)> then) {
  if (log_.is_open()) {
    then(true);
    return;
  }
  open_waiters_.push_back(std::move(then));
  if (std::exchange(opening_, true)) return;
  open_deadline_us_ = shard_.now_us() + open_wait_us;
  // Subscribe before reading the head: seen twice is dropped by its sequence; the other order loses what comes between.
  if (subscribed_) {
    open_log();
  } else if (FAILPOINT("unsafe_read_before_subscribing")) {
    subscribed_ = true;
    open_log();
    shard_.timers().after(50'000, later([](RoomHost& host) {
                            host.shard_.context().bus.subscribe(host.room_name(), host.shard_, [] {});
                          }));
  } else {
    subscribed_ = true;
    shard_.context().bus.subscribe(room_name(), shard_, later([](RoomHost& host) { host.open_log(); }));
  }
}

void RoomHost::open_log() {
  const size_t rows = std::max<size_t>(shard_.live().max_messages_history, 1);
  compares_seen_ = shard_.compares();
  shard_.context().store.read_last(
      room_name(), rows, shard_.options().tail_bytes_max / 2, shard_.executor(), later([](RoomHost& host, Rows newest) {
        if (newest.status == Rows::Status::ok) {
          host.log_.open(newest, host.shard_.now_us());
          // A comparison passed by while it was not open: what was read may be from before the reason for it.
          if (host.compares_seen_ != host.shard_.compares()) host.shard_.compare_head(host);
          host.opened(true);
        } else if (host.shard_.now_us() < host.open_deadline_us_) {
          host.shard_.timers().after(open_retry_us, host.later([](RoomHost& again) { again.open_log(); }));
        } else {
          host.opened(false);  // whoever waits for it counts his own refusal
        }
      }));
}

void RoomHost::opened(bool ok) {
  opening_ = false;
  for (Function<void(bool)>& then : std::exchange(open_waiters_, {})) then(ok);
  maybe_leave_memory();
}

// --- members ---

void RoomHost::add(Membership& member) {
  member.place = members_.size();
  members_.push_back(&member);
  ++members_count_;
  shard_.count_members(1);
}

void RoomHost::remove(Membership& member, Leaving how) {
  CHECK(members_[member.place] == &member, "a member is in its place");
  members_[member.place] = nullptr;
  --members_count_;
  shard_.count_members(-1);
  if (!sweeping_ && members_.size() > 16 && members_count_ * 2 < members_.size()) compact();
  Departure gone{member.session->user_id(), member.user_name, how, member.waiting};
  // The claim outlives what its session has on the way: an append is accepted only under a name that is still held.
  if (gone.waiting > 0) {
    departures_[member.session->id()].push_back(std::move(gone));
  } else {
    release(std::move(gone));
  }
  maybe_leave_memory();
}

void RoomHost::compact() {
  std::erase(members_, nullptr);
  for (size_t i = 0; i < members_.size(); ++i) members_[i]->place = i;
}

void RoomHost::let_go(const std::string& user_id, const std::string& user_name) {
  release({user_id, user_name, Leaving::unclean, 0});
  maybe_leave_memory();
}

void RoomHost::release(Departure gone) {
  Store& store = shard_.context().store;
  const std::string user_id = gone.user_id;
  const Leaving how = gone.how;
  Callback<ReleaseResult> done = [shard = &shard_, name = room_name(), gone = std::move(gone)](ReleaseResult result) {
    RoomHost& host = shard->room(name);  // perhaps for the signal alone
    host.released(gone, result);
    host.maybe_leave_memory();
  };
  if (how == Leaving::reloading) {
    store.release_reloading(room_name(), user_id, shard_.executor(), std::move(done));
  } else {
    store.release(room_name(), user_id, how == Leaving::clean, shard_.executor(), std::move(done));
  }
}

void RoomHost::released(const Departure& gone, const ReleaseResult& result) {
  members_total_ = result.members_count;
  if (!result.last) return;
  const int64_t grace_us = shard_.options().name_grace_ms * 1000;
  if (!result.left) {
    // His name is kept for a while. If he does not come back, somebody has to say that he left: whoever ends the claim.
    shard_.timers().after(grace_us, [shard = &shard_, name = room_name(), gone] {
      shard->context().store.expire(name, gone.user_id, shard->executor(), [shard, name, gone](ReleaseResult ended) {
        if (!ended.left) return;
        RoomHost& host = shard->room(name);
        host.say_left(gone, ended.members_count);
        host.maybe_leave_memory();
      });
    });
    return;
  }
  say_left(gone, result.members_count);
}

void RoomHost::say_left(const Departure& gone, uint64_t members_count) {
  signal({Signal::Kind::left, gone.user_id, gone.user_name, 0, members_count});
}

// --- messages on their way ---

bool RoomHost::has_place(Session& session) {
  if (log_.waiting_bytes() < waiting_bytes_room_max &&
      shard_.context().waiting_bytes.load(std::memory_order_relaxed) < waiting_bytes_node_max)
    return true;
  blocked_senders_.push_back(session.id());
  return false;
}

void RoomHost::submit(Pending pending) {
  shard_.context().waiting_bytes.fetch_add(static_cast<int64_t>(pending.message.bytes()), std::memory_order_relaxed);
  log_.submit(std::move(pending));
}

void RoomHost::append(std::vector<Message> messages) {
  shard_.context().store.append(
      room_name(), log_.head(), std::move(messages), shard_.executor(), later([](RoomHost& host, AppendResult result) {
        if (result.status != AppendResult::Status::done)
          host.shard_.context().log.limited(LogLevel::warn, 1, "store", "messages wait", {{"reason", result.reason}});
        host.log_.append_done(result, host.shard_.now_us());
        host.wake_senders();
        host.maybe_leave_memory();
      }));
}

void RoomHost::decided(const Pending& pending, const Appended& outcome, std::string_view frame) {
  shard_.context().waiting_bytes.fetch_sub(static_cast<int64_t>(pending.message.bytes()), std::memory_order_relaxed);
  ShardMetrics& metrics = shard_.metrics();
  switch (outcome.kind) {
    case Appended::Kind::added:
      metrics.messages.add();
      appended_us_ = shard_.now_us();
      break;
    case Appended::Kind::repeated: metrics.repeats.add(); break;
    case Appended::Kind::conflict: metrics.conflicts.add(); break;
    case Appended::Kind::refused:
      metrics.store_refusals.add();
      shard_.context().log.limited(LogLevel::warn, 1, "store", "a message was refused", {{"reason", outcome.reason}});
      break;
  }
  // A session that left (and perhaps came back) has its older messages decided first.
  const auto gone = departures_.find(pending.session);
  const bool of_departed = gone != departures_.end() && !pending.hand_over;
  if (Session* session = shard_.find_session(pending.session)) {
    session->decided(*this, pending, outcome, frame, !of_departed);
    shard_.pump_soon(*session);
  }
  if (of_departed) one_less_waiting(pending.session);
}

void RoomHost::one_less_waiting(uint64_t departed_session) {
  const auto gone = departures_.find(departed_session);
  if (--gone->second.front().waiting > 0) return;
  Departure departure = std::move(gone->second.front());
  gone->second.pop_front();
  if (gone->second.empty()) departures_.erase(gone);
  release(std::move(departure));
}

void RoomHost::wake_senders() {
  if (blocked_senders_.empty() || log_.held_up()) return;
  for (const uint64_t id : std::exchange(blocked_senders_, {}))
    if (Session* session = shard_.find_session(id)) session->room_has_place();
}

void RoomHost::resend(Session& session, const Position& position, const std::string& uuid) {
  if (log_.tail().holds(position.sequence)) {
    session.add_private(log_.tail().frame(position.sequence));
    return;
  }
  session.resend_begins();
  find_to_resend(shard_, session.id(), room_name(), uuid);
}

// The frame is an ack, so it is owed for as long as the session lives, whatever becomes of the room here.
void RoomHost::find_to_resend(Shard& shard, uint64_t id, const std::string& room, const std::string& uuid) {
  shard.context().store.find(room, uuid, shard.executor(), [shard = &shard, id, room, uuid](Rows found) {
    Session* session = shard->find_session(id);
    if (session == nullptr || session->closing()) return;
    if (found.status != Rows::Status::ok) {
      shard->timers().after(resend_retry_us, [shard, id, room, uuid] {
        if (shard->find_session(id) != nullptr) find_to_resend(*shard, id, room, uuid);
      });
      return;
    }
    session->resend_ends();
    if (found.rows.empty()) return;
    std::string frame;
    append_message(frame, room, found.rows.front());
    session->add_private(frame);
    session->pump();
  });
}

// --- the log ---

void RoomHost::read_gap(const Position& after) {
  shard_.metrics().gap_reads.add();
  shard_.context().store.read(room_name(), after, page_rows_max, page_bytes_max, shard_.executor(),
                              later([](RoomHost& host, Rows rows) { host.log_.gap_read(rows, host.shard_.now_us()); }));
}

void RoomHost::publish(std::shared_ptr<const LogPiece> piece) {
  shard_.context().bus.publish(std::make_shared<BusItem>(BusItem{room_name(), std::move(piece)}), shard_);
}

void RoomHost::grew() {
  grew_us_ = shard_.now_us();
  if (members_count_ == 0) return;
  if (sweeping_) {
    sweep_again_ = true;
    return;
  }
  sweeping_ = true;
  sweep_at_ = 0;
  sweep_signals_ = std::exchange(signals_, {});
  shard_.sweep_soon(*this);
}

void RoomHost::wake_at(int64_t us) {
  if (wake_timer_ != 0 && wake_due_us_ <= us) return;
  if (wake_timer_ != 0) shard_.timers().cancel(wake_timer_);
  wake_due_us_ = us;
  const int64_t delay_us = std::max<int64_t>(0, us - shard_.now_us());
  wake_timer_ = shard_.timers().after(delay_us, later([](RoomHost& host) {
                                        host.wake_timer_ = 0;
                                        host.log_.tick(host.shard_.now_us());
                                      }));
}

// --- the sweep ---

bool RoomHost::sweep(size_t members_max) {
  if (!sweeping_) return false;
  std::string v2, classic;
  bool per_member = false;
  for (const Waiting& waiting : sweep_signals_) {
    per_member |= !waiting.not_to.empty() || waiting.newest_only;
    v2 += waiting.v2;
    classic += waiting.classic;
  }
  const size_t newest_from = members_.size() > newest_members ? members_.size() - newest_members : 0;
  for (size_t served = 0; served < members_max && sweep_at_ < members_.size(); ++sweep_at_) {
    Membership* member = members_[sweep_at_];
    if (member == nullptr) continue;
    Session& session = *member->session;
    if (session.blocked() || session.closing()) continue;
    const bool is_v2 = session.dialect() == Dialect::v2;
    if (!per_member) {
      const std::string& signals = is_v2 ? v2 : classic;
      if (!member->behind() && signals.empty()) continue;
      session.pump(signals);
    } else {
      std::string signals;
      for (const Waiting& waiting : sweep_signals_) {
        if (waiting.not_to == session.user_id() || (waiting.newest_only && !is_v2 && sweep_at_ < newest_from)) continue;
        signals += is_v2 ? waiting.v2 : waiting.classic;
      }
      if (!member->behind() && signals.empty()) continue;
      session.pump(signals);
    }
    ++served;
  }
  if (sweep_at_ < members_.size()) return true;
  sweep_signals_.clear();
  if (members_count_ < members_.size()) compact();
  if (std::exchange(sweep_again_, false) || !signals_.empty()) {
    sweep_at_ = 0;
    sweep_signals_ = std::exchange(signals_, {});
    return true;
  }
  sweeping_ = false;
  return false;
}

// By sequence and chain: a cursor of another past gets nothing from here, and is judged by the read that it needs.
const Tail* RoomHost::source_of(const Position& after) const {
  const auto has = [&](const Tail& frames) {
    return frames.holds(after.sequence + 1) && frames.chain_at(after.sequence) == after.chain;
  };
  if (has(log_.tail())) return &log_.tail();
  for (const Page& page : pages_)
    if (has(page.frames)) return &page.frames;
  return nullptr;
}

std::optional<Tail::Piece> RoomHost::piece_behind(const Position& after, size_t bytes_max, Sequence last_max) const {
  const Tail* source = source_of(after);
  if (source == nullptr) return std::nullopt;
  return source->piece_behind(after.sequence, bytes_max, last_max);
}

Tail::Cut RoomHost::cut(const Position& after, size_t bytes) const {
  const Tail* source = source_of(after);
  CHECK(source != nullptr, "what was sent just now is in memory");
  return source->cut(after.sequence, bytes);
}

void RoomHost::need_page(Membership& member) {
  const uint64_t session = member.session->id();
  for (PageRead& read : page_reads_) {
    if (read.after != member.cursor) continue;
    read.sessions.insert(session);
    return;
  }
  page_reads_.push_back({member.cursor, {session}});
  read_page(member.cursor);
}

void RoomHost::read_page(const Position& after) {
  shard_.metrics().catch_up_reads.add();
  shard_.context().store.read(room_name(), after, page_rows_max, page_bytes_max, shard_.executor(),
                              later([after, past = log_.pasts()](RoomHost& host, Rows rows) {
                                // Rows of a past that went meanwhile would be shown behind a cursor that still fits.
                                if (past == host.log_.pasts()) {
                                  host.page_read(after, rows);
                                } else {
                                  host.read_page(after);
                                }
                              }));
}

void RoomHost::page_read(const Position& after, const Rows& rows) {
  if (rows.status == Rows::Status::not_now) {
    shard_.timers().after(page_retry_us, later([after](RoomHost& host) { host.read_page(after); }));
    return;
  }
  if (rows.status == Rows::Status::ok && rows.rows.empty() && log_.head().sequence > after.sequence) {
    // There was something behind it when it was asked for: what is held here goes further than what the store shows.
    log_.suspect(after.sequence, shard_.now_us());
    shard_.timers().after(page_retry_us, later([after](RoomHost& host) { host.read_page(after); }));
    return;
  }
  if (rows.status == Rows::Status::does_not_fit) {
    confirm_page(after);
    return;
  }
  const auto read =
      std::find_if(page_reads_.begin(), page_reads_.end(), [&](const PageRead& each) { return each.after == after; });
  CHECK(read != page_reads_.end(), "a page is read for somebody");
  const std::unordered_set<uint64_t> sessions = std::move(read->sessions);
  page_reads_.erase(read);
  if (!rows.rows.empty()) keep_page(after, rows.rows);
  // As many at once as a slice allows, while the page is surely here; the others in their turn.
  const int64_t began_us = shard_.now_us();
  for (const uint64_t id : sessions) {
    Session* session = shard_.find_session(id);
    if (session == nullptr) continue;
    session->page_came();
    if (shard_.now_us() - began_us >= limits::sweep_slice_us) {
      shard_.pump_soon(*session);
    } else {
      session->pump();
    }
  }
}

void RoomHost::keep_page(const Position& after, const std::vector<Row>& rows) {
  Page page{Tail(SIZE_MAX), shard_.now_us()};
  page.frames.start(after);
  std::string frame;
  for (const Row& row : rows) {
    frame.clear();
    append_message(frame, room_name(), row);
    page.frames.append(row.position(), frame);
  }
  shard_.count_page_bytes(static_cast<int64_t>(page.frames.bytes()));
  pages_.push_front(std::move(page));
  // Who catches up a little behind the others finds their pages here.
  while (pages_.size() > (shard_.page_bytes() > limits::pages_bytes_shard_max ? 2 : pages_kept_max)) drop_last_page();
}

void RoomHost::drop_last_page() {
  shard_.count_page_bytes(-static_cast<int64_t>(pages_.back().frames.bytes()));
  pages_.pop_back();
}

int64_t RoomHost::announces_until_us() const {
  return appended_us_ == 0 || !log_.is_open() ? 0 : appended_us_ + announce_for_us;
}

void RoomHost::tick() {
  const int64_t now = shard_.now_us();
  while (!pages_.empty() && now - pages_.back().read_us > page_kept_us) drop_last_page();
  if (now < announces_until_us()) shard_.announce(room_name(), log_.head());
  if (std::exchange(list_changed_, false)) {
    Waiting waiting;
    append_members_changed(waiting.v2, room_name(), members_total_);
    signals_.push_back(std::move(waiting));
    grew();
  }
  wake_senders();
  maybe_leave_memory();
}

}  // namespace tertulia
