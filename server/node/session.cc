#include "node/session.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/failpoint.h"
#include "base/limits.h"
#include "node/shard.h"

namespace tertulia {
namespace {

using limits::answers_bytes_max;
using limits::answers_bytes_resume;
using limits::floods_per_second_max;
using limits::resends_max;
using limits::write_bytes_max;
using limits::writes_max;
constexpr int64_t closing_wait_us = 5'000'000;

}  // namespace

Session::Session(Shard& shard, uint64_t id, std::unique_ptr<Transport> transport, const Greeting& greeting)
    : shard_(shard),
      id_(id),
      dialect_(greeting.dialect),
      address_(shard.context().addresses.of(greeting.address, shard.live(), shard.now_us())),
      transport_(std::move(transport)),
      reader_(shard.websocket_limits()) {
  const int64_t now = shard.now_us();
  life_.opened_us = life_.heard_us = life_.taken_us = life_.pushed_us = now;
  // Pings are spread: sessions that came together are not pinged together.
  const int64_t ping_us = shard.life_limits(dialect_).ping_us;
  life_.pinged_us = now - static_cast<int64_t>(shard.context().random.below(static_cast<uint64_t>(ping_us)));
}

Session::~Session() {
  if (allowance_timer_ != 0) shard_.timers().cancel(allowance_timer_);
}

// --- output ---

void Session::pump(std::string_view signals) {
  pump_queued_ = false;
  if (broken_) return;
  if (blocked_) {
    watch_answers();
    return;
  }
  Output::Plan& plan = shard_.plan();
  Membership* needs = nullptr;
  bool more = false;
  for (int writes = 0; writes < writes_max; ++writes) {
    output_.plan(cursors_, signals, write_bytes_max, plan);
    needs = static_cast<Membership*>(plan.needs);
    more = plan.more;
    if (plan.count == 0) break;
    const int64_t taken = transport_->send(plan.span());
    if (taken < 0) {
      broken_ = true;
      return;
    }
    const bool whole = static_cast<size_t>(taken) == plan.bytes;
    if (taken > 0) {
      life_.taken_us = life_.pushed_us = shard_.now_us();
      shard_.metrics().bytes_out.add(static_cast<uint64_t>(taken));
      shard_.metrics().flushes.add();
      shard_.metrics().deliveries.add(output_.sent(plan, static_cast<size_t>(taken)));
    }
    signals = {};
    if (!whole) {
      if (output_.mid_frame()) FAILPOINT("half_written_frame");
      blocked_ = true;
      transport_->want_writable();
      break;
    }
    if (!more) break;
  }
  watch_answers();
  if (blocked_) return;
  // Both: a room whose next frame must be read does not hold up the others of this session.
  if (needs != nullptr) needs->host->need_page(*needs);
  if (more) {
    shard_.pump_soon(*this);
  } else if (closing_ && output_.private_bytes() == 0 && !std::exchange(close_sent_, true)) {
    transport_->close();
  }
}

// Answers of the store come when nothing is being read, so it is not enough to look behind each request.
void Session::watch_answers() {
  if (output_.private_bytes() >= answers_bytes_max) {
    set_pause(pause_answers, true);
  } else if ((pauses_ & pause_answers) && output_.private_bytes() < answers_bytes_resume) {
    set_pause(pause_answers, false);
  }
}

void Session::on_writable() {
  blocked_ = false;
  life_.taken_us = life_.waited_us = shard_.now_us();
  pump();
}

void Session::add_private(std::string_view frame) {
  if (closing_) return;
  output_.privates() += frame;
  if (output_.private_bytes() >= answers_bytes_max) set_pause(pause_answers, true);
}

void Session::resend_begins() {
  if (++resends_ >= resends_max) set_pause(pause_resends, true);
}

void Session::resend_ends() {
  if (--resends_ < resends_max) set_pause(pause_resends, false);
}

void Session::decided(RoomHost& host, const Pending& pending, const Appended& outcome, std::string_view frame,
                      bool of_member) {
  Membership* member = of_member ? member_of(host.room_name()) : nullptr;
  if (member != nullptr && !pending.hand_over) --member->waiting;
  if (pending.counted) --waiting_counted_;
  if (waiting_counted_ < waiting_messages_max) set_pause(pause_waiting, false);
  if (closing_) return;
  const std::string& id_json = pending.message.id_json;
  std::string& out = output_.privates();
  // A classic client's ack is the push. It does not come by itself from before the place where delivery began, nor from
  // a room that the session has left meanwhile.
  const Membership* now = member_of(host.room_name());
  const bool push_is_due = dialect_ == Dialect::classic && (now == nullptr || outcome.position.sequence <= now->began);
  switch (outcome.kind) {
    case Appended::Kind::added:
      if (pending.answer) append_text_answer(out, id_json, outcome.position, false);
      if (push_is_due) out += frame;
      break;
    case Appended::Kind::repeated:
      if (pending.counted && shard_.live().rate_limits) {
        // It turned out to be a repeat, which costs bytes only.
        const Options::Live& live = shard_.live();
        messages_.refund(1, {live.session_messages_per_second, live.session_messages_burst});
        address_->refund(1, live);
      }
      if (pending.answer) append_text_answer(out, id_json, outcome.position, true);
      if (push_is_due) host.resend(*this, outcome.position, pending.message.uuid);
      break;
    case Appended::Kind::conflict: error(id_json, Code::uuid_reused, "this uuid was used for another message"); break;
    case Appended::Kind::refused: error(id_json, Code::refused_by_store, "the store refused this message"); break;
  }
  if (output_.private_bytes() >= answers_bytes_max) set_pause(pause_answers, true);
}

// --- input ---

void Session::on_bytes(char* data, size_t size) {
  const int64_t now = shard_.now_us();
  life_.heard_us = now;
  shard_.metrics().bytes_in.add(size);
  if (closing_) return;
  if (shard_.live().rate_limits) {
    const Options::Live& live = shard_.live();
    bytes_.charge(static_cast<double>(size), {live.session_bytes_per_second, live.session_bytes_burst}, now);
    address_->charge(0, static_cast<double>(size), live, now);
  }
  if (!inbox_.empty() || paused()) {
    inbox_.append(data, size);
  } else {
    feed(data, size);
  }
  check_allowance(now);
  pump();
}

void Session::feed(char* data, size_t size) {
  const WebSocketReader::Fed fed = reader_.feed(data, size, *this);
  if (!reader_.mid_message()) {
    life_.frame_begun_us = 0;
  } else if (life_.frame_begun_us == 0) {
    life_.frame_begun_us = shard_.now_us();
  }
  switch (fed.status) {
    case WebSocketReader::Status::more:
    case WebSocketReader::Status::closed: break;
    case WebSocketReader::Status::stopped:
      if (fed.consumed < size) inbox_.assign(data + fed.consumed, size - fed.consumed);
      break;
    case WebSocketReader::Status::failed: {
      shard_.metrics().bad_input[BadInput::frame].add();
      const CloseCode code = reader_.fail_code();
      close(code, reader_.fail_reason(),
            code == CloseCode::invalid_utf8       ? Closed::invalid_utf8
            : code == CloseCode::too_big          ? Closed::too_big
            : code == CloseCode::unsupported_data ? Closed::unsupported_data
            : code == CloseCode::policy           ? Closed::policy
                                                  : Closed::protocol_error);
      break;
    }
  }
}

bool Session::on_message(Opcode, std::string_view payload) {
  FAILPOINT("request_read");
  std::variant<Request, Malformed> parsed = parse_request(dialect_, payload);
  if (auto* request = std::get_if<Request>(&parsed)) {
    shard_.metrics().requests.add();
    handle(std::move(*request));
  } else {
    const Malformed& malformed = std::get<Malformed>(parsed);
    shard_.metrics()
        .bad_input[malformed.code == Code::parse_error        ? BadInput::json
                   : malformed.code == Code::invalid_request  ? BadInput::request
                   : malformed.code == Code::method_not_found ? BadInput::method
                                                              : BadInput::params]
        .add();
    error(malformed.id_json, malformed.code, malformed.message);
  }
  if (output_.private_bytes() >= answers_bytes_max) set_pause(pause_answers, true);
  return !paused();
}

bool Session::on_too_large(uint64_t) {
  shard_.metrics().bad_input[BadInput::too_large].add();
  error("null", Code::too_large, "this message is larger than the limit");
  return !paused();
}

bool Session::on_ping(std::string_view payload) {
  if (flood(shard_.now_us())) return false;
  append_frame(output_.privates(), Opcode::pong, payload);
  if (output_.private_bytes() >= answers_bytes_max) set_pause(pause_answers, true);
  return !paused();
}

bool Session::on_pong(std::string_view) {
  return true;
}

bool Session::on_empty_frame() {
  return !flood(shard_.now_us());
}

void Session::on_close(CloseCode code, std::string_view) {
  // Begun by the client, so 1000 and 1001 are clean; a reload (1001) is not shown to the others if he comes back.
  if (closing_) return;
  leave_all(code == CloseCode::normal       ? Leaving::clean
            : code == CloseCode::going_away ? Leaving::reloading
                                            : Leaving::unclean);
  close(code == CloseCode::no_code ? CloseCode::normal : code, {}, Closed::by_peer);
}

bool Session::flood(int64_t now_us) {
  const int64_t second = now_us / 1'000'000;
  if (flood_second_ != second) {
    flood_second_ = second;
    flood_count_ = 0;
  }
  if (++flood_count_ <= floods_per_second_max) return false;
  shard_.metrics().bad_input[BadInput::flood].add();
  close(CloseCode::policy, "too many pings or empty frames", Closed::policy);
  return true;
}

void Session::check_allowance(int64_t now_us) {
  if (closing_) return;
  const Options::Live& live = shard_.live();
  if (!live.rate_limits) {
    set_pause(pause_allowance, false);
    return;
  }
  const int64_t wait_us =
      std::max({messages_.wait_us({live.session_messages_per_second, live.session_messages_burst}, now_us),
                bytes_.wait_us({live.session_bytes_per_second, live.session_bytes_burst}, now_us),
                address_->wait_us(live, now_us)});
  if (wait_us == 0) {
    set_pause(pause_allowance, false);
    return;
  }
  set_pause(pause_allowance, true);
  if (allowance_timer_ != 0) return;
  allowance_timer_ = shard_.timers().after(wait_us, [shard = &shard_, id = id_] {
    Session* session = shard->find_session(id);
    if (session == nullptr) return;
    session->allowance_timer_ = 0;
    session->check_allowance(shard->now_us());
    session->pump();
  });
}

void Session::set_pause(Pause why, bool on) {
  const uint32_t before = pauses_;
  pauses_ = on ? pauses_ | why : pauses_ & ~static_cast<uint32_t>(why);
  if (before == 0 && pauses_ != 0) {
    shard_.metrics().reads_paused.add();
    shard_.metrics().sessions_paused.add(1);
  }
  if (before != 0 && pauses_ == 0) {
    shard_.metrics().sessions_paused.add(-1);
    // Not here: the caller may be in the middle of a request of this very session.
    shard_.executor().post([shard = &shard_, id = id_] {
      if (Session* session = shard->find_session(id)) session->resume();
    });
  }
  if (pauses_ != 0 && reading_) {
    reading_ = life_.reading = false;
    transport_->set_reading(false);
  }
}

void Session::resume() {
  if (resuming_) return;
  resuming_ = true;
  while (!paused() && (held_ || (join_tried_ && !early_.empty()) || !inbox_.empty())) {
    if (held_) {
      const std::unique_ptr<Request> request = std::move(held_);
      handle(std::move(*request));
    } else if (join_tried_ && !early_.empty()) {
      Request request = std::move(early_.front());
      early_.erase(early_.begin());
      handle(std::move(request));
    } else {
      std::string bytes = std::exchange(inbox_, {});
      feed(bytes.data(), bytes.size());
    }
    check_allowance(shard_.now_us());
  }
  resuming_ = false;
  if (!paused() && !reading_) {
    reading_ = life_.reading = true;
    // What was not read while we did not look is not his silence.
    life_.heard_us = shard_.now_us();
    transport_->set_reading(true);
  }
  pump();
}

void Session::end_step() {
  set_pause(pause_step, false);
}

void Session::room_has_place() {
  set_pause(pause_place, false);
}

// --- the end ---

void Session::close(CloseCode code, std::string_view reason, Closed why) {
  if (closing_) return;
  leave_all(Leaving::unclean);
  shard_.metrics().closes[why].add();
  if (broken_) {
    closing_ = true;
    return;
  }
  append_close_frame(output_.privates(), code, reason);
  closing_ = true;
  closing_since_us_ = shard_.now_us();
  held_.reset();
  inbox_.clear();
  early_.clear();
  set_pause(pause_closing, true);
  shard_.pump_soon(*this);
}

void Session::on_closed() {
  if (!closing_) shard_.metrics().closes[Closed::lost].add();
  closing_ = true;
  broken_ = true;
  leave_all(Leaving::unclean);
  if (paused()) shard_.metrics().sessions_paused.add(-1);
  shard_.remove(*this);
}

void Session::past_is_gone(const std::string& room, const Position& cursor) {
  Membership* member = member_of(room);
  if (member == nullptr || member->cursor != cursor || closing_) return;
  shard_.metrics().resets.add();
  if (dialect_ == Dialect::classic || !detach(*member)) {
    close(CloseCode::restart, "the log has changed", Closed::restart);
    return;
  }
  const RoomLog& log = member->host->log();
  append_reset(output_.privates(), room, 1, log.head());
  // The newest, as after a join without a position; as far as they are in memory.
  const uint64_t newest = std::min<uint64_t>(shard_.live().max_messages_history, log.head().sequence);
  const std::optional<Chain> chain = log.tail().chain_at(log.head().sequence - newest);
  member->cursor = chain ? Position{log.head().sequence - newest, *chain} : log.tail().base();
  member->began = member->cursor.sequence;
  member->live_after = std::min(member->live_after, log.head().sequence);
  shard_.pump_soon(*this);
}

void Session::finish_cut(Membership& member) {
  const auto frame = member.host->piece_behind(member.cursor, 1, member.cursor.sequence + 1);
  if (detach(member)) member.cursor = frame->last;
}

void Session::name_lost(const std::string& room, const std::string& name_folded, const std::string& user_id) {
  if (closing_) return;
  Membership* member = member_of(room);
  const bool speaks = member != nullptr && member->name_folded == name_folded && user_id_ == user_id;
  const bool joins = join_ && join_->claim.status == ClaimResult::Status::granted && join_->request.room_name == room &&
                     join_->request.user_name_folded == name_folded && join_user_id() == user_id;
  if (!speaks && !joins) return;
  close(CloseCode::try_again, "this name is another user's by now", Closed::name_lost);
}

void Session::taken_back(RoomHost& host, const Pending& pending, bool of_member) {
  Membership* member = of_member ? member_of(host.room_name()) : nullptr;
  if (member != nullptr && !pending.hand_over) --member->waiting;
  if (pending.counted) --waiting_counted_;
}

void Session::was_not_served(int64_t for_us) {
  const int64_t now = shard_.now_us();
  // What happened after it ran again is not moved beyond now; 0 stands for never.
  for (int64_t* at : {&life_.opened_us, &life_.heard_us, &life_.taken_us, &life_.waited_us, &life_.frame_begun_us})
    if (*at != 0) *at = std::min(*at + for_us, now);
  early_deadline_us_ += for_us;
}

void Session::tick(int64_t now_us) {
  if (closing_) {
    if (now_us - closing_since_us_ >= closing_wait_us && !broken_) transport_->abort();
    return;
  }
  if (!early_.empty() && !join_tried_ && early_deadline_us_ <= now_us) {
    // He comes back with a reconnect, which names room and user.
    close(CloseCode::try_again, "join a room first", Closed::try_again);
    return;
  }
  life_.in_room = in_room();
  life_.output_waits = blocked_;
  life_.wants_heartbeat = dialect_ == Dialect::v2;
  const LifeLimits& limits = shard_.life_limits(dialect_);
  const LifeStep step = next_life_step(limits, life_, now_us);
  switch (step) {
    case LifeStep::nothing: return;
    case LifeStep::ping:
    case LifeStep::ping_with_heartbeat: {
      life_.pinged_us = now_us;
      const TransportHealth health = transport_->health();
      if (health.probes_unanswered >= 3 ||
          (health.unacked_packets > 0 && int64_t{health.last_ack_ms} * 1000 >= limits.vanished_us)) {
        close(CloseCode::idle, "the host is gone", Closed::silent);
        transport_->abort();
        return;
      }
      if (blocked_) return;  // he has enough to read; a ping behind it would tell nobody anything
      const int64_t pushed_us = life_.pushed_us;
      append_frame(output_.privates(), Opcode::ping, {});
      if (step == LifeStep::ping_with_heartbeat) append_heartbeat(output_.privates());
      pump();
      if (step == LifeStep::ping) life_.pushed_us = pushed_us;
      return;
    }
    case LifeStep::heartbeat:
      append_heartbeat(output_.privates());
      pump();
      return;
    case LifeStep::close_idle:
      close(CloseCode::idle, blocked_ ? "nothing was taken for too long" : "nothing was heard for too long",
            blocked_ ? Closed::stalled : Closed::silent);
      return;
  }
}

void Session::ask_to_move(int64_t after_ms, int64_t deadline_ms) {
  if (closing_) return;
  append_reconnect(output_.privates(), after_ms, deadline_ms, "drain");
  pump();
}

}  // namespace tertulia
