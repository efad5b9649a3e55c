// A database in memory that fails as real ones do, when told: for unit tests and the simulation.
//
// ModelServers is what stands at the other end: a journal of commits. Two states are told apart: what is *visible* (all
// commits, also those whose wait for the standby was cut short) and what a *majority* has. A clean commit carries
// everything before it to the majority; failover() takes back what it does not have; go_back() is a restored backup.
// After a failover the old primary may live on for those still connected to it: it answers reads from its own past and
// takes commits, but none of them is clean.
//
// ModelDatabase is one node's door to it, with that node's faults: calls that fail, replies that are lost before or
// after the deed, commits answered with a warning, writes that land long after everybody gave them up, no connection at
// all, or slowness. Every call has two steps, before the deed and after it, at which a hook may look on, choose a
// fault, or let others run in between.
//
// Deterministic: nothing depends on time, chance or addresses. Thread: ModelServers and ModelDatabase any, a link one.
// Memory: everything ever committed, twice. Ends: links before their database; a database before its hook.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "store/cluster/link.h"

namespace tertulia::cluster {

class ModelServers {
 public:
  using Key = std::pair<std::string, std::string>;  // (room, name) or (room, user)

  struct Traits {
    // As PostgreSQL: reads show what is visible, so they need a mark. Else as MongoDB: reads show what a majority has.
    bool reads_need_mark = true;
    bool judges_leases = true;  // append() and put() look at the node's lease in the same commit
    // For tests that show that the tests find it: each breaks a promise of Link.
    bool unsafe_needs_no_mark = false;          // says that its reads are proven, and they are not
    bool unsafe_warning_is_success = false;     // a commit with a warning is told as done
    bool unsafe_answers_before_commit = false;  // an append is told as done when it has been sent
    bool unsafe_forgets_uuids = false;          // appends what is there already
    bool unsafe_any_past_fits = false;          // a read begins by number
    bool unsafe_reads_have_holes = false;       // a read leaves out the second row
    bool unsafe_put_always_wins = false;        // whoever wrote a record last takes it for his
    bool unsafe_mark_commits_nothing = false;   // a mark is told as done, whoever is connected to what
  };

  ModelServers() : ModelServers(Traits()) {}
  explicit ModelServers(const Traits& traits);

  // --- what a test does ---

  // A standby takes over: commits that no majority has are gone, but for the first `keep`, which it happened to have.
  // `deposed_lives`: who is connected to the old primary stays so until cut(); else all connections end.
  void failover(bool deposed_lives = false, size_t keep = 0);
  // All connections end; who comes again finds the present primary.
  void cut();
  // A backup is restored: only the first `commits` ever happened. All connections end.
  void go_back(size_t commits);
  // The standby is there again and has everything.
  void prove_all();
  // Messages of which it is true are answered with Trouble::message.
  void poison(std::function<bool(const Message&)> poison);
  // Does the oldest write that was sent by somebody and not yet done (ModelFault::late). False: there is none.
  bool land_one();

  // --- what a test sees ---

  size_t commits() const;         // of the present primary
  size_t proven_commits() const;  // how many of them a majority has
  // The log as visible, or as a majority has it.
  std::vector<Row> log(const std::string& room, bool majority = false) const;
  std::vector<std::string> rooms() const;
  bool has(const std::string& room, const Position& position, bool majority) const;
  // (room, row) of all commits of the present primary behind the first `commits`.
  std::vector<std::pair<std::string, Row>> rows_behind(size_t commits) const;
  // Called for each row, under the lock, when it becomes visible on the present primary.
  void on_row(std::function<void(const std::string& room, const Row& row)> look);
  // The same for records, on a deposed primary too.
  void on_record(std::function<void(const Record& record, bool deposed)> look);
  std::optional<Record> record(const std::string& room, const std::string& name) const;
  std::vector<Record> records() const;  // all, by (room, name)

 private:
  friend class ModelDatabase;
  friend class ModelLink;

