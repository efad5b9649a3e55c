// A session: one WebSocket connection, from the handshake to its end.
//
// Reads frames and requests in order, lets the pure parts decide, and keeps what is only this connection's: who speaks,
// the rooms joined, what it is owed. Whatever has to wait (a join, a full queue, an allowance) stops the reading, and
// the socket with it: TCP tells the client, and the order of requests is kept without a queue. Thread: the home
// shard's. Memory: below 1 KiB when idle. Ends: the shard destroys it after the transport's last word; callbacks find
// it by id, or find it gone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "base/metrics.h"
#include "node/context.h"
#include "node/room_host.h"
#include "node/transport.h"
#include "protocol/frames.h"
#include "protocol/request.h"
#include "protocol/websocket.h"
#include "session/allowance.h"
#include "session/life.h"
#include "session/output.h"

namespace tertulia {

using limits::waiting_messages_max;

class Session final : public TransportUser, private WebSocketReader::Handler {
 public:
  Session(Shard& shard, uint64_t id, std::unique_ptr<Transport> transport, const Greeting& greeting);
  ~Session() override;

  uint64_t id() const { return id_; }
  Dialect dialect() const { return dialect_; }
  const std::string& user_id() const { return user_id_; }
  bool in_room() const { return !memberships_.empty(); }
  int64_t without_room_since_us() const { return life_.opened_us; }  // of one that is in no room
  // The kernel takes nothing just now; a sweep passes by.
  bool blocked() const { return blocked_; }
  bool closing() const { return closing_; }

  // Writes what there is to write, as far as the kernel takes it. `signals` are dropped if anything else is left over.
  void pump(std::string_view signals = {});
  // True once until the next pump(): whoever queues it for one need not queue it twice.
  bool queue_pump() { return !std::exchange(pump_queued_, true); }

  // A message of this session has been decided; of_member: it belongs to the present membership. pump() follows.
  void decided(RoomHost& host, const Pending& pending, const Appended& outcome, std::string_view frame, bool of_member);
  // A page that it needs is in memory; pump() follows.
  void page_came() { set_pause(pause_page, false); }
  // A frame for this session alone; pump() follows.
  void add_private(std::string_view frame);
  // A committed message is read from the store for this session alone. Few at a time: a repeat costs its sender nothing
  // but bytes.
  void resend_begins();
  void resend_ends();
  // There is place for messages in the room again.
  void room_has_place();
  // The log no longer has what this member has seen.
  void past_is_gone(const std::string& room, const Position& cursor);
  // The log is about to change: the rest of a frame that was sent in part is kept here, and its receiver has seen it.
  void finish_cut(Membership& member);
  // His name is another's by now: ends if it speaks, or is about to, as this user under this name.
  void name_lost(const std::string& room, const std::string& name_folded, const std::string& user_id);
  // A message of this session was taken back, and will not be decided.
  void taken_back(RoomHost& host, const Pending& pending, bool of_member);

  // Ends the session from our side: a close frame behind what is half-written, then the connection.
  void close(CloseCode code, std::string_view reason, Closed why);
  // Often enough for its durations, at least about once a second.
  void tick(int64_t now_us);
  // The shard did not run for so long: what it waits for from the client may come that much later.
  void was_not_served(int64_t for_us);
  // Drain: asks a v2 client to go elsewhere after a while.
  void ask_to_move(int64_t after_ms, int64_t deadline_ms);

  // --- TransportUser ---
  void on_bytes(char* data, size_t size) override;
  void on_writable() override;
  void on_closed() override;

 private:
  // Why nothing is read.
  enum Pause : uint32_t {
    pause_step = 1,       // a request is being worked on that the next must wait for
    pause_answers = 2,    // too much is unsent
    pause_waiting = 4,    // too many messages of its own are undecided
    pause_allowance = 8,  // it sent faster than it may
    pause_place = 16,     // a room, or the node, has no place for another message
    pause_early = 32,     // classic: too much came before any join
    pause_closing = 64,
    pause_resends = 128,  // enough of its old messages are being read for it
    pause_page = 256,     // it leaves a room whose half-sent frame must be read first
  };

