// What a room does when the store may have gone back: has it settled, and tells those who had seen more.
//
// Nothing is dropped and nobody told before the store has said, in a way that settles it, that its log does not have
// what is held. Then the log begins again, and each member is judged by its own cursor: who has seen only what still
// stands notices nothing.
#include <algorithm>
#include <utility>

#include "node/room_host.h"
#include "node/room_later.h"
#include "node/shard.h"

namespace tertulia {
namespace {

constexpr int64_t again_retry_us = 200'000;
constexpr int64_t confirm_retry_us = 500'000;

}  // namespace

void RoomHost::store_head(const Position& head, const Position& held, uint32_t past) {
  if (!log_.is_open() || past != log_.pasts()) return;
  if (head.sequence > log_.head().sequence) shard_.metrics().heads_behind.add();
  log_.know_store_head(head, held, shard_.now_us());
}

void RoomHost::confirm(const Position& held, Sequence contradicted_at) {
  shard_.metrics().suspicions.add();
  shard_.context().log.limited(
      LogLevel::warn, 1, "room", "somebody tells of another log than the one held here",
      {{"room", chain_text(log_.start_chain())}, {"sequence", contradicted_at}, {"held", position_text(held)}});
  shard_.context().store.confirm(room_name(), held, shard_.executor(), later([](RoomHost& host, Rows answer) {
                                   if (answer.status == Rows::Status::ok) host.shard_.metrics().false_alarms.add();
                                   host.log_.confirmed(answer.status, host.shard_.now_us());
                                   host.tell_gone();
                                   host.wake_senders();
                                 }));
}

void RoomHost::read_again(const Position& held) {
  const size_t rows = std::max<size_t>(shard_.live().max_messages_history, 1);
  shard_.context().store.read_last(
      room_name(), rows, shard_.options().tail_bytes_max / 2, shard_.executor(),
      later([held](RoomHost& host, Rows newest) {
        if (newest.status == Rows::Status::ok) {
          host.began_again(held, newest);
          return;
        }
        host.shard_.timers().after(again_retry_us, host.later([held](RoomHost& again) { again.read_again(held); }));
      }));
}

void RoomHost::began_again(const Position& held, const Rows& newest) {
  // While what was sent in part is still in memory: its rest goes out whole, and its receiver has seen it.
  for (Membership* member : members_)
    if (member != nullptr && member->cut_bytes > 0) member->session->finish_cut(*member);
  while (!pages_.empty()) drop_last_page();
  log_.begin_again(newest);
  const Position& head = log_.head();

  std::vector<std::pair<uint64_t, Position>> gone;  // members by session, with the cursors that do not fit
  for (Membership* member : members_) {
    if (member == nullptr) continue;
    const std::optional<Chain> ours = log_.tail().chain_at(member->cursor.sequence);
    // Whoever is behind the tail is judged by the page that he needs.
    if (member->cursor.sequence > head.sequence || (ours && *ours != member->cursor.chain))
      gone.emplace_back(member->session->id(), member->cursor);
    // Of a join to the old head: the new one is as far as there is anything.
    member->live_after = std::min(member->live_after, head.sequence);
    member->read = std::min(member->read, head.sequence);
  }
  shard_.metrics().pasts_changed.add();
  shard_.context().past_changes.add({chain_text(log_.start_chain()), position_text(held), position_text(head)});
  shard_.context().log.error("store",
                             "the store has gone back: a room's log is no longer what its members have seen; those who "
                             "had seen more begin anew",
                             {{"room", chain_text(log_.start_chain())},
                              {"held", position_text(held)},
                              {"now", position_text(head)},
                              {"members", members_count_},
                              {"of_these_begin_anew", gone.size()}});
  for (const auto& [id, cursor] : gone)
    if (Session* session = shard_.find_session(id)) session->past_is_gone(room_name(), cursor);
  tell_gone();
  wake_senders();
  maybe_leave_memory();
}

// A page's read said that a member has seen another past. A reader may lag, so that too is settled first.
void RoomHost::confirm_page(const Position& after) {
  shard_.context().store.confirm(room_name(), after, shard_.executor(), later([after](RoomHost& host, Rows answer) {
                                   if (answer.status == Rows::Status::not_now) {
                                     host.shard_.timers().after(
                                         confirm_retry_us, host.later([after](RoomHost& h) { h.confirm_page(after); }));
                                     return;
                                   }
                                   if (answer.status == Rows::Status::ok) {
                                     host.shard_.metrics().false_alarms.add();
                                     host.read_page(after);
                                     return;
                                   }
                                   for (PageRead& read : host.page_reads_)
                                     if (read.after == after) read.gone = true;
                                   // Told only when it is known what there is instead: the log held here may be of the
                                   // same past as his.
                                   host.log_.suspect(after.sequence, host.shard_.now_us());
                                   host.tell_gone();
                                 }));
}

void RoomHost::tell_gone() {
  if (log_.in_doubt()) return;
  for (size_t i = 0; i < page_reads_.size();) {
    if (!page_reads_[i].gone) {
      ++i;
      continue;
    }
    const PageRead told = std::move(page_reads_[i]);
    page_reads_.erase(page_reads_.begin() + static_cast<ptrdiff_t>(i));
    for (const uint64_t id : told.sessions)
      if (Session* session = shard_.find_session(id)) session->past_is_gone(room_name(), told.after);
  }
}

void RoomHost::taken_back(const Pending& pending) {
  shard_.context().waiting_bytes.fetch_sub(static_cast<int64_t>(pending.message.bytes()), std::memory_order_relaxed);
  // Those of a session that left and came back are of its former memberships first, as they are decided.
  const bool of_departed = !pending.hand_over && departures_.count(pending.session) > 0;
  if (Session* session = shard_.find_session(pending.session)) session->taken_back(*this, pending, !of_departed);
  if (of_departed) one_less_waiting(pending.session);
}

void RoomHost::withdraw_departed(const std::string& user_id) {
  std::vector<uint64_t> ids;
  for (const auto& [id, gone] : departures_)
    if (!gone.empty() && gone.front().user_id == user_id) ids.push_back(id);
  for (const uint64_t id : ids) log_.withdraw(id);
}

}  // namespace tertulia
