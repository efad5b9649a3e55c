// The door to durable logs. The store is the truth and the only place where order is decided.
//
// Asynchronous: every call returns at once, and its callback runs exactly once, later, on the executor that the caller
// gave (never inside the call). A store that is away answers not_now; it never answers wrongly and never guesses.
// While the outcome of a commit is unknown it asks or tries again by itself, and the callback waits.
// Thread: any, for every call. Ends: stop() and then the destructor; callbacks still open are destroyed unrun.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/function.h"
#include "protocol/message.h"
#include "protocol/outcome.h"

namespace tertulia {

// A user's hold on a name in a room. Any number of his sessions share it.
struct ClaimRequest {
  std::string room;
  std::string name_folded;
  std::string user_name;  // as shown; of the first session that claimed it
  std::string user_id;
  bool returning = false;  // he proved a past: admitted at once after a restart (see claims.h)
};

struct ClaimResult {
  enum class Status : uint8_t {
    granted,
    taken,     // by another user who has a session
    waiting,   // held for a user who has none just now, or for those who were here before a restart; `retry_after_ms`
    not_now,   // the store is away
    too_many,  // members_per_room_max or rooms_max
  };
  Status status = Status::not_now;
  bool first = false;          // granted: he was not present, so "joined" is signalled
  int64_t retry_after_ms = 0;  // waiting
  bool after_start = false;    // waiting: names are still kept for those who were here before the restart
  uint64_t members_count = 0;  // granted: users present, himself included
};

struct ReleaseResult {
  bool last = false;  // he has no session left here; the claim is gone (clean) or in its grace (unclean)
  bool left = false;  // the claim is gone now, so "left" is signalled
  uint64_t members_count = 0;
};

struct MemberList {
  bool ok = false;  // false: the store is away
  struct Entry {
    std::string user_id, user_name;
    Sequence read = 0;
  };
  std::vector<Entry> members;  // by folded name
  uint64_t total = 0;
  std::string next;  // the folded name to go on behind; empty at the end
};

template <class T>
using Callback = Function<void(T)>;

// What a store with several nodes has to say without being asked.
class StoreWatcher {
 public:
  virtual ~StoreWatcher() = default;
  // It was away, or another server answers now: what the shards hold is to be compared with its heads.
  virtual void store_returned() = 0;
  // A user has left of whom no session of this node says so: his node died, and the name's grace has passed.
  virtual void departed(const std::string& room, const std::string& user_id, const std::string& user_name,
                        uint64_t members_count) = 0;
  // Others were told that this user had left, because this node's lease was lost; but he has sessions here and his name
  // is still his, so he is there again.
  virtual void arrived(const std::string& room, const std::string& user_id, const std::string& user_name,
                       uint64_t members_count) {
    (void)room;
    (void)user_id;
    (void)user_name;
    (void)members_count;
  }
  // This node's lease was lost, and meanwhile somebody else has taken the name: its sessions here are to be closed.
  virtual void name_lost(const std::string& room, const std::string& name_folded, const std::string& user_id) = 0;
};

class Store {
 public:
  virtual ~Store() = default;

  // --- logs ---

  // Appends messages to one room's log, in order, behind its head; new ones without a gap, repeats in their first
  // place. Batches that wait together, of whatever rooms, share one commit. `known`: a position that the caller holds;
  // a log that does not contain it is another past, and nothing is appended to it.
  virtual void append(std::string room, Position known, std::vector<Message> messages, Executor& executor,
                      Callback<AppendResult> done) = 0;

  // Rows that continue `after`, at most `limit` and about `bytes_max` (at least one if there is one). The row at
  // `after` itself is part of the read: nobody reads on from a past that is gone.
  virtual void read(std::string room, Position after, size_t limit, size_t bytes_max, Executor& executor,
                    Callback<Rows> done) = 0;

  // The newest `limit` rows.
  virtual void read_last(std::string room, size_t limit, size_t bytes_max, Executor& executor, Callback<Rows> done) = 0;

