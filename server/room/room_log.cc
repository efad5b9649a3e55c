#include "room/room_log.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/failpoint.h"
#include "protocol/frames.h"

namespace tertulia {

RoomLog::RoomLog(std::string room, CommittedUuids& committed_uuids, Host& host, const Limits& limits)
    : room_(std::move(room)),
      start_chain_(chain_start(room_)),
      committed_uuids_(committed_uuids),
      host_(host),
      limits_(limits),
      tail_(limits.tail_bytes_max) {
  tail_.start({0, start_chain_});
}

// --- the log ---

void RoomLog::open(const Rows& newest, int64_t now_us) {
  CHECK(newest.status == Rows::Status::ok && !open_, "a log is opened once, by what the store has");
  open_ = true;
  fill(newest);
  drain_ahead(now_us);
  if (something_missing()) watch_gap(now_us, limits_.gap_wait_us);
  host_.grew();
}

void RoomLog::fill(const Rows& newest) {
  if (newest.rows.empty()) {
    tail_.start(newest.head);
  } else {
    tail_.start(newest.rows.front().before());
    std::string frame;
    for (const Row& row : newest.rows) {
      frame.clear();
      append_message(frame, room_, row);
      take_next(row.sequence, row.previous, row.chain, row.message.uuid, body_digest(row.message), frame);
    }
  }
}

size_t RoomLog::take(const LogPiece& piece, int64_t now_us) {
  const Sequence before = head().sequence;
  size_t dropped = 0;
  for (const LogPiece::Entry& entry : piece.entries) {
    const Sequence held = head().sequence;
    offer(entry.sequence, entry.previous, entry.chain, entry.uuid, entry.body, entry.frame, now_us);
    if (open_ && head().sequence == held && entry.sequence <= held + 1) ++dropped;
  }
  if (head().sequence != before) host_.grew();
  return dropped;
}

void RoomLog::know_head(const Position& position, int64_t now_us) {
  if (!open_) return;  // opening reads the head anyway
  if (position.sequence <= head().sequence) {
    const std::optional<Chain> ours = tail_.chain_at(position.sequence);
    if (ours && *ours != position.chain) suspect(position.sequence, now_us);
    return;
  }
  known_head_ = std::max(known_head_, position.sequence);
  watch_gap(now_us, limits_.gap_wait_us);
}

void RoomLog::know_store_head(const Position& position, const Position& held, int64_t now_us) {
  if (open_ && position.sequence < held.sequence) {
    suspect(position.sequence, now_us);
    return;
  }
  know_head(position, now_us);
}

void RoomLog::gap_read(const Rows& rows, int64_t now_us) {
  CHECK(reading_gap_, "a gap is read once at a time");
  reading_gap_ = false;
  gap_due_us_ = 0;
  if (gap_past_ != pasts_) {  // it was about what is gone
    if (something_missing()) watch_gap(now_us, 0);
    return;
  }
  if (rows.status == Rows::Status::does_not_fit) {
    suspect(head().sequence, now_us);
    return;
  }
  if (rows.status == Rows::Status::ok) must_read_ = false;
  const Sequence before = head().sequence;
  std::string frame;
  for (const Row& row : rows.rows) {
    frame.clear();
    append_message(frame, room_, row);
    offer(row.sequence, row.previous, row.chain, row.message.uuid, body_digest(row.message), frame, now_us);
  }
  if (head().sequence != before) host_.grew();
  const bool moved = head().sequence != before;
  const bool away = rows.status == Rows::Status::not_now;
  if (moved || !something_missing()) gap_tries_ = 0;
  if (!something_missing()) return;
  // The store had nothing more to say, or could not be asked: what is ahead comes from a commit that this read began
  // before, so asking again soon must find it. If it does not, somebody told of another log.
  if (!moved && !away && ++gap_tries_ > limits_.gap_tries_max) {
    gap_tries_ = 0;
    suspect(std::max(known_head_, head().sequence), now_us);
    return;
  }
  const int64_t again_us = std::min(limits_.retry_min_us << std::min(gap_tries_, 16u), limits_.retry_max_us);
  watch_gap(now_us, moved ? 0 : away ? limits_.retry_max_us : again_us);
}

// --- the store may have gone back ---

void RoomLog::suspect(Sequence contradicted_at, int64_t now_us) {
  if (!open_ || doubt_ != Doubt::none) return;
  doubt_at_ = contradicted_at;
  // Whoever tells of another log again and again does not get the store asked each time.
  if (now_us - calm_since_us_ > 2 * limits_.doubt_wait_max_us) doubt_wait_us_ = 0;
  doubt_after(doubt_wait_us_, now_us);
}

void RoomLog::doubt_after(int64_t wait_us, int64_t now_us) {
  if (wait_us > 0) {
    doubt_ = Doubt::due;
    doubt_due_us_ = now_us + wait_us;
    host_.wake_at(doubt_due_us_);
    return;
  }
  doubt_ = Doubt::asked;
  host_.confirm(head(), doubt_at_);
}

void RoomLog::confirmed(Rows::Status status, int64_t now_us) {
  CHECK(doubt_ == Doubt::asked, "a suspicion is settled once");
  if (status == Rows::Status::not_now) {
    doubt_after(limits_.retry_max_us, now_us);
    return;
  }
  if (status == Rows::Status::does_not_fit) {
    doubt_ = Doubt::gone;
    host_.read_again(head());
    return;
  }
  doubt_ = Doubt::none;
  doubt_wait_us_ = doubt_wait_us_ == 0 ? limits_.retry_min_us : std::min(doubt_wait_us_ * 2, limits_.doubt_wait_max_us);
  calm_since_us_ = now_us;
  // What contradicted goes, and with it all that nobody has proven yet; a read tells what there is.
  forget_ahead();
  must_read_ = true;
  watch_gap(now_us, 0);
  if (std::exchange(append_doubted_, false)) {
    retry_at_us_ = now_us + retry_delay_us_;
    host_.wake_at(retry_at_us_);
  }
}

void RoomLog::begin_again(const Rows& newest) {
  CHECK(newest.status == Rows::Status::ok && doubt_ == Doubt::gone, "a log begins again when its past is gone");
  doubt_ = Doubt::none;
  ++pasts_;
  forget_ahead();
  must_read_ = false;
  gap_tries_ = 0;
  committed_uuids_.forget(start_chain_);
  fill(newest);
  append_doubted_ = false;
  retry_at_us_ = 0;
  send_batch();
  host_.grew();
}

void RoomLog::forget_ahead() {
  ahead_.clear();
  ahead_bytes_ = 0;
  known_head_ = 0;
}

void RoomLog::tick(int64_t now_us) {
  if (gap_due_us_ != 0 && now_us >= gap_due_us_ && !reading_gap_ && open_) {
    if (something_missing()) {
      reading_gap_ = true;
      gap_past_ = pasts_;
      host_.read_gap(head());
    } else {
      gap_due_us_ = 0;
    }
  }
  if (doubt_ == Doubt::due && now_us >= doubt_due_us_) doubt_after(0, now_us);
  if (retry_at_us_ != 0 && now_us >= retry_at_us_) {
    retry_at_us_ = 0;
    send_batch();
  }
  // Whoever wakes us knows of one time only: what is due later asks again.
  if (gap_due_us_ != 0 && !reading_gap_) host_.wake_at(gap_due_us_);
  if (doubt_ == Doubt::due) host_.wake_at(doubt_due_us_);
  if (retry_at_us_ != 0) host_.wake_at(retry_at_us_);
}

void RoomLog::offer(Sequence sequence, const Chain& previous, const Chain& chain, std::string_view uuid,
                    const BodyDigest& body, std::string_view frame, int64_t now_us) {
  if (!open_ || sequence > head().sequence + 1) {
    keep_ahead(sequence, {previous, chain, std::string(uuid), body, std::string(frame)}, now_us);
    return;
  }
  if (sequence <= head().sequence) {  // seen already: the bus repeats, and our own appends may have been read back
    const std::optional<Chain> ours = tail_.chain_at(sequence);
    if (ours && *ours != chain) suspect(sequence, now_us);
    return;
  }
  if (previous != head().chain) {
    suspect(sequence, now_us);
    return;
  }
  take_next(sequence, previous, chain, uuid, body, frame);
  drain_ahead(now_us);
}

void RoomLog::take_next(Sequence sequence, const Chain& previous, const Chain& chain, std::string_view uuid,
                        const BodyDigest& body, std::string_view frame) {
  CHECK(sequence == head().sequence + 1 && previous == head().chain, "a tail grows only by what continues it");
  tail_.append({sequence, chain}, frame);
  committed_uuids_.remember(start_chain_, uuid, {{sequence, chain}, body});
}

void RoomLog::keep_ahead(Sequence sequence, Ahead ahead, int64_t now_us) {
  known_head_ = std::max(known_head_, sequence);
  // What does not fit here is not lost: known_head_ makes the gap's read go on up to it.
  if (ahead_.size() < limits_.ahead_entries_max && ahead_bytes_ + ahead.frame.size() <= limits_.ahead_bytes_max) {
    const size_t bytes = ahead.frame.size();
    if (ahead_.emplace(sequence, std::move(ahead)).second) ahead_bytes_ += bytes;
  }
  if (open_) watch_gap(now_us, limits_.gap_wait_us);
}

void RoomLog::drain_ahead(int64_t now_us) {
  while (!ahead_.empty() && ahead_.begin()->first <= head().sequence + 1) {
    const auto first = ahead_.begin();
    const Sequence sequence = first->first;
    const Ahead ahead = std::move(first->second);
    ahead_bytes_ -= ahead.frame.size();
    ahead_.erase(first);
    if (sequence <= head().sequence) {
      const std::optional<Chain> ours = tail_.chain_at(sequence);
      if (ours && *ours != ahead.chain) suspect(sequence, now_us);
    } else if (ahead.previous != head().chain) {
      suspect(sequence, now_us);
    } else {
      take_next(sequence, ahead.previous, ahead.chain, ahead.uuid, ahead.body, ahead.frame);
    }
  }
}

void RoomLog::watch_gap(int64_t now_us, int64_t wait_us) {
  if (gap_due_us_ != 0 || reading_gap_) return;
  gap_due_us_ = now_us + wait_us;
  host_.wake_at(gap_due_us_);
}

// --- messages on their way ---

void RoomLog::submit(Pending pending) {
  waiting_bytes_ += pending.message.bytes();
  places_.emplace(pending.message.uuid, Place{pending.session, pending.body});
  waiting_.push_back(std::move(pending));
  FAILPOINT("submitted");
  if (retry_at_us_ == 0) send_batch();
}

void RoomLog::send_batch() {
  if (append_open_ || append_doubted_ || doubt_ == Doubt::gone) return;
  if (with_store_.empty()) {  // else a batch that the store could not take goes again, unchanged
    size_t bytes = 0;
    while (!waiting_.empty() && with_store_.size() < limits_.batch_messages_max) {
      bytes += waiting_.front().message.bytes();
      if (bytes > limits_.batch_bytes_max && !with_store_.empty()) break;
      with_store_.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
  }
  if (with_store_.empty()) return;
  std::vector<Message> messages;
  messages.reserve(with_store_.size());
  for (const Pending& pending : with_store_) messages.push_back(pending.message);
  append_open_ = true;
  append_past_ = pasts_;
  host_.append(std::move(messages));
}

void RoomLog::append_done(const AppendResult& result, int64_t now_us) {
  CHECK(append_open_, "the store answers an append once");
  append_open_ = false;
  const std::vector<uint64_t> withdrawn = std::exchange(withdrawn_, {});
  if (result.status != AppendResult::Status::done) {
    for (const uint64_t session : withdrawn) take_back(with_store_, session);
    if (result.status == AppendResult::Status::does_not_fit && append_past_ != pasts_) {  // the log has begun again
      send_batch();
      return;
    }
    retry_delay_us_ = retry_delay_us_ == 0 ? limits_.retry_min_us : std::min(retry_delay_us_ * 2, limits_.retry_max_us);
    // The batch stays as it is: its messages were decided nowhere. It goes again when it is known which log there is.
    if (result.status == AppendResult::Status::does_not_fit) {
      append_doubted_ = true;
      suspect(head().sequence, now_us);
      return;
    }
    retry_at_us_ = now_us + retry_delay_us_;
    host_.wake_at(retry_at_us_);
    return;
  }
  CHECK(result.each.size() == with_store_.size(), "the store answers for every message");
  retry_delay_us_ = 0;
  const std::vector<Pending> batch = std::exchange(with_store_, {});
  auto piece = std::make_shared<LogPiece>();
  const Sequence before = head().sequence;
  std::vector<std::string_view> frames(batch.size());
  piece->entries.reserve(batch.size());
  for (size_t i = 0; i < batch.size(); ++i) {
    const Pending& pending = batch[i];
    const Appended& outcome = result.each[i];
    waiting_bytes_ -= pending.message.bytes();
    forget_place(pending);
    if (outcome.kind == Appended::Kind::repeated) {
      committed_uuids_.remember(start_chain_, pending.message.uuid, {outcome.position, pending.body});
      // Somebody has committed it and may have told nobody.
      if (append_past_ == pasts_) know_head(outcome.position, now_us);
    }
    if (outcome.kind != Appended::Kind::added) continue;
    LogPiece::Entry entry;
    entry.sequence = outcome.position.sequence;
    entry.chain = outcome.position.chain;
    entry.previous = outcome.previous;
    entry.uuid = pending.message.uuid;
    entry.user_id = pending.message.user_id;
    entry.body = pending.body;
    append_message(entry.frame, room_, {entry.sequence, entry.previous, entry.chain, pending.message});
    offer(entry.sequence, entry.previous, entry.chain, entry.uuid, entry.body, entry.frame, now_us);
    piece->entries.push_back(std::move(entry));
    frames[i] = piece->entries.back().frame;  // the vector was reserved: it does not move
  }
  // The next batch goes to the store before anybody is answered: it need not wait for us.
  send_batch();
  for (size_t i = 0; i < batch.size(); ++i) host_.decided(batch[i], result.each[i], frames[i]);
  FAILPOINT("answered_before_bus");
  if (!piece->entries.empty()) host_.publish(std::move(piece));
  if (head().sequence != before) host_.grew();
}

const RoomLog::Place* RoomLog::find_waiting(const std::string& uuid, uint64_t session) const {
  const auto [first, end] = places_.equal_range(uuid);
  for (auto at = first; at != end; ++at)
    if (at->second.session == session) return &at->second;
  return first == end ? nullptr : &first->second;
}

template <class Pendings>
void RoomLog::take_back(Pendings& from, uint64_t session) {
  for (auto at = from.begin(); at != from.end();) {
    if (at->session != session) {
      ++at;
      continue;
    }
    const Pending pending = std::move(*at);
    at = from.erase(at);
    waiting_bytes_ -= pending.message.bytes();
    forget_place(pending);
    host_.taken_back(pending);
  }
}

void RoomLog::withdraw(uint64_t session) {
  if (append_open_) {
    withdrawn_.push_back(session);
  } else {
    take_back(with_store_, session);  // a batch that the store could not take
  }
  take_back(waiting_, session);
}

void RoomLog::forget_place(const Pending& pending) {
  const auto [first, end] = places_.equal_range(pending.message.uuid);
  for (auto at = first; at != end; ++at) {
    if (at->second.session != pending.session || at->second.body != pending.body) continue;
    places_.erase(at);
    return;
  }
}

}  // namespace tertulia
