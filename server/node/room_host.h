// One room on one shard: joins the pure log to the store and the bus, and carries it to the members here.
//
// A room lives here while it has a member, a joiner, something on its way, or a sender who waits for a place; then it
// leaves memory.
// Thread: the shard's. Memory: the log's tail, and pages for those who fell off it, dropped when nobody reads them.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/function.h"
#include "bus/bus.h"
#include "room/member.h"
#include "room/room_log.h"
#include "store/store.h"

namespace tertulia {

class Shard;
class Session;
class RoomHost;

// How a session leaves a room: it said so, it was lost, or its page is being loaded again.
enum class Leaving : uint8_t { clean, unclean, reloading };

// A session's membership in a room. Owned by the session.
struct Membership : Member {
  RoomHost* host = nullptr;
  Session* session = nullptr;
  std::string user_name, name_folded;
  size_t place = 0;      // in the host's list
  Sequence read = 0;     // own marker, as far as known
  uint32_t waiting = 0;  // messages of this session here, accepted and not yet decided
};

class RoomHost final : public RoomLog::Host, public LogView {
 public:
  RoomHost(Shard& shard, std::string room);
  ~RoomHost() override;

  const RoomLog& log() const { return log_; }
  RoomLog& log() { return log_; }
  size_t members_here() const { return members_count_; }

  // Runs `then` with true once the log is open, or with false if the store could not be reached in time.
  void when_open(Function<void(bool)> then);
  // A joiner keeps the room in memory.
  void hold() { ++holds_; }
  void unhold();
  bool in_use() const;

  void add(Membership& member);
  // The session is gone from the room. Its claim ends once its messages here are decided.
  void remove(Membership& member, Leaving how);

  // A claim was granted to a session that is gone.
  void let_go(const std::string& user_id, const std::string& user_name);
  // When the log grew last, or was opened.
  int64_t grew_us() const { return grew_us_; }
  // Until when the others are told its head, for what was appended here; 0: they are not.
  int64_t announces_until_us() const;
  // Users present over all nodes, as last heard.
  uint64_t members_total() const { return members_total_; }
  void members_total_is(uint64_t count) { members_total_ = count; }

  // Whether another message may wait now. If not, the session is asked again later (Session::room_has_place).
  bool has_place(Session& session);
  void submit(Pending pending);
  // Puts the frame of a committed message among the private frames of a session, now or soon.
  void resend(Session& session, const Position& position, const std::string& uuid);

  // Tells the members here, and by the bus all others.
  void signal(Signal what);
  void on_bus(const BusItem& item);

  // --- the sweep, driven by the shard ---
  // Serves at most `members_max` members; true if there is more to do.
  bool sweep(size_t members_max);
  // A member's next frame is not in memory: read it. The session is pumped when it is there.
  void need_page(Membership& member);

  // --- several nodes ---
  // The store's head, asked for when ours was `held` in its `past`.
  void store_head(const Position& head, const Position& held, uint32_t past);
  // The name is another user's by now: takes back what his sessions that are gone have waiting here.
  void withdraw_departed(const std::string& user_id);

  // About once a second: drops what nobody needs, announces the head, tells what was merged.
  void tick();

  // --- LogView ---
  Sequence head_sequence() const override { return log_.head().sequence; }
  std::optional<Tail::Piece> piece_behind(const Position& after, size_t bytes_max, Sequence last_max) const override;
  Tail::Cut cut(const Position& after, size_t bytes) const override;
  const std::string& room_name() const override { return log_.room(); }

  // --- RoomLog::Host ---
  void append(std::vector<Message> messages) override;
  void read_gap(const Position& after) override;
  void publish(std::shared_ptr<const LogPiece> piece) override;
  void decided(const Pending& pending, const Appended& outcome, std::string_view frame) override;
  void taken_back(const Pending& pending) override;
  void grew() override;
  void wake_at(int64_t us) override;
  void confirm(const Position& held, Sequence contradicted_at) override;
  void read_again(const Position& held) override;

 private:
  struct Page {
    Tail frames;
    int64_t read_us;  // when it was read: it is dropped some seconds later, however much it is used
  };
  struct PageRead {
    Position after;
    std::unordered_set<uint64_t> sessions;
    bool gone = false;  // the store's log certainly does not have `after`; who waits is told when the doubt is settled
  };
  // Signals that wait for the next sweep of all members.
  struct Waiting {
    std::string v2, classic;   // frames; empty: not for that dialect
    std::string not_to;        // a userId
    bool newest_only = false;  // to the newest members only (large rooms)
  };
  struct Departure {  // a session that is gone and has messages on their way
    std::string user_id, user_name;
    Leaving how;
    uint32_t waiting;
  };

  template <class F>
  auto later(F then);
  void open_log();
  void opened(bool ok);
  bool deliver(const Signal& what);  // false: nobody here, or too many
  bool within_rate(Signal::Kind kind);
  void one_less_waiting(uint64_t departed_session);
  void release(Departure gone);
  void released(const Departure& gone, const ReleaseResult& result);
  void say_left(const Departure& gone, uint64_t members_count);
  void compact();
  void read_page(const Position& after);
  void keep_page(const Position& after, const std::vector<Row>& rows);
  void drop_last_page();
  void wake_senders();
  static void find_to_resend(Shard& shard, uint64_t id, const std::string& room, const std::string& uuid);
  const Tail* source_of(const Position& after) const;
  void page_read(const Position& after, const Rows& rows);
  void confirm_page(const Position& after);
  void tell_gone();
  void began_again(const Position& held, const Rows& newest);
  void maybe_leave_memory();

  Shard& shard_;
  const uint64_t number_;  // no other room of this shard has had it
  RoomLog log_;
  bool subscribed_ = false;
  bool opening_ = false;
  uint64_t compares_seen_ = 0;  // the shard's comparisons when the log's opening began
  int64_t open_deadline_us_ = 0;
  std::vector<Function<void(bool)>> open_waiters_;
  size_t holds_ = 0;

  std::vector<Membership*> members_;  // in the order they came; null: left during a sweep
  size_t members_count_ = 0;
  size_t sweep_at_ = 0;
  bool sweeping_ = false, sweep_again_ = false;
  std::vector<Waiting> signals_, sweep_signals_;

  std::list<Page> pages_;  // the newest read first
  std::vector<PageRead> page_reads_;
  std::vector<uint64_t> blocked_senders_;
  std::unordered_map<uint64_t, std::deque<Departure>> departures_;  // by session, in the order left

  struct Rate {
    int64_t second = 0;
    uint32_t count = 0;
  };
  Rate rates_[4];
  bool list_changed_ = false;   // signals of who came and went were dropped
  uint64_t members_total_ = 0;  // over all nodes, as last heard
  int64_t grew_us_ = 0;
  int64_t appended_us_ = 0;  // last own append
  uint64_t wake_timer_ = 0;
  int64_t wake_due_us_ = 0;
};

}  // namespace tertulia
