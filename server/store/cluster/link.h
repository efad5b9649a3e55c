// The door to a database that several nodes write to: what PostgreSQL and MongoDB each do in their own way, and nothing
// that both do alike (that is cluster_store.h and roster.h).
//
// A Link is one connection with the algorithms that keep a log true over it. It blocks, connects by itself when it
// must, and never guesses: a call ends with what is certainly so, or with a Failure that says what is known. Thread:
// one Link, one worker; a Database any. Ends: links before their database.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/worker.h"
#include "protocol/outcome.h"

namespace tertulia::cluster {

enum class Trouble : uint8_t {
  none,
  message,  // about a message of the batch; nothing was done. Tried again in parts, the bad one is found and refused
  not_now,  // nothing was done: full, read-only, a deadlock, no connection
  unknown,  // done or not: the reply is lost, or a commit was answered with a warning. Ask again with the same uuids
  fenced,   // nothing was done: the node's lease is gone
};

struct [[nodiscard]] Failure {
  Trouble trouble = Trouble::none;
  std::string reason;  // for the log: what, where
  explicit operator bool() const { return trouble != Trouble::none; }
};

// What became of one message of an append that did not fail.
struct Placed {
  bool added = false;
  Row row;  // added: its place (sequence, previous, chain). Else the whole row that had this uuid already
};

// One room's part of an append.
struct RoomBatch {
  std::string room;
  Position known;                        // the log must contain it
  std::vector<const Message*> messages;  // in order; no uuid twice
  // Answers.
  bool fits = true;            // false: the log does not contain `known`; nothing of this room was appended
  std::vector<Placed> placed;  // if it fits: one for each message
};

// A small piece of state that changes by compare-and-swap: a claim on a name, a node's lease. The state of a version
// never changes, and versions of one (room, name) are never used twice.
struct Record {
  std::string room;  // empty: a node's lease, and name is the node
  std::string name;
  uint64_t version = 0;  // 0: there is none yet
  // What records are found by, and whoever reads the database understands.
  bool live = false;
  std::string user;                // userId
  std::vector<std::string> nodes;  // those it depends on
  std::string state;               // JSON, its writer's own
};

struct Put {
  Record record;     // `version` is the one it was made from; it is written as the next
  bool won = false;  // answer: it stands, and nobody has written another after it until this call's last read
};

class Link {
 public:
  virtual ~Link() = default;

  // --- logs ---

  // All rooms in one commit where the database has such a thing; durable, on a majority or the synchronous standby,
  // when it does not fail. `node`: whose lease must be alive, judged within the same commit where that is possible.
  virtual Failure append(const std::vector<RoomBatch*>& rooms, const std::string& node) = 0;
  // Each fills `rows` as the store's door says of the call of its name (ok or does_not_fit).
  virtual Failure read(const std::string& room, const Position& after, size_t limit, size_t bytes_max, Rows& rows) = 0;
  virtual Failure read_range(const std::string& room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max,
                             Rows& rows) = 0;
  virtual Failure find(const std::string& room, const std::string& uuid, Rows& rows) = 0;
  // In the order asked.
  virtual Failure heads(const std::vector<std::string>& rooms, std::vector<Position>& heads) = 0;
  // For `tertulia verify`: names of rooms that have rows, at most `limit` and in the order of their bytes, behind
  // `after` (empty: from the beginning).
  virtual Failure rooms(const std::string& after, size_t limit, std::vector<std::string>& names) = 0;
  // For `tertulia verify`: the highest sequence of any row of the room, also of one that nothing leads to; 0: none.
  virtual Failure newest(const std::string& room, Sequence& sequence) = 0;

  // True: what the last read showed may still be taken back by a failover, until mark() has come back.
  virtual bool reads_need_mark() const = 0;
  // Commits something that is begun now, on this connection. Without a failure everything that this connection read
  // before is proven. Trouble::unknown: nothing is proven; so too if the connection was made anew since those reads.
  virtual Failure mark() = 0;

  // --- read markers: (room, user) → sequence ---

  virtual Failure write_markers(const std::map<std::pair<std::string, std::string>, Sequence>& markers) = 0;
  virtual Failure read_markers(const std::string& room, const std::vector<std::string>& users,
                               std::vector<Sequence>& markers) = 0;

  // --- records ---

  // In the order asked; version 0 where there is none.
  virtual Failure load(const std::vector<std::pair<std::string, std::string>>& keys, std::vector<Record>& records) = 0;
  // Each on its own. `node` as in append(); empty: not judged. Trouble::unknown: each may stand or not.
  virtual Failure put(std::vector<Put>& puts, const std::string& node) = 0;
  // Live ones of a room by name, behind `after`.
  virtual Failure list(const std::string& room, const std::string& after, size_t limit,
                       std::vector<Record>& records) = 0;
  virtual Failure count(const std::string& room, uint64_t& live) = 0;
  // Of a user in a room, live or not.
  virtual Failure of_user(const std::string& room, const std::string& user, std::vector<Record>& records) = 0;
  // Live ones that depend on a node, leases not among them.
  virtual Failure of_node(const std::string& node, size_t limit, std::vector<Record>& records) = 0;

  // How often it has connected: whoever remembers the number sees that there was a gap.
  virtual uint64_t connects() const = 0;
};

class Database {
 public:
  virtual ~Database() = default;
  // Makes or checks tables and indexes. Empty, or a sentence that says what, where and what to do. Blocks; may be tried
  // again. A database that is away at the start is waited for by whoever calls.
  [[nodiscard]] virtual std::string prepare() = 0;
  // What an operator should know, for example that the standby is asynchronous; empty: nothing.
  virtual std::string warning() const { return ""; }
  virtual std::unique_ptr<Link> link(Worker& worker) = 0;
  // For messages and logs: where it is, without credentials.
  virtual std::string address() const = 0;
};

}  // namespace tertulia::cluster
