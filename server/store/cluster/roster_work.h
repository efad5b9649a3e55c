// What the roster's worker does: everything of roster.h that touches the database.
//
// Asks wait in the order they came. A round takes one ask of each user, loads the records that they are about, lets
// claim_record decide them one after another on what was loaded, and puts what changed. An ask is done when the records
// that it rests on stand; one that lost, or whose reply was lost, is decided again on what is loaded then, where the
// record's trail says whether its own write stood.
//
// Thread: the worker's, but for add(), add_read() and what stands under "Any thread". Ends: with its roster.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "store/cluster/claim_record.h"
#include "store/cluster/lease.h"
#include "store/cluster/local_members.h"
#include "store/cluster/roster.h"

namespace tertulia::cluster {

// What becomes of one name by an ask.
struct Outcome {
  bool granted = false;
  bool waiting = false;
  bool too_many = false;
  bool began = false;  // granted: he was not present before, by any name
  bool last = false;
  bool ended = false;
  std::string holder;  // waiting: whom it waits for
  std::string robbed_user, robbed_shown;
};

// What is asked for, and how far it is.
struct Ask {
  enum class Kind : uint8_t {
    claim,
    leave,
    expire,   // somebody calls, or the grace of `name` is over and nobody does
    inherit,  // `name` may depend on a dead node
    forget,   // the former member of `name`
    reclaim,  // `name` of sessions that are here, after this node got another identity
  };
  struct Part {
    HeldName name;
    std::vector<std::pair<std::string, Outcome>> tried;  // by the mark of its write
    uint64_t tried_from = 0;                             // the version that the last was made from
    Outcome outcome;
    bool done = false;
    bool evaluated = false;  // in this round
    std::string rests_on;    // the mark of the write that must stand for it, in this round
    bool changes = false;    // it is part of that write
  };

  Kind kind = Kind::claim;
  LocalMembers::Key key;
  HeldName name;
  Leaving how = Leaving::unclean;
  std::string dead;  // inherit: the node

  std::vector<Part> parts;
  bool begun = false;
  bool settled = false;  // of claims: a write of it has stood
  // Of claims: what writes of it that stood have done, though what became of it may be decided by a later one.
  bool began = false;
  std::vector<std::pair<std::string, std::string>> robbed;  // users, and their names as shown

  void stood(const Outcome& outcome) {
    began = began || outcome.began;
    if (!outcome.robbed_user.empty()) robbed.emplace_back(outcome.robbed_user, outcome.robbed_shown);
  }

  Executor* executor = nullptr;  // none: nobody asks
  Callback<ClaimResult> claimed;
  Callback<ReleaseResult> released;
};

struct ReadAsk {
  enum class Kind : uint8_t { name, list, count };
  Kind kind = Kind::count;
  std::string room, user, after;
  size_t limit = 0;
  Executor* executor = nullptr;
  Callback<std::optional<std::string>> named;
  Callback<MemberList> listed;
  Callback<uint64_t> counted;
};

class Roster::Work {
 public:
  Work(Database& database, Workers& workers, const StoreOptions& options, const Clock& clock, Random& random);

  // Any thread.
  void start();
  void stop();
  void add(Ask ask);
  void add_read(ReadAsk ask);
  void watch(StoreWatcher* watcher, Executor* executor);
  std::string node() const;
  std::vector<std::string> peers() const;
  bool lease_holds() const { return clock_.now_us() < speaks_until_us_.load(); }
  std::string trouble() const;

 private:
  // A record as it was loaded, and what this round makes of it.
  struct Working {
    Record record;
    ClaimState state;
    bool readable = true;
    std::string mark;  // of the write to come; empty: unchanged
    bool stood = false;
  };
  using RecordKey = std::pair<std::string, std::string>;  // room and folded name
  struct Round {
    std::map<RecordKey, Working> records;
    std::map<std::string, uint64_t> counts_before, counts;  // by room; of live claims
    bool by_reading = false;                                // something rests on what was read alone
    bool stuck = false;                                     // something was put already, and the record is as before
  };
  struct Dead {
    int64_t seen_us = 0;
    int64_t found_us = 0;  // when something was last found that names it
    int64_t next_look_us = 0;
    int64_t interval_us = 0;
    size_t pending = 0;   // asks under way
    bool proven = false;  // no failover takes its death back
  };

