// Joins: open the room, judge the position, claim the name, then begin to deliver. One at a time on a session; what
// follows it on the connection waits.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "node/session.h"
#include "node/shard.h"
#include "protocol/base64url.h"

namespace tertulia {
namespace {

constexpr int64_t join_wait_us = 5'000'000;  // for a store that is behind or away
constexpr int64_t join_retry_us = 200'000;
constexpr int64_t busy_retry_after_ms = 1'000;

std::string random_text(Random& random, size_t bytes) {
  std::vector<uint8_t> bits(bytes);
  random.fill(bits);
  std::string text;
  append_base64url(text, bits);
  return text;
}

}  // namespace

void Session::join(Request request) {
  join_tried_ = true;
  if (shard_.context().draining.load(std::memory_order_relaxed)) {
    error(request.id_json, Code::draining, "this node is leaving", {true, 0});
    // As behind every retryable error of a join: their only retry is a reconnection.
    if (dialect_ == Dialect::classic) close(CloseCode::try_again, "this node is leaving", Closed::try_again);
    return;
  }
  Membership* joined = member_of(request.room_name);
  const bool v2 = dialect_ == Dialect::v2;
  std::string key_made;
  if (v2) {
    if (!user_id_.empty()) {
      if (request.user_key && user_id_of_key(*request.user_key) != user_id_) {
        error(request.id_json, Code::not_authorised, "this session is another user's");
        return;
      }
    } else if (!request.user_key) {
      key_made = random_text(shard_.context().random, 32);
      request.user_key = key_made;
    }
    if (joined != nullptr && joined->name_folded != request.user_name_folded) {
      error(request.id_json, Code::invalid_params, "this session is in the room under another name");
      return;
    }
    if (joined == nullptr && memberships_.size() >= shard_.options().rooms_per_session_max) {
      error(request.id_json, Code::too_many, "too many rooms on one session");
      return;
    }
  } else if (joined != nullptr && request.method == Method::join_room) {
    append_classic_ok(output_.privates(), request.id_json);
    return;
  }
  join_ = std::make_unique<Join>();
  join_->again = joined != nullptr;
  join_->user_key_made = std::move(key_made);
  join_->deadline_us = shard_.now_us() + join_wait_us;
  join_->host = &shard_.room(request.room_name);
  join_->host->hold();
  join_->request = std::move(request);
  set_pause(pause_step, true);
  join_->host->when_open([shard = &shard_, id = id_](bool ok) {
    Session* session = shard->find_session(id);
    if (session != nullptr && session->join_) session->join_opened(ok);
  });
}

void Session::retry_join(void (Session::*step)()) {
  if (shard_.now_us() >= join_->deadline_us) {
    join_busy();
    return;
  }
  shard_.timers().after(join_retry_us, [shard = &shard_, id = id_, step] {
    Session* session = shard->find_session(id);
    if (session != nullptr && session->join_) (session->*step)();
  });
}

void Session::join_opened(bool ok) {
  if (!ok) {
    join_busy();
    return;
  }
  join_judge();
}

// Does the position fit the log? What memory cannot say, the store is asked: another node may be ahead of us.
void Session::join_judge() {
  const RoomLog& log = join_->host->log();
  if (log.past_is_gone()) {  // and what there is instead is not known yet
    retry_join(&Session::join_judge);
    return;
  }
  if (std::exchange(join_->past, log.pasts()) != log.pasts()) join_->confirmed = false;
  join_->fits = join_->reset = join_->skipped = false;
  join_->head = log.head();
  const std::optional<Position>& position = join_->request.position;
  if (!position) {
    join_start_known();
    return;
  }
  if (position->sequence == 0) {
    join_->fits = position->chain == log.start_chain();
    join_start_known();
    return;
  }
  if (const std::optional<Chain> ours = log.tail().chain_at(position->sequence)) {
    join_->fits = *ours == position->chain;
    if (join_->fits) {
      join_start_known();
    } else {
      join_confirm();
    }
    return;
  }
  shard_.context().store.read(join_->request.room_name, *position, 1, 1, shard_.executor(),
                              [shard = &shard_, id = id_](Rows rows) {
                                Session* session = shard->find_session(id);
                                if (session != nullptr && session->join_) session->join_position_read(rows);
                              });
}

void Session::join_position_read(const Rows& rows) {
  if (rows.status == Rows::Status::not_now) {
    retry_join(&Session::join_judge);
    return;
  }
  join_->fits = rows.status == Rows::Status::ok;
  if (!join_->fits) {
    join_confirm();
    return;
  }
  if (rows.head.sequence > join_->head.sequence) join_->head = rows.head;
  join_start_known();
}

// Before somebody is told that what he has seen is gone: what he claims proves nothing about the store, and what we
// hold, or a reader says, proves nothing about him.
void Session::join_confirm() {
  if (join_->confirmed) {
    join_start_known();
    return;
  }
  shard_.context().store.confirm(join_->request.room_name, *join_->request.position, shard_.executor(),
                                 [shard = &shard_, id = id_](Rows answer) {
                                   Session* session = shard->find_session(id);
                                   if (session != nullptr && session->join_) session->join_position_confirmed(answer);
                                 });
}

void Session::join_position_confirmed(const Rows& answer) {
  Join& join = *join_;
  if (answer.status == Rows::Status::not_now) {
    retry_join(&Session::join_judge);
    return;
  }
  join.confirmed = answer.status == Rows::Status::does_not_fit;
  if (answer.status == Rows::Status::ok) {
    // Then it is the log held here that is not the store's, or a reader that lagged.
    join.host->log().know_head(*join.request.position, shard_.now_us());
    retry_join(&Session::join_judge);
    return;
  }
  join_start_known();
}

void Session::join_start_known() {
  Join& join = *join_;
  const std::optional<Position>& position = join.request.position;
  const uint64_t newest = join.request.limit.value_or(shard_.live().max_messages_history);
  if (position && join.fits) {
    const uint64_t behind = join.head.sequence - std::min(join.head.sequence, position->sequence);
    if (join.request.limit && behind > *join.request.limit) {
      join.skipped = true;
      join.skipped_after = position->sequence;
      join_from_newest(*join.request.limit);
    } else {
      join.start = *position;
      join_claim();
    }
    return;
  }
  if (position) {
    shard_.metrics().positions_refused.add();
    join.reset = dialect_ == Dialect::v2;  // classic clients cannot be told; theirs counts as null
  }
  join_from_newest(newest);
}

void Session::join_from_newest(uint64_t limit) {
  Join& join = *join_;
  const Sequence start = join.head.sequence - std::min<uint64_t>(limit, join.head.sequence);
  if (start == join.head.sequence) {
    join.start = join.head;
    join_claim();
    return;
  }
  if (const std::optional<Chain> chain = join.host->log().tail().chain_at(start)) {
    join.start = {start, *chain};
    join_claim();
    return;
  }
  shard_.context().store.read_range(join.request.room_name, start, false, 1, 1, shard_.executor(),
                                    [shard = &shard_, id = id_](Rows rows) {
                                      Session* session = shard->find_session(id);
                                      if (session == nullptr || !session->join_) return;
                                      if (rows.status != Rows::Status::ok || rows.rows.empty()) {
                                        session->retry_join(&Session::join_judge);
                                        return;
                                      }
                                      session->join_->start = rows.rows.front().before();
                                      session->join_claim();
                                    });
}

void Session::join_claim() {
  Join& join = *join_;
  if (join.past != join.host->log().pasts()) {  // judged by a log that is gone
    join_judge();
    return;
  }
  if (join.claimed) {
    join_admit();
    return;
  }
  if (join.again) {
    join_move();
    return;
  }
  ClaimRequest claim;
  claim.room = join.request.room_name;
  claim.name_folded = join.request.user_name_folded;
  claim.user_name = join.request.user_name;
  claim.user_id = join_user_id();
  // The place before the first message is known to everybody; it proves no past.
  join.returning = join.request.method == Method::reconnect ||
                   (dialect_ == Dialect::v2 && join.fits && join.request.position->sequence > 0);
  claim.returning = join.returning;
  shard_.context().store.claim(
      claim, shard_.executor(),
      [shard = &shard_, id = id_, room = claim.room, user = claim.user_id, name = claim.user_name](ClaimResult result) {
        Session* session = shard->find_session(id);
        if (session != nullptr && session->join_) {
          session->join_claimed(result);
        } else if (result.status == ClaimResult::Status::granted) {
          // The session ended meanwhile: what was claimed for it is let go as if it had been there.
          shard->room(room).let_go(user, name);
        }
      });
}

std::string Session::join_user_id() const {
  if (dialect_ == Dialect::classic) return join_->request.user_id;
  return user_id_.empty() ? user_id_of_key(*join_->request.user_key) : user_id_;
}

void Session::join_claimed(const ClaimResult& result) {
  Join& join = *join_;
  const bool v2 = dialect_ == Dialect::v2;
  switch (result.status) {
    case ClaimResult::Status::granted: break;
    case ClaimResult::Status::taken:
      join_failed(Code::name_taken, "There is another user with same name in the room!");
      return;
    case ClaimResult::Status::waiting: {
      // Just after a start over what was left, names are kept for those who return: a newcomer waits, and is not told
      // that his is taken.
      if (result.after_start) {
        shard_.timers().after(std::max<int64_t>(result.retry_after_ms, 10) * 1000, [shard = &shard_, id = id_] {
          Session* session = shard->find_session(id);
          if (session != nullptr && session->join_) session->join_judge();
        });
        return;
      }
      if (!v2 && join.request.method == Method::reconnect) {
        // Their only retry is a reconnection.
        join_failed(Code::name_taken, "There is another user with same name in the room!",
                    {true, result.retry_after_ms});
        return;
      }
      join_failed(Code::name_taken, "There is another user with same name in the room!",
                  {v2, result.retry_after_ms > 0 ? std::optional(result.retry_after_ms) : std::nullopt});
      return;
    }
    case ClaimResult::Status::not_now: retry_join(&Session::join_claim); return;
    case ClaimResult::Status::too_many:
      join_failed(Code::too_many, "too many rooms, or too many members in this room");
      return;
  }
  join.claim = result;
  if (!v2) {
    join.claimed = true;
    join_claim();
    return;
  }
  shard_.context().store.read_marker(join.request.room_name, join_user_id(), shard_.executor(),
                                     [shard = &shard_, id = id_, room = join.request.room_name, user = join_user_id(),
                                      name = join.request.user_name](std::optional<Sequence> read) {
                                       Session* session = shard->find_session(id);
                                       if (session == nullptr || !session->join_) {
                                         shard->room(room).let_go(user, name);
                                         return;
                                       }
                                       session->join_->read = read.value_or(0);
                                       session->join_->claimed = true;
                                       session->join_claim();
                                     });
}

void Session::join_admit() {
  const std::unique_ptr<Join> join = std::move(join_);
  const Request& request = join->request;
  RoomHost& host = *join->host;
  std::string& out = output_.privates();
  const bool v2 = dialect_ == Dialect::v2;
  const std::string user_id = v2 && !user_id_.empty() ? user_id_
                              : v2                    ? user_id_of_key(*request.user_key)
                                                      : request.user_id;
  if (!v2) {
    while (!memberships_.empty()) leave(*memberships_.back(), Leaving::clean);
  }
  user_id_ = user_id;
  auto member = std::make_unique<Membership>();
  member->log = &host;
  member->host = &host;
  member->session = this;
  member->user_name = request.user_name;
  member->name_folded = request.user_name_folded;
  member->cursor = join->start;
  member->began = join->start.sequence;
  member->read = std::min(join->read, std::max(host.log().head().sequence, join->head.sequence));
  if (v2) {
    if (session_id_.empty()) session_id_ = random_text(shard_.context().random, 16);
    answer_join(out, *join, *member);
  } else {
    append_classic_ok(out, request.id_json);
    if (request.method == Method::join_room) append_new_user(out, request.room_name, request.user_name);
  }
  cursors_.push_back(member.get());
  host.add(*member);
  host.members_total_is(join->claim.members_count);
  memberships_.push_back(std::move(member));
  // Just after a start, who returns has not been away for anybody here. (Of a store with several nodes the claims
  // outlive a node, and say themselves who was there.)
  const bool since_restart = join->returning && shard_.context().store.node().empty() &&
                             shard_.now_us() - shard_.context().started_us < shard_.options().name_grace_ms * 1000;
  if (join->claim.first)
    host.signal({since_restart ? Signal::Kind::returned : Signal::Kind::joined, user_id, request.user_name, 0,
                 join->claim.members_count, join->returning});
  host.log().know_head(join->head, shard_.now_us());
  host.unhold();
  join_done();
}

void Session::answer_join(std::string& out, const Join& join, Membership& member) {
  JoinAnswer answer;
  answer.session_id = session_id_;
  answer.user_id = user_id_;
  answer.user_key = join.user_key_made;
  answer.head = join.head;
  answer.members_count = join.claim.members_count;
  answer.read = member.read;
  answer.heartbeat_ms = shard_.options().heartbeat_ms;
  answer.message_bytes_max = shard_.options().message_bytes_max;
  answer.server_version = shard_.context().version;
  answer.node = shard_.context().node_id;
  append_join_answer(out, join.request.id_json, answer);
  const std::string& room = join.request.room_name;
  if (join.reset) {
    shard_.metrics().resets.add();
    append_reset(out, room, 1, join.head);
  }
  if (join.skipped) {
    shard_.metrics().skips.add();
    append_skipped(out, room, join.skipped_after, join.start.sequence + 1);
  }
  member.live_after = join.head.sequence;
  member.live_due = true;
}

// The room was joined already: only the cursor moves. Classic: only backwards.
void Session::join_move() {
  const std::unique_ptr<Join> join = std::move(join_);
  join->host->unhold();
  Membership* member = member_of(join->request.room_name);
  CHECK(member != nullptr, "nothing but the session's end takes a membership while a join is under way");
  const bool moves = dialect_ == Dialect::v2 || join->start.sequence < member->cursor.sequence;
  // Only then: a frame taken from the log to be finished by itself would be sent again from a cursor that stays.
  if (moves && !detach(*member)) return;
  if (dialect_ == Dialect::v2) {
    member->cursor = join->start;
    member->began = join->start.sequence;
    join->claim.members_count = member->host->members_total();
    answer_join(output_.privates(), *join, *member);
  } else {
    if (moves) {
      member->cursor = join->start;
      member->began = std::min(member->began, join->start.sequence);
    }
    append_classic_ok(output_.privates(), join->request.id_json);
  }
  join_done();
}

void Session::join_failed(Code code, std::string_view message, ErrorDetails details) {
  join_let_go();
  const std::unique_ptr<Join> join = std::move(join_);
  join->host->unhold();
  error(join->request.id_json, code, message, details);
  if (dialect_ == Dialect::classic && details.retryable) {
    close(CloseCode::try_again, "try again", Closed::try_again);
    return;
  }
  join_done();
}

// A name that was claimed for a join that comes to nothing.
void Session::join_let_go() {
  if (join_->claimed) join_->host->let_go(join_user_id(), join_->request.user_name);
}

void Session::join_busy() {
  shard_.metrics().not_now.add();
  join_failed(Code::busy, "the store is behind or away; try again", {true, busy_retry_after_ms});
}

void Session::join_done() {
  end_step();
  // Texts that came before any join go first: see resume().
  set_pause(pause_early, false);
  pump();
}

}  // namespace tertulia