  struct Join {  // the join under way
    Request request;
    RoomHost* host = nullptr;  // held
    bool again = false;        // the room was joined already: only the cursor moves
    bool fits = false, reset = false, skipped = false;
    bool returning = false;  // he proved that he was here before
    bool confirmed = false;  // the store has settled whether the position fits
    bool claimed = false;    // the name is his, and the marker is known: only the place was judged anew
    uint32_t past = 0;       // of the log when the position was judged
    Sequence skipped_after = 0;
    Sequence read = 0;
    Position head, start;
    int64_t deadline_us = 0;
    std::string user_key_made;
    ClaimResult claim;
  };

  // --- input (session.cc) ---
  bool on_message(Opcode kind, std::string_view payload) override;
  bool on_too_large(uint64_t bytes) override;
  bool on_ping(std::string_view payload) override;
  bool on_pong(std::string_view payload) override;
  bool on_empty_frame() override;
  void on_close(CloseCode code, std::string_view reason) override;
  void feed(char* data, size_t size);
  bool flood(int64_t now_us);
  void check_allowance(int64_t now_us);
  void watch_answers();
  void set_pause(Pause why, bool on);
  void resume();
  bool paused() const { return pauses_ != 0; }
  void end_step();  // the request under way is done: go on reading

  // --- requests (session_requests.cc) ---
  void handle(Request request);
  bool must_read_cut(const Request& request);
  void error(std::string_view id_json, Code code, std::string_view message, ErrorDetails details = {});
  void text(Request request);
  void text_elsewhere(Request request);
  void submit_text(RoomHost& host, Membership* member, Request request, std::string user_name);
  void leave_room(const Request& request);
  void history(Request request);
  void members(Request request);
  void rooms(const Request& request);
  void rooms_next(std::string id_json, std::vector<RoomEntry> entries, size_t at);
  void read(const Request& request);
  void typing(const Request& request);
  Membership* member_of(std::string_view room);
  void leave(Membership& member, Leaving how);
  void leave_all(Leaving how);
  bool detach(Membership& member);

  // --- joins (session_join.cc) ---
  void join(Request request);
  void join_opened(bool ok);
  void join_judge();
  void join_position_read(const Rows& rows);
  void join_confirm();
  void join_position_confirmed(const Rows& answer);
  void join_start_known();
  void join_from_newest(uint64_t limit);
  void join_claim();
  void join_claimed(const ClaimResult& result);
  void join_admit();
  void join_move();
  void answer_join(std::string& out, const Join& join, Membership& member);
  std::string join_user_id() const;
  void join_failed(Code code, std::string_view message, ErrorDetails details = {});
  void join_busy();
  void join_let_go();
  void join_done();
  void retry_join(void (Session::*step)());

  // Constant after construction.
  Shard& shard_;
  const uint64_t id_;
  const Dialect dialect_;
  const std::shared_ptr<AddressAllowance> address_;

  std::unique_ptr<Transport> transport_;
  WebSocketReader reader_;
  Output output_;
  std::vector<std::unique_ptr<Membership>> memberships_;
  std::vector<Member*> cursors_;  // of memberships_, as the arbiter wants them

  std::string user_id_;
  std::string session_id_;  // v2: the secret for uploads
  uint32_t pauses_ = 0;
  bool reading_ = true;
  bool blocked_ = false, broken_ = false, closing_ = false, close_sent_ = false, resuming_ = false,
       pump_queued_ = false;
  bool join_tried_ = false;
  uint32_t waiting_counted_ = 0;
  uint32_t resends_ = 0;
  std::string inbox_;              // came, and not yet looked at
  std::unique_ptr<Request> held_;  // understood, and not yet begun
  std::vector<Request> early_;     // classic texts that came before any join
  int64_t early_deadline_us_ = 0;
  size_t early_bytes_ = 0;
  std::unique_ptr<Join> join_;
  LifeSigns life_;
  int64_t closing_since_us_ = 0;
  Allowance messages_, bytes_;
  uint64_t allowance_timer_ = 0;
  int64_t flood_second_ = 0;
  uint32_t flood_count_ = 0;
};

}  // namespace tertulia
