#include "client.h"

#include <charconv>
#include <utility>

#include "protocol/message.h"

namespace tertulia::simulation {
namespace {

// What stands behind `key` (which includes the opening quote of a string), up to the closing quote. Our servers escape
// nothing here: nobody says anything that must be.
std::string_view text_behind(std::string_view json, std::string_view key) {
  const size_t at = json.find(key);
  if (at == std::string_view::npos) return {};
  const size_t begin = at + key.size();
  return json.substr(begin, json.find('"', begin) - begin);
}

int64_t number_behind(std::string_view json, std::string_view key, int64_t otherwise = -1) {
  const size_t at = json.find(key);
  if (at == std::string_view::npos) return otherwise;
  int64_t number = otherwise;
  std::from_chars(json.data() + at + key.size(), json.data() + json.size(), number);
  return number;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

Client::Client(Scheduler& scheduler, Oracle& oracle, Trace& trace, Doors& doors, Settings settings)
    : scheduler_(scheduler),
      oracle_(oracle),
      trace_(trace),
      doors_(doors),
      settings_(std::move(settings)),
      name_(settings_.name) {
  for (const std::string& room : settings_.rooms) rooms_.push_back({room});
  if (settings_.dialect == Dialect::classic) user_id_ = "user-of-" + settings_.who;
}

void Client::start() {
  again(1);
}

void Client::again(int64_t after_us) {
  const uint64_t attempt = ++attempt_;
  scheduler_.after(after_us, [this, attempt] {
    if (attempt == attempt_) connect();
  });
}

void Client::drop() {
  if (wire_) wire_->cut(true);
  wire_ = nullptr;
}

void Client::connect() {
  drop();
  heard_us_ = scheduler_.now_us();
  for (Room& room : rooms_) {
    room.joined = false;
    room.join_request = 0;
    for (Out& out : room.outbox) out.request = 0;
  }
  wire_ = doors_.connect(*this, settings_.dialect, settings_.who);
  if (!wire_) {
    again(scheduler_.chance.between(50'000, 400'000));
    return;
  }
  for (Room& room : rooms_) send_join(room);
  tick();
}

// Whoever hears nothing for long goes elsewhere.
void Client::tick() {
  scheduler_.after(400'000, [this, attempt = attempt_] {
    if (attempt != attempt_ || !wire_) return;
    if (scheduler_.now_us() - heard_us_ > settings_.silent_us) {
      trace_.say(settings_.who, "hears nothing");
      connect();
      return;
    }
    tick();
  });
}

void Client::loses_connection(bool told) {
  if (!wire_) return;
  trace_.say(settings_.who, told ? "loses its connection" : "vanishes from its connection");
  wire_->cut(told);
  wire_ = nullptr;
  again(scheduler_.chance.between(1'000, 800'000));
}

void Client::stalls(int64_t us) {
  if (wire_) wire_->stall(us);
}

void Client::goes_away() {
  if (!wire_) return;
  trace_.say(settings_.who, "leaves");
  wire_->close(1000);
  wire_ = nullptr;
  again(scheduler_.chance.between(100'000, 2'500'000));
}

void Client::wire_ended(int code) {
  trace_.say(settings_.who, "closed", code);
  wire_ = nullptr;
  if (code == 1002 || code == 1003 || code == 1007 || code == 1009 || code >= 4500)
    oracle_.fault("closed as if it had done wrong:", settings_.who, code);
  again(scheduler_.chance.between(1'000, 500'000));
}

// --- joins ---

void Client::send_join(Room& room) {
  room.join_request = ++requests_;
  std::string text = R"({"jsonrpc":"2.0","method":")";
  const bool classic = settings_.dialect == Dialect::classic;
  text += classic && room.said + (room.held ? 1 : 0) > 0 ? "reconnect" : "joinRoom";
  text += R"(","params":{"roomName":")" + room.name + R"(","userName":")" + name_ + '"';
  if (classic) {
    text += R"(,"userId":")" + user_id_ + R"(","sessionId":"","lastMessageId":)";
    text += room.held ? '"' + position_text(*room.held) + '"' : "null";
  } else {
    text += R"(,"userKey":")" + settings_.user_key + '"';
    if (room.held) {
      text += R"(,"lastMessageId":")" + position_text(*room.held) + '"';
      if (scheduler_.chance.one_in(12)) text += R"(,"limit":)" + std::to_string(scheduler_.chance.between(1, 5));
    }
  }
  text += R"(},"id":)" + std::to_string(room.join_request) + "}";
  if (!room.held) room.fresh = true;
  wire_->send(text);
  // They do not wait.
  if (classic) send_outbox(room);
}

void Client::joined(Room& room) {
  room.joined = true;
  refusals_ = 0;
  if (settings_.dialect == Dialect::v2) send_outbox(room);
}

// --- sending ---

void Client::says(size_t index) {
  Room& room = rooms_[index % rooms_.size()];
  const std::string number = std::to_string(++room.said);
  room.outbox.push_back({settings_.who + "-" + room.name + "-" + number, "t" + number, 0});
  if (!wire_ || !room.joined) return;
  if (settings_.dialect == Dialect::classic) {
    send_outbox(room);  // they send everything again
  } else {
    send_text(room, room.outbox.back());
  }
}

void Client::send_outbox(Room& room) {
  for (Out& out : room.outbox) send_text(room, out);
}

void Client::send_text(Room& room, Out& out) {
  out.request = ++requests_;
  std::string text = R"({"jsonrpc":"2.0","method":"textMessage","params":{"roomName":")" + room.name;
  if (settings_.dialect == Dialect::classic)
    text += R"(","userId":")" + user_id_ + R"(","userName":")" + name_ + R"(","ack":false,"date":")";
  text += R"(","text":")" + out.text + R"(","uuid":")" + out.uuid + '"';
  if (settings_.dialect == Dialect::v2) text += R"(,"date":"")";
  text += R"(},"id":)" + std::to_string(out.request) + "}";
  wire_->send(text);
}

// --- hearing ---

Client::Room* Client::find(std::string_view name) {
  for (Room& room : rooms_)
    if (room.name == name) return &room;
  return nullptr;
}

void Client::wire_text(std::string_view text) {
  heard_us_ = scheduler_.now_us();
  const std::string_view method = text_behind(text, R"("method":")");
  if (method == "textMessage" && contains(text, R"("_id":")")) {
    on_message(text);
    return;
  }
  if (contains(text, R"("error":)")) {
    on_error(static_cast<uint64_t>(number_behind(text, R"("id":)", 0)), text);
    return;
  }
  if (contains(text, R"("result":)")) {
    // The answer's own id stands at its end.
    const size_t at = text.rfind(R"("id":)");
    on_result(static_cast<uint64_t>(number_behind(text.substr(at), R"("id":)", 0)), text);
    return;
  }
  Room* const room = find(text_behind(text, R"("roomName":")"));
  if (room == nullptr) return;
  if (method == "reset") {
    trace_.say(settings_.who, "is told reset in", room->name);
    ++resets_;
    if (room->held) {
      oracle_.reset(settings_.who, room->name, *room->held);
    } else {
      oracle_.fault("told reset though it holds nothing:", settings_.who, room->name);
    }
    room->held.reset();
    room->fresh = true;
  } else if (method == "skipped") {
    const auto after = static_cast<Sequence>(number_behind(text, R"("after":)"));
    if (room->held && after != room->held->sequence)
      oracle_.fault("skipped does not begin at what is held:", settings_.who, room->name, after);
    room->skipped_before = static_cast<Sequence>(number_behind(text, R"("before":)"));
  } else if (method == "live") {
    const auto sequence = static_cast<Sequence>(number_behind(text, R"("sequence":)"));
    if (!room->held && sequence == 0) room->held = Position{0, chain_start(room->name)};
    if (!room->held || room->held->sequence < sequence)
      oracle_.fault("live, but not there yet:", settings_.who, room->name, sequence);
    room->fresh = false;
  }
}

void Client::on_message(std::string_view text) {
  Room* const room = find(text_behind(text, R"("roomName":")"));
  const std::optional<Position> position = parse_position(text_behind(text, R"("_id":")"));
  if (room == nullptr || !position) {
    oracle_.fault("a message of no room, or without a place:", settings_.who, text);
    return;
  }
  Message message;
  message.uuid = text_behind(text, R"("uuid":")");
  message.user_id = text_behind(text, R"("userId":")");
  message.user_name = text_behind(text, R"("userName":")");
  message.date = text_behind(text, R"("date":")");
  message.text = text_behind(text, R"("text":")");
  message.sent_at_ms = number_behind(text, R"("sentAt":)");
  const bool own = message.uuid.starts_with(settings_.who + "-");
  oracle_.shown(settings_.who, room->name, *position);
  if (settings_.dialect == Dialect::classic && room->held) {
    // It cannot be told that the log went back: it is closed, and goes on with the newest.
    const bool gone = oracle_.taken_back(room->name, *room->held);
    room->begins_again |= gone;
    if (own) {
      // A repeat is acked where it can be heard, and so is what a former member sends. A client that begins again can
      // not tell such an ack from the history that holds it, until something comes that is not its own.
      const bool behind = !gone && position->sequence <= room->held->sequence;
      const bool next = !gone && position->sequence == room->held->sequence + 1;
      if (!room->joined || behind || (room->begins_again && !next)) {
        if (room->joined && !behind) room->held = position;
        ack(*room, message.uuid, *position);
        return;
      }
    }
  }
  trace_.say(settings_.who, "sees", room->name, *position, message.uuid);
  const bool may_skip = room->skipped_before && position->sequence == *room->skipped_before;
  if (room->held && !may_skip) {
    const bool next = position->sequence == room->held->sequence + 1;
    const bool fits = next && chain_next(room->held->chain, position->sequence, message) == position->chain;
    if (!fits && !room->begins_again)
      oracle_.fault(next ? "a chain that does not continue what is held:" : "not the next message:", settings_.who,
                    room->name, *room->held, *position);
  } else if (!room->held && !room->fresh) {
    oracle_.fault("a message out of nowhere:", settings_.who, room->name, *position);
  }
  room->fresh = false;
  room->begins_again = room->begins_again && own;
  room->skipped_before.reset();
  room->held = position;
  if (own) ack(*room, message.uuid, *position);
}

void Client::ack(Room& room, const std::string& uuid, const Position& position) {
  for (size_t i = 0; i < room.outbox.size(); ++i) {
    if (room.outbox[i].uuid != uuid) continue;
    oracle_.acked(settings_.who, room.name, uuid, position);
    room.outbox.erase(room.outbox.begin() + static_cast<ptrdiff_t>(i));
    ++acks_;
    return;
  }
}

const std::string* Client::room_joined_by(std::string_view answer) const {
  const size_t at = answer.rfind(R"("id":)");
  if (at == std::string_view::npos) return nullptr;
  const auto request = static_cast<uint64_t>(number_behind(answer.substr(at), R"("id":)", 0));
  for (const Room& room : rooms_)
    if (room.join_request == request && request != 0) return &room.name;
  return nullptr;
}

void Client::on_result(uint64_t request, std::string_view text) {
  for (Room& room : rooms_) {
    if (room.join_request == request && request != 0) {
      trace_.say(settings_.who, "has joined", room.name);
      if (settings_.dialect == Dialect::v2) user_id_ = text_behind(text, R"("userId":")");
      joined(room);
      return;
    }
    for (const Out& out : room.outbox) {
      if (out.request != request) continue;
      const std::optional<Position> position = parse_position(text_behind(text, R"("_id":")"));
      if (!position) {
        oracle_.fault("an answer without a place:", settings_.who, text);
        return;
      }
      trace_.say(settings_.who, "is acked", out.uuid, *position);
      ack(room, std::string(out.uuid), *position);
      return;
    }
  }
  if (request == members_request_ && request != 0) {
    members.emplace();
    size_t at = 0;
    while ((at = text.find(R"("userId":")", at)) != std::string_view::npos) {
      members->emplace_back(text_behind(text.substr(at), R"("userId":")"));
      at += 8;
    }
  }
}

void Client::on_error(uint64_t request, std::string_view text) {
  const int64_t code = number_behind(text, R"("code":)", 0);
  for (Room& room : rooms_) {
    if (room.join_request == request) {
      trace_.say(settings_.who, "is refused in", room.name, code);
      room.join_request = 0;
      if (code == -32001) {
        // Another's. After some tries another name will do.
        if (++refusals_ >= 4 || !contains(text, "retryAfterMs")) name_ = settings_.name + "-of-" + settings_.who;
      } else if (code != -32013 && code != -32016) {
        oracle_.fault("a join was refused for no reason:", settings_.who, room.name, text);
      }
      if (settings_.dialect == Dialect::v2 || code == -32001) {
        // Joins are tried again on a new connection: so all rooms have one name.
        again(std::max<int64_t>(number_behind(text, R"("retryAfterMs":)", 100) * 1000, 1'000));
      }
      return;
    }
    for (const Out& out : room.outbox) {
      if (out.request != request) continue;
      trace_.say(settings_.who, "is told error", code, "for", out.uuid);
      // Not a member (any more): it comes again.
      if (code != -32010) oracle_.fault("a text was refused:", settings_.who, out.uuid, text);
      again(scheduler_.chance.between(1'000, 200'000));
      return;
    }
  }
}

void Client::asks_members(size_t index) {
  members.reset();
  if (!wire_) return;
  members_request_ = ++requests_;
  wire_->send(R"({"jsonrpc":"2.0","method":"members","params":{"roomName":")" + rooms_[index].name + R"("},"id":)" +
              std::to_string(members_request_) + "}");
}

bool Client::member_of(const std::string& room) const {
  for (const Room& each : rooms_)
    if (each.name == room) return wire_ && each.joined;
  return false;
}

std::optional<Position> Client::held_of(const std::string& room) const {
  for (const Room& each : rooms_)
    if (each.name == room) return each.held;
  return std::nullopt;
}

bool Client::settled() const {
  if (!wire_ || wire_->ended()) return false;
  for (const Room& room : rooms_)
    if (!room.joined || !room.outbox.empty()) return false;
  return true;
}

std::string Client::state() const {
  std::string text = settings_.who + (wire_ ? " connected" : " not connected");
  for (const Room& room : rooms_) {
    text += "; " + room.name + (room.joined ? " joined" : " not joined") + ", holds " +
            (room.held ? position_text(*room.held) : "nothing") + ", unacked " + std::to_string(room.outbox.size());
  }
  return text;
}

}  // namespace tertulia::simulation