  // roster_lease.cc: the node's life.
  void tend();
  void keep_alive();
  void look();
  bool find_node(const std::string& node);
  void declare_overdue();
  void bury(const std::string& node, bool soon);
  void open_estate();
  void close_estate(const std::string& node);
  void new_identity();
  void inherit();
  void reclaimed();
  void publish();
  // May work be done for sessions? Not the same as lease_holds(): after a loss their names are claimed first.
  bool may_work() const { return estate_open_ && lease_.holds(clock_.now_us()); }

  // roster_work.cc: the asks.
  void wake();
  void run();
  void tick();
  std::deque<Ask> take_batch(std::deque<Ask>& from) const;
  void take_incoming();
  bool read_some();
  void end();
  void refuse_claims();
  void begin(Ask& ask);
  bool work(std::deque<Ask>& from);
  bool decide(std::deque<Ask>& open, Round& round);
  bool load(std::deque<Ask>& open, Round& round);
  bool settle_nodes(Round& round);
  bool evaluate(Ask& ask, Ask::Part& part, Working& working, Round& round);
  bool evaluate_claim(Ask& ask, Ask::Part& part, ClaimState& state, bool& changed, Round& round);
  bool put(std::deque<Ask>& open, Round& round);
  bool put_one_by_one(std::deque<Ask>& open, std::vector<Put>& puts, Round& round);
  void conclude(std::deque<Ask>& open, const std::vector<Put>& puts, Round& round);
  void count_if_keeper(const std::string& room, const std::string& folded, const ClaimState& state);

  // roster_finish.cc: answers.
  bool finish(Ask& ask, Round& round);
  bool tell_robbed(Ask& ask, Round& round);
  bool finish_claim(Ask& ask, Round& round);
  bool finish_leave(Ask& ask, Round& round);
  bool finish_expire(Ask& ask, Round& round);
  bool finish_reclaim(Ask& ask, Round& round);
  bool others_of(const LocalMembers::Key& key, const std::string& but, std::vector<Record>& others);
  bool is_gone(const Ask& ask, bool& gone);
  uint64_t count(const std::string& room, Round& round);
  template <class Tell>
  void tell(Tell tell);
  void read(ReadAsk ask);
  void refuse(ReadAsk ask);
  std::optional<std::string> name_of(const LocalMembers::Key& key);
  MemberList list(const std::string& room, const std::string& after, size_t limit);

  bool prove_reads();
  bool failed(const Failure& failure, const char* what);
  std::string random_text();
  Log* log() const { return options_.log; }

  // Constant after construction.
  const StoreOptions options_;
  const LeaseTimes times_;
  const Clock& clock_;
  Random& random_;
  const int64_t tick_us_;
  const int64_t settle_us_;  // for so long after the last find a dead node is looked for

  // The worker only.
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<Link> link_;
  Actor actor_;
  OwnLease lease_;
  Peers peers_;
  LocalMembers members_;
  bool estate_open_ = false;
  bool reclaiming_ = false;
  uint64_t epoch_ = 1;  // counts identities
  int64_t next_look_us_ = 0;
  std::map<std::string, Dead> dead_;
  std::set<std::string> suspects_;  // named by some record, and not known
  std::deque<Ask> asks_, internal_, reclaims_;
  bool told_names_lost_ = false;
  bool stopped_ = false;
  bool unanswered_ = false;                            // the last call to the database has failed
  std::shared_ptr<std::atomic<uint64_t>> names_told_;  // the epoch whose lost names the watcher has been told

  // Any thread.
  std::atomic<int64_t> speaks_until_us_ = 0;
  mutable std::mutex mutex_;
  std::deque<Ask> incoming_;         // under mutex_
  std::deque<ReadAsk> reads_;        // under mutex_
  bool woken_ = false;               // under mutex_
  bool ending_ = false;              // under mutex_
  StoreWatcher* watcher_ = nullptr;  // under mutex_
  Executor* executor_ = nullptr;     // under mutex_
  std::string node_;                 // under mutex_
  std::vector<std::string> alive_;   // under mutex_
  std::string trouble_;              // under mutex_
};

template <class Tell>
void Roster::Work::tell(Tell tell) {
  std::lock_guard lock(mutex_);
  if (watcher_ == nullptr) return;
  executor_->post([watcher = watcher_, tell = std::move(tell)]() mutable { tell(*watcher); });
}

}  // namespace tertulia::cluster
