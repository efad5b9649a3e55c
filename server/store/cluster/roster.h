// The roster of several nodes: who holds which name in which room, and which nodes are alive. The claims' part of the
// store's door, over records that change by compare-and-swap.
//
// A claim is one record (claim_record.h); a node's life is one too, its lease (lease.h). What belongs to this node
// alone, how many sessions of a user are here, is counted in memory: only his first session and his last leave touch
// the store. Everything is done by one worker, in the order asked, many requests together: load their records, let
// claim_record decide, put what changed; who lost against another node is decided again on what stands now.
//
// The same worker renews the lease, watches the peers', declares the dead, takes over what they held and counts its
// grace. What a dead node left is looked for again and again for a while, since a late write of the dead may land; so
// that this is done even if all nodes die, every node has a second record, its *estate*, which stays live until nothing
// names the node any more.
//
// A node whose lease is lost takes a new identity, claims its sessions' names again, and only then may speak. While the
// lease is in doubt claims are answered not_now, and releases wait until it is not.
//
// Thread: any, for every call. Memory: a few hundred bytes for each user with a session here or a grace that is counted
// here; former members up to former_members_max. Ends: stop(), at the latest in the destructor; callbacks still open
// are then destroyed unrun. The database, the clock and the executors outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/executor.h"
#include "base/random.h"
#include "base/worker.h"
#include "store/cluster/link.h"
#include "store/store.h"
#include "store/store_options.h"

namespace tertulia::cluster {

class Roster {
 public:
  // The database is prepared.
  Roster(Database& database, Workers& workers, const StoreOptions& options, const Clock& clock, Random& random);
  Roster(const Roster&) = delete;
  Roster& operator=(const Roster&) = delete;
  ~Roster();

  // Returns at once; the lease is taken by the worker, and tried again while the database is away. What is asked until
  // then waits for the first attempt. Called once.
  void start();
  // Does what waits, as far as the database takes it at once, and gives the lease back so that the peers need not wait
  // for its end. The claims of sessions that were not released are taken over as after a death. Blocks. Once or more.
  void stop();

  // As the store's door says.
  void claim(ClaimRequest request, Executor& executor, Callback<ClaimResult> done);
  void release(std::string room, std::string user_id, bool clean, Executor& executor, Callback<ReleaseResult> done);
  void release_reloading(std::string room, std::string user_id, Executor& executor, Callback<ReleaseResult> done);
  void expire(std::string room, std::string user_id, Executor& executor, Callback<ReleaseResult> done);
  void member_name(std::string room, std::string user_id, Executor& executor,
                   Callback<std::optional<std::string>> done);
  void members(std::string room, std::string after, size_t limit, Executor& executor, Callback<MemberList> done);
  void members_count(std::string room, Executor& executor, Callback<uint64_t> done);

  // Tells departed() and name_lost(). name_lost() has returned, for every name, before lease_holds() is true again.
  void watch(StoreWatcher* watcher, Executor* executor);

  // As its lease names it; changes when a lease was lost.
  std::string node() const;
  // Other nodes whose leases are alive, as far as known.
  std::vector<std::string> peers() const;
  // Judged now, by the clock: every name of this node's sessions is still theirs. False after a lost lease until the
  // names have been claimed again.
  bool lease_holds() const;
  // Why the lease does not hold, or what the last attempt at the database said; empty: nothing.
  std::string trouble() const;

 private:
  class Work;
  const std::unique_ptr<Work> work_;
};

}  // namespace tertulia::cluster
