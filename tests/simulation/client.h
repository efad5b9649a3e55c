// A client as the protocol wants it: sends again with the same uuid, in order, until acked; reconnects to any node with
// the position it holds; proves every message's chain; obeys reset, skipped and live. In either dialect.
//
// What it is shown and told goes to the oracle; what contradicts the protocol is a fault.
// Thread: one.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oracle.h"
#include "protocol/request.h"
#include "scheduler.h"
#include "wire.h"

namespace tertulia::simulation {

// Where clients connect to.
class Doors {
 public:
  virtual ~Doors() = default;
  // A connection to some node that is up, or null: refused.
  virtual std::shared_ptr<Wire> connect(WireClient& client, Dialect dialect, const std::string& who) = 0;
};

class Client final : public WireClient {
 public:
  struct Settings {
    std::string who;       // in uuids and the trace
    std::string name;      // wanted
    std::string user_key;  // v2
    Dialect dialect = Dialect::v2;
    std::vector<std::string> rooms;  // classic: one
    int64_t silent_us = 2'500'000;   // nothing heard for so long: connect again
  };
  Client(Scheduler& scheduler, Oracle& oracle, Trace& trace, Doors& doors, Settings settings);

  void start();
  void says(size_t room);
  // Its network fails.
  void loses_connection(bool told);
  void stalls(int64_t us);
  // Leaves all rooms properly and comes back a little later.
  void goes_away();
  // Asks for the members; the answer is kept.
  void asks_members(size_t room);

  const Settings& settings() const { return settings_; }
  // Joined everywhere, everything acked.
  bool settled() const;
  std::optional<Position> held(size_t room) const { return rooms_[room].held; }
  bool member_of(const std::string& room) const;
  std::optional<Position> held_of(const std::string& room) const;
  const std::string& user_id() const { return user_id_; }
  const std::string& name() const { return name_; }
  // The room that an answer sent now is about, if it is a join's; null: it is none.
  const std::string* room_joined_by(std::string_view answer) const;
  size_t acks() const { return acks_; }
  size_t resets() const { return resets_; }
  std::string state() const;
  // userIds, as answered last; nothing: no answer yet.
  std::optional<std::vector<std::string>> members;

 private:
  struct Out {
    std::string uuid, text;
    uint64_t request = 0;  // on this connection; 0: not sent on it
  };
  struct Room {
    std::string name;
    std::optional<Position> held;
    std::optional<Sequence> skipped_before;  // the next message may be this one
    bool fresh = true;                       // the next message may have any number
    bool begins_again = false;               // classic: what was held is gone, and nothing but its own has come since
    bool joined = false;                     // answered OK on this connection
    uint64_t join_request = 0;
    std::deque<Out> outbox;
    int said = 0;
  };

  void wire_text(std::string_view text) override;
  void wire_ended(int code) override;

  void connect();
  void again(int64_t after_us);
  void tick();
  void drop();
  void send_join(Room& room);
  void joined(Room& room);
  void send_outbox(Room& room);
  void send_text(Room& room, Out& out);
  void on_message(std::string_view text);
  void on_result(uint64_t request, std::string_view text);
  void on_error(uint64_t request, std::string_view text);
  void ack(Room& room, const std::string& uuid, const Position& position);
  Room* find(std::string_view name);

  Scheduler& scheduler_;
  Oracle& oracle_;
  Trace& trace_;
  Doors& doors_;
  const Settings settings_;
  std::string name_, user_id_;
  std::vector<Room> rooms_;
  std::shared_ptr<Wire> wire_;
  uint64_t attempt_ = 0;  // timers of an earlier one are void
  uint64_t requests_ = 0;
  uint64_t members_request_ = 0;
  int refusals_ = 0;
  int64_t heard_us_ = 0;
  size_t acks_ = 0, resets_ = 0;
};

}  // namespace tertulia::simulation
