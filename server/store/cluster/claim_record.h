// One claim, a user's hold on a name in a room, as all nodes see it: what its record says, and what becomes of it.
//
// The record names the nodes that have sessions of it. The node of the last that left uncleanly, or to reload, stays in
// it as its *keeper*: it counts the grace, and ends the claim if nobody has come back. Dies the keeper, another node
// takes its place and counts anew. A claim that has ended keeps its user for a while, as a former member, reserving
// nothing, until its keeper makes it forget him.
//
// Every change is compare-and-swap, so each transition happens at one node only: whoever wrote the end of a claim says
// `left`, and nobody else. A record carries the marks of its last few writers (its *trail*): who lost the reply to a
// write sees there whether it stood, even if others have built on it.
//
// Pure: no time either, for a grace is counted by its keeper. Thread: any. Memory: about 300 bytes a claim.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "store/cluster/link.h"

namespace tertulia::cluster {

enum class Leaving : uint8_t { clean, unclean, reloading };

struct ClaimState {
  enum class Kind : uint8_t {
    none,       // nobody's, or forgotten
    present,    // on `sessions`
    grace,      // no session; the keeper counts, the name waits for its user
    reloading,  // no session; the keeper counts, he is present, and the name is free
    ended,      // a former member; the keeper will forget him
  };
  Kind kind = Kind::none;
  std::string user, shown;
  std::vector<std::string> sessions;  // nodes; sorted
  std::string keeper;
  std::vector<std::string> trail;  // marks, the newest last

  bool live() const { return kind == Kind::present || kind == Kind::grace || kind == Kind::reloading; }
  bool here(const std::string& node) const;
  // Nodes that it depends on while it is live.
  std::vector<std::string> nodes() const;
};

// Nothing: the record is not one of ours.
std::optional<ClaimState> claim_of(const Record& record);
// The record's next version, carrying `mark`. `made_from`: the record that the state was made from.
Put claim_put(const Record& made_from, ClaimState state, const std::string& mark);
bool has_mark(const ClaimState& state, std::string_view mark);

// --- transitions: each changes the state, or leaves it and says so ---

// A node as it acts: itself, and what it was called before its lease was lost.
struct Actor {
  std::string node;
  std::set<std::string> formerly;
};

struct Claimed {
  enum class Status : uint8_t { granted, taken, waiting };
  Status status = Status::taken;
  bool changed = false;
  bool began = false;  // the claim was not live for him
  // granted: somebody else whose page was being loaded again has lost his name by it.
  std::string robbed_user, robbed_shown;
};
// A session of the user on this node wants the name. If nobody holds it, or he does, it is granted.
Claimed claim(ClaimState& state, const Actor& actor, const std::string& user, const std::string& shown);

struct Left {
  bool changed = false;
  bool last = false;   // no node has a session of it any more
  bool ended = false;  // and the claim is over
};
// The last of the user's sessions on this node has gone. If it is the last of all, the claim ends (clean) or the node
// becomes its keeper.
Left leave(ClaimState& state, const Actor& actor, const std::string& user, Leaving how);
// The grace that this node counts is over. No effect unless it still is the keeper of a claim of this user.
Left expire(ClaimState& state, const Actor& actor, const std::string& user);

struct Inherited {
  bool changed = false;
  bool keeper = false;  // this node counts the grace now
};
// These nodes are dead. Where only they had sessions of it, or counted its grace, this node is its keeper.
Inherited nodes_died(ClaimState& state, const Actor& actor, const std::set<std::string>& dead);

// The former member is known long enough. `dead_too`: his keeper is dead.
bool forget(ClaimState& state, const Actor& actor, bool dead_too);

}  // namespace tertulia::cluster
