// Leases: how nodes know of each other who is alive, and a node of itself whether it may still speak.
//
// A lease is a record that its node renews by compare-and-swap, each time with another renewal number. OwnLease decides
// when, and until when it holds: for lease_us from the *start* of the last renewal that stands, for a peer can have
// counted from no sooner. It says how long it is, for nodes may be set to different times while that is being changed.
// Peers decides who is dead: whoever's lease has not changed for so long on this node's clock while this node reached
// the store all the time. A gap in its own reading restarts every count: a store that was away
// for all must not cost anybody his life, nor a pause of this node.
//
// Declaring a peer dead is one Put of the next version, not alive. If it wins, every renewal of the peer fails; if a
// renewal was sooner, it loses. So a renewal that lost means one of two things, and looking at the record says which:
// an earlier attempt of our own has landed late, or we were declared dead.
//
// No wall clock decides anything, and a record that is missing is nobody's death: it is counted like one that does not
// change. Pure: time is an argument, always of one monotonic clock. Thread: one. Memory: a few hundred bytes a peer.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "store/cluster/link.h"

namespace tertulia::cluster {

struct LeaseTimes {
  explicit LeaseTimes(int64_t lease_ms = 6'000, int64_t renew_ms = 2'000);
  int64_t lease_us;   // unchanged for so long is dead
  int64_t renew_us;   // between renewals
  int64_t margin_us;  // by so much sooner its owner takes it for over: clocks do not run equally fast
  int64_t gap_us;     // longer between two looks is a gap
  int64_t look_us;    // between looks at the peers
  int64_t retry_us;   // after an attempt that failed
};

class OwnLease {
 public:
  enum class Step : uint8_t {
    none,
    renew,  // put attempt(), then attempted()
    look,   // load the record, then looked(), or attempted() was in vain: look_failed()
  };

  // `node`: never used before.
  OwnLease(const LeaseTimes& times, std::string node) : times_(times), node_(std::move(node)) {}

  const std::string& node() const { return node_; }
  // What is to be done now.
  Step step(int64_t now_us) const;
  // REQUIRES: step() says renew. `now_us` is read before the put begins.
  Put attempt(int64_t now_us);
  void attempted(const Put& put, const Failure& failure, int64_t now_us);
  void looked(const Record& stands);
  void look_failed(int64_t now_us) { retry_at_us_ = now_us + times_.retry_us; }
  // Something else says that the lease may be gone (a put was fenced).
  void doubt() { in_doubt_ = true; }

  // Declared dead, or overwritten: this identity is over for good.
  bool lost() const { return lost_; }
  // 0: it does not hold. Judged by whoever uses it, by the clock at that moment.
  int64_t holds_until_us() const { return lost_ || held_from_us_ < 0 ? 0 : held_from_us_ + held_us(); }
  bool holds(int64_t now_us) const { return now_us < holds_until_us(); }
  bool stands() const { return version_ > 0 && !lost_; }
  // Gives the lease back.
  Put give_back() const;

 private:
  int64_t held_us() const { return times_.lease_us - times_.margin_us; }
  void won(uint64_t version, uint64_t number);

  LeaseTimes times_;
  std::string node_;
  uint64_t version_ = 0;                   // that is known to stand
  uint64_t number_ = 0;                    // of the last attempt
  std::map<uint64_t, int64_t> undecided_;  // attempts that may have landed, or may yet: number → when it began
  int64_t held_from_us_ = -1;
  int64_t retry_at_us_ = 0;
  bool in_doubt_ = false;  // the record must be looked at
  bool lost_ = false;
};

class Peers {
 public:
  explicit Peers(const LeaseTimes& times) : times_(times) {}

  // Those that are followed and not among `listed`: to be loaded and added to what looked() is told.
  std::vector<std::string> missing(const std::vector<Record>& listed) const;
  // A look at the leases that was well answered: the live ones, and the missing. `connects` of the link, at its end.
  // What has ended since the last look is in gone(), until the next.
  void looked(const std::vector<Record>& leases, const std::string& own_node, int64_t began_us, int64_t ended_us,
              uint64_t connects);
  // A look failed.
  void look_failed() { gap_ = true; }
  // Some record names this node, which is not known; its lease is as given. It is followed from now on.
  void found(const Record& lease, int64_t now_us);

  const std::vector<std::string>& gone() const { return gone_; }
  // Puts that declare dead whoever was overdue at the last look.
  std::vector<Put> overdue(const std::string& own_node) const;
  // One of them has been put, or the peer's lease was seen ended otherwise.
  void forget(const std::string& node) { peers_.erase(node); }
  bool alive(const std::string& node) const { return peers_.contains(node); }
  std::vector<std::string> alive() const;

 private:
  struct Peer {
    Record lease;
    int64_t since_us = 0;  // it has been seen as it is since then, without a gap
    bool overdue = false;
  };

  const LeaseTimes times_;
  std::map<std::string, Peer> peers_;
  std::vector<std::string> gone_;
  int64_t looked_us_ = 0;
  uint64_t connects_ = 0;
  bool gap_ = true;
};

// A node's second record, beside its lease: live until nothing names the node any more, so that whoever comes later
// finds what it left. It is made when the lease stands, and before anything else names the node.
std::string estate_name(const std::string& node);
// The node whose estate this is; empty: it is a lease.
std::string estate_node(std::string_view record_name);
Put estate_put(const std::string& node, const Record& stands, bool live);

}  // namespace tertulia::cluster
