// What a session does with the requests of its client, but for joins.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "node/session.h"
#include "node/shard.h"

namespace tertulia {
namespace {

using limits::early_bytes_max;
using limits::early_messages_max;
using limits::history_bytes_max;
using limits::history_limit_default;
using limits::members_limit_default;

}  // namespace

void Session::handle(Request request) {
  if (must_read_cut(request)) {
    held_ = std::make_unique<Request>(std::move(request));
    set_pause(pause_page, true);
    return;
  }
  switch (request.method) {
    case Method::join_room:
    case Method::reconnect: join(std::move(request)); return;
    case Method::text_message: text(std::move(request)); return;
    case Method::leave_room: leave_room(request); return;
    case Method::history: history(std::move(request)); return;
    case Method::members: members(std::move(request)); return;
    case Method::rooms: rooms(request); return;
    case Method::read: read(request); return;
    case Method::typing: typing(request); return;
    case Method::ping: append_ok(output_.privates(), request.id_json); return;
  }
}

// Who leaves a room, or moves his cursor there, while a frame of it is half sent takes its rest along: the connection
// could not go on without. If it is in memory no more, it is read first.
bool Session::must_read_cut(const Request& request) {
  const bool joins = request.method == Method::join_room || request.method == Method::reconnect;
  if (!joins && request.method != Method::leave_room) return false;
  for (const std::unique_ptr<Membership>& member : memberships_) {
    if (!output_.is_cut(*member)) continue;
    const bool goes = dialect_ == Dialect::classic || member->host->room_name() == request.room_name;
    if (!goes || member->host->piece_behind(member->cursor, 1, member->cursor.sequence + 1)) return false;
    member->host->need_page(*member);
    return true;
  }
  return false;
}

void Session::error(std::string_view id_json, Code code, std::string_view message, ErrorDetails details) {
  if (closing_) return;
  if (code == Code::not_a_member || code == Code::not_authorised)
    shard_.metrics().bad_input[BadInput::not_member].add();
  append_error(output_.privates(), dialect_, id_json.empty() ? "null" : id_json, code, message, details);
}

Membership* Session::member_of(std::string_view room) {
  for (const std::unique_ptr<Membership>& member : memberships_)
    if (member->host->room_name() == room) return member.get();
  return nullptr;
}

// --- texts ---

void Session::text(Request request) {
  Membership* member = member_of(request.room_name);
  if (member != nullptr) {
    if (dialect_ == Dialect::classic && request.user_id != user_id_) {
      error(request.id_json, Code::not_authorised, "this connection speaks for another user");
      return;
    }
    RoomHost& host = *member->host;
    std::string user_name = member->user_name;
    submit_text(host, member, std::move(request), std::move(user_name));
    return;
  }
  if (dialect_ == Dialect::v2) {
    error(request.id_json, Code::not_a_member, "join this room first");
    return;
  }
  if (!join_tried_) {
    // Written before the join, or the join was lost while their socket was still connecting: wait for one.
    if (early_.empty()) early_deadline_us_ = shard_.now_us() + shard_.options().first_join_wait_ms * 1000;
    early_bytes_ += request.text.size() + 256;
    early_.push_back(std::move(request));
    if (early_.size() >= early_messages_max || early_bytes_ >= early_bytes_max) set_pause(pause_early, true);
    return;
  }
  text_elsewhere(std::move(request));
}

// A classic client changes rooms with messages unacked and sends them again: to a room of which its user was a member
// within the last minute they are taken, and their frames go to this session too.
void Session::text_elsewhere(Request request) {
  if (!user_id_.empty() && request.user_id != user_id_) {
    error(request.id_json, Code::not_authorised, "this connection speaks for another user");
    return;
  }
  set_pause(pause_step, true);
  const std::string room = request.room_name, user = request.user_id;
  auto held = std::make_shared<Request>(std::move(request));
  shard_.context().store.member_name(room, user, shard_.executor(),
                                     [shard = &shard_, id = id_, held](std::optional<std::string> name) {
                                       Session* session = shard->find_session(id);
                                       if (session == nullptr || session->closing_) return;
                                       session->end_step();
                                       if (!name) {
                                         session->error(held->id_json, Code::not_a_member, "join this room first");
                                         session->pump();
                                         return;
                                       }
                                       RoomHost& host = shard->room(held->room_name);
                                       host.hold();
                                       session->submit_text(host, nullptr, std::move(*held), std::move(*name));
                                       host.unhold();
                                       session->pump();
                                     });
}

void Session::submit_text(RoomHost& host, Membership* member, Request request, std::string user_name) {
  const bool hand_over = member == nullptr;
  const bool v2 = dialect_ == Dialect::v2;
  Pending pending;
  pending.message.uuid = request.uuid;
  pending.message.user_id = v2 ? user_id_ : request.user_id;
  pending.message.text = std::move(request.text);
  pending.body = body_digest(pending.message);
  pending.session = id_;
  pending.answer = v2;
  pending.hand_over = hand_over;

  const RoomLog& log = host.log();
  // v2 answers go out in the order sent: behind what still waits, a repeat waits too, and so does a conflict.
  const bool in_turn = v2 && member->waiting > 0;
  const auto conflict = [&] {
    shard_.metrics().conflicts.add();
    error(request.id_json, Code::uuid_reused, "this uuid was used for another message");
  };
  if (const CommittedUuids::Known* known = shard_.committed_uuids().find(log.start_chain(), request.uuid)) {
    const bool same = known->body == pending.body;
    if (!in_turn) {
      if (!same) {
        conflict();
        return;
      }
      shard_.metrics().repeats.add();
      if (v2) {
        append_text_answer(output_.privates(), request.id_json, known->position, true);
      } else if (hand_over || known->position.sequence <= member->began) {
        host.resend(*this, known->position, request.uuid);
      }
      return;
    }
    pending.counted = !same;
  } else if (const RoomLog::Place* place = log.find_waiting(request.uuid, id_)) {
    if (place->body != pending.body) {
      if (!in_turn) {
        conflict();
        return;
      }
    } else {
      if (!v2 && place->session == id_) return;  // its push will be its ack
      pending.counted = false;                   // a place of its own, in this session's order
    }
  }

  if (!host.has_place(*this)) {
    // Nothing has happened yet: the request is kept as it is, and the socket is left alone until there is room.
    request.text = std::move(pending.message.text);
    held_ = std::make_unique<Request>(std::move(request));
    set_pause(pause_place, true);
    return;
  }
  pending.message.user_name = std::move(user_name);
  pending.message.date = std::move(request.date);
  pending.message.id_json = std::move(request.id_json);
  pending.message.sent_at_ms = shard_.context().clock.unix_ms();
  if (pending.counted) {
    if (shard_.live().rate_limits) {
      const Options::Live& live = shard_.live();
      const int64_t now = shard_.now_us();
      messages_.charge(1, {live.session_messages_per_second, live.session_messages_burst}, now);
      address_->charge(1, 0, live, now);
      if (messages_.wait_us({live.session_messages_per_second, live.session_messages_burst}, now) > 0)
        check_allowance(now);
    }
    ++waiting_counted_;
  }
  if (member != nullptr) ++member->waiting;
  if (waiting_counted_ >= waiting_messages_max || (member != nullptr && member->waiting >= waiting_messages_max))
    set_pause(pause_waiting, true);
  host.submit(std::move(pending));
}

// --- leaving ---

bool Session::detach(Membership& member) {
  if (output_.detach(member)) return true;
  // The frame that was cut is no longer in memory: this connection cannot go on, its client can.
  if (!broken_) transport_->abort();
  broken_ = true;
  return false;
}

void Session::leave(Membership& member, Leaving how) {
  if (!broken_) static_cast<void>(detach(member));
  member.host->remove(member, how);
  std::erase(cursors_, static_cast<Member*>(&member));
  std::erase_if(memberships_, [&](const std::unique_ptr<Membership>& each) { return each.get() == &member; });
  life_.opened_us = shard_.now_us();  // from here on it is a connection without a room
}

void Session::leave_all(Leaving how) {
  if (join_) {
    join_let_go();
    if (join_->host != nullptr) join_->host->unhold();
    join_.reset();
  }
  while (!memberships_.empty()) leave(*memberships_.back(), how);
}

void Session::leave_room(const Request& request) {
  Membership* member = member_of(request.room_name);
  if (member == nullptr) {
    error(request.id_json, Code::not_a_member, "this room is not joined");
    return;
  }
  leave(*member, Leaving::clean);
  append_ok(output_.privates(), request.id_json);
}

// --- reads ---

void Session::history(Request request) {
  if (member_of(request.room_name) == nullptr) {
    error(request.id_json, Code::not_a_member, "join this room first");
    return;
  }
  const size_t limit = request.limit.value_or(history_limit_default);
  const bool backwards = !request.after;
  const Sequence sequence = request.after ? *request.after : request.before.value_or(sequence_max);
  set_pause(pause_step, true);
  // One row more than asked for tells whether there is more.
  shard_.context().store.read_range(
      request.room_name, sequence, backwards, limit + 1, history_bytes_max, shard_.executor(),
      [shard = &shard_, id = id_, id_json = request.id_json, room = request.room_name, limit, backwards](Rows rows) {
        Session* session = shard->find_session(id);
        if (session == nullptr || session->closing_) return;
        session->end_step();
        if (rows.status != Rows::Status::ok) {
          shard->metrics().not_now.add();
          session->error(id_json, Code::busy, "the store cannot be read just now", {true, 1000});
        } else {
          std::span<const Row> shown(rows.rows);
          if (shown.size() > limit) shown = backwards ? shown.last(limit) : shown.first(limit);
          const bool more =
              !shown.empty() && (backwards ? shown.front().sequence > 1 : shown.back().sequence < rows.head.sequence);
          append_history_answer(session->output_.privates(), id_json, room, shown,
                                limit == 0 ? !rows.rows.empty() : more);
        }
        session->pump();
      });
}

void Session::members(Request request) {
  if (member_of(request.room_name) == nullptr) {
    error(request.id_json, Code::not_a_member, "join this room first");
    return;
  }
  set_pause(pause_step, true);
  shard_.context().store.members(
      request.room_name, request.members_after.value_or(""), request.limit.value_or(members_limit_default),
      shard_.executor(), [shard = &shard_, id = id_, id_json = request.id_json](MemberList list) {
        Session* session = shard->find_session(id);
        if (session == nullptr || session->closing_) return;
        session->end_step();
        if (!list.ok) {
          shard->metrics().not_now.add();
          session->error(id_json, Code::busy, "the store cannot be read just now", {true, 1000});
        } else {
          std::vector<MemberEntry> entries;
          for (MemberList::Entry& each : list.members)
            entries.push_back({std::move(each.user_id), std::move(each.user_name), each.read});
          append_members_answer(session->output_.privates(), id_json, entries, list.total,
                                list.next.empty() ? std::nullopt : std::optional<std::string_view>(list.next));
        }
        session->pump();
      });
}

void Session::rooms(const Request& request) {
  std::vector<RoomEntry> entries;
  for (const std::unique_ptr<Membership>& member : memberships_)
    entries.push_back({member->host->room_name(), member->host->log().head(), member->read, 0});
  set_pause(pause_step, true);
  rooms_next(request.id_json, std::move(entries), 0);
}

void Session::rooms_next(std::string id_json, std::vector<RoomEntry> entries, size_t at) {
  if (at == entries.size()) {
    append_rooms_answer(output_.privates(), id_json, entries);
    end_step();
    pump();
    return;
  }
  const std::string room = entries[at].room_name;
  shard_.context().store.members_count(room, shard_.executor(),
                                       [shard = &shard_, id = id_, id_json = std::move(id_json),
                                        entries = std::move(entries), at](uint64_t count) mutable {
                                         Session* session = shard->find_session(id);
                                         if (session == nullptr || session->closing_) return;
                                         entries[at].members_count = count;
                                         session->rooms_next(std::move(id_json), std::move(entries), at + 1);
                                       });
}

// --- signals ---

void Session::read(const Request& request) {
  Membership* member = member_of(request.room_name);
  if (member == nullptr) {
    error(request.id_json, Code::not_a_member, "join this room first");
    return;
  }
  const Sequence sequence = std::min(request.sequence, member->host->log().head().sequence);
  if (sequence > member->read) {
    member->read = sequence;
    shard_.context().store.mark_read(request.room_name, user_id_, sequence);
    if (shard_.context().store.may_speak())
      member->host->signal({Signal::Kind::read, user_id_, member->user_name, sequence, 0});
  }
  append_ok(output_.privates(), request.id_json);
}

void Session::typing(const Request& request) {
  Membership* member = member_of(request.room_name);
  if (member == nullptr) {
    error(request.id_json, Code::not_a_member, "join this room first");
    return;
  }
  // While this node's lease is in doubt, the name may be another's by now.
  if (shard_.context().store.may_speak())
    member->host->signal({Signal::Kind::typing, user_id_, member->user_name, 0, 0});
  append_ok(output_.privates(), request.id_json);
}

}  // namespace tertulia