  // Rows by number: with `backwards` the ones that end before `sequence`, else the ones that begin behind it. Ascending
  // in both cases; when limit or bytes_max cut, the rows nearest to `sequence` are kept.
  virtual void read_range(std::string room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max,
                          Executor& executor, Callback<Rows> done) = 0;

  // The row with this uuid, or none.
  virtual void find(std::string room, std::string uuid, Executor& executor, Callback<Rows> done) = 0;

  // In the order asked; nothing: the store is away.
  virtual void heads(std::vector<std::string> rooms, Executor& executor,
                     Callback<std::optional<std::vector<Position>>> done) = 0;

  // Does the log contain this position? Judged on a connection on which something has been committed after this call,
  // so neither a deposed primary nor a lagging reader can say no. Rows are not filled; does_not_fit is final.
  virtual void confirm(std::string room, Position position, Executor& executor, Callback<Rows> done) {
    read(std::move(room), position, 1, 1, executor, std::move(done));  // right for a store that only one node has
  }
  // The bus has told of this position: it was committed cleanly, so reads up to it need no further proof.
  virtual void heard(const std::string& room, const Position& position) {
    (void)room;
    (void)position;
  }

  // --- read markers: may be lost for the last second ---

  // Moves only forwards.
  virtual void mark_read(std::string room, std::string user_id, Sequence sequence) = 0;
  virtual void read_marker(std::string room, std::string user_id, Executor& executor,
                           Callback<std::optional<Sequence>> done) = 0;  // nothing: the store is away

  // --- claims: a name is one user's ---

  virtual void claim(ClaimRequest request, Executor& executor, Callback<ClaimResult> done) = 0;
  // One session of this user has left this room. clean: the name is free at once; else it is kept for name_grace.
  virtual void release(std::string room, std::string user_id, bool clean, Executor& executor,
                       Callback<ReleaseResult> done) = 0;
  // As a clean release, for a page that is being loaded again: the name is free at once, but he counts as present until
  // name_grace has passed, or somebody else takes his name. So here too expire() says `left`, if he has not come back.
  virtual void release_reloading(std::string room, std::string user_id, Executor& executor,
                                 Callback<ReleaseResult> done) = 0;
  // To be called when name_grace has passed since a release with `last` and without `left`: ends the claim if its user
  // has not come back, and says so in `left` (true to exactly one caller).
  virtual void expire(std::string room, std::string user_id, Executor& executor, Callback<ReleaseResult> done) = 0;
  // The name under which this user is a member now, or was within the last 60 s.
  virtual void member_name(std::string room, std::string user_id, Executor& executor,
                           Callback<std::optional<std::string>> done) = 0;
  // Users present, with their read markers.
  virtual void members(std::string room, std::string after, size_t limit, Executor& executor,
                       Callback<MemberList> done) = 0;
  virtual void members_count(std::string room, Executor& executor, Callback<uint64_t> done) = 0;

  // --- several nodes on one store; a store that one node has alone knows none ---

  // Tells the watcher, on the executor, until stop(). Null: nobody any more. To be set before the first claim.
  virtual void watch(StoreWatcher* watcher, Executor* executor) {
    (void)watcher;
    (void)executor;
  }
  // The node as its lease names it; new after a lost lease. Empty: there are no leases.
  virtual std::string node() const { return ""; }
  // Other nodes whose leases are alive, as far as known.
  virtual std::vector<std::string> peers() const { return {}; }
  // False: this node's lease is in doubt, so it must not speak in the names of its members.
  virtual bool may_speak() const { return true; }
  // What keeps it from working just now, in a sentence; empty: nothing.
  virtual std::string trouble() const { return ""; }

  // Finishes what is queued, makes it durable and closes. `empty`: no user is present; if no name waits in its grace
  // either, none need be kept over the restart. Blocks. Called once, at the end.
  virtual void stop(bool empty) = 0;
};

}  // namespace tertulia