  struct Log {
    std::vector<std::shared_ptr<const Row>> rows;  // rows[n - 1] has sequence n
    std::unordered_map<std::string, Sequence> by_uuid;
  };
  // A commit.
  struct Change {
    std::vector<std::pair<std::string, std::shared_ptr<const Row>>> rows;  // (room, row)
    std::map<Key, Sequence> markers;
    std::vector<Record> records;
    bool empty() const { return rows.empty() && markers.empty() && records.empty(); }
  };
  struct State {
    std::map<std::string, Log> logs;
    std::map<Key, Sequence> markers;
    std::map<Key, Record> records;
    void apply(const Change& change);
    const Log& log(const std::string& room) const;
    Position head(const std::string& room) const;
    bool contains(const std::string& room, const Position& position) const;
    bool alive(const std::string& node) const;
  };
  struct Primary {
    State visible, majority;
    std::vector<std::shared_ptr<const Change>> journal;
    size_t proven = 0;
    bool deposed = false;
    void commit(Change change, bool clean);
    void prove(size_t commits);
  };

  // REQUIRES: mutex_ held.
  void replace(size_t commits);

  const Traits traits_;
  mutable std::mutex mutex_;
  std::shared_ptr<Primary> primary_;  // under mutex_, and all that is in it
  uint64_t cuts_ = 0;                 // under mutex_; connections made before the last one have ended
  std::function<void(const std::string&, const Row&)> on_row_;  // under mutex_
  std::function<void(const Record&, bool)> on_record_;          // under mutex_
  std::function<bool(const Message&)> poison_;                  // under mutex_
  std::deque<std::function<void(Primary&)>> late_;              // under mutex_; sent, not yet done
};

enum class ModelCall : uint8_t {
  append,
  read,
  read_range,
  find,
  heads,
  mark,
  write_markers,
  read_markers,
  load,
  put,
  list,
  count,
  of_user,
  of_node,
  rooms,
  newest
};
const char* name_of(ModelCall call);
// Whether it may change something.
bool writes(ModelCall call);

// What goes wrong with a call. To a call that only reads, all but `none` are not_now.
enum class ModelFault : uint8_t {
  none,
  not_now,      // nothing is done, and it says so
  lost_before,  // nothing is done; whether, nobody knows. The connection is gone
  lost_after,   // done, and a majority has it, but the reply is lost. The connection is gone
  lost_half,    // of each room the first half of the messages is done, of several puts the first half; else as before
  warning,      // done and visible, but no majority has it
  late,         // as lost_before; but it is done when the servers are told to land_one()
};
const char* name_of(ModelFault fault);

struct ModelStep {
  ModelCall call;
  bool after = false;  // the deed is done (or not, as the fault wants it); the reply is not yet there
  size_t link = 0;     // of this database, from 0
  std::string_view room;
};

class ModelDatabase final : public Database {
 public:
  explicit ModelDatabase(std::shared_ptr<ModelServers> servers);
  ~ModelDatabase() override;

  [[nodiscard]] std::string prepare() override;
  std::string warning() const override { return ""; }
  std::unique_ptr<Link> link(Worker& worker) override;
  std::string address() const override { return "model"; }

  // --- faults, from any thread ---

  // The next `times` calls of this kind end so.
  void next(ModelCall call, ModelFault fault, size_t times = 1);
  // All calls that may change something end so, until told otherwise.
  void all_writes(ModelFault fault);
  // No connection: every call is not_now, and a call between its steps loses its reply.
  void be_away(bool away);
  // All connections of this node end.
  void cut();
  // Each call waits so long before its deed.
  void be_slow(int64_t us);
  // Called at each step, without locks, by the thread of the call. Before the deed its answer counts, if none other was
  // told. To be set before the first call.
  void on_step(std::function<ModelFault(const ModelStep&)> hook);

  // How many calls of this kind have been begun, over all links.
  size_t calls(ModelCall call) const;
  // How often prepare() was asked for, refused or not.
  size_t prepares() const;

 private:
  friend class ModelLink;
  struct Faults;
  const std::shared_ptr<ModelServers> servers_;
  const std::shared_ptr<Faults> faults_;
};

}  // namespace tertulia::cluster
