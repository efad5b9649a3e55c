// What one node remembers of its members: how many sessions of a user are here, the names they came with, the graces
// that this node counts, and who was a member until a minute ago.
//
// A release says who left and not under which name, so all his names here go with his last session here.
//
// Pure: time is an argument. Thread: one. Memory: a few hundred bytes for each user and grace; former members are
// bounded by formers_max.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tertulia::cluster {

struct HeldName {
  std::string folded, shown;
};

struct Grace {
  std::string folded, shown;
  int64_t due_us = 0;
  // Nobody calls expire() for it: when it ends the watcher is told. Else only if nobody has called long after its time.
  bool tells = false;
};

struct LocalMember {
  uint64_t sessions_count = 0;
  std::vector<HeldName> names;  // he is known by the first; may be empty although he has sessions, when they were lost
  std::vector<Grace> graces;
};

class LocalMembers {
 public:
  using Key = std::pair<std::string, std::string>;  // room and user

  LocalMembers(int64_t grace_us, int64_t former_us, size_t formers_max)
      : grace_us_(grace_us), former_us_(former_us), formers_max_(formers_max) {}

  const LocalMember* find(const Key& key) const;
  bool holds(const Key& key, const std::string& folded) const;
  const std::map<Key, LocalMember>& all() const { return members_; }

  // One more session came by this name.
  void came(const Key& key, const HeldName& name);
  // One of several has gone. REQUIRES: more than one.
  void one_left(const Key& key);
  // The last has gone: his names, which are no longer held here.
  std::vector<HeldName> last_left(const Key& key);
  // Somebody else has taken the name.
  void name_lost(const Key& key, const std::string& folded);

  // This node counts the grace of the name from now on.
  void count_grace(const Key& key, const HeldName& name, bool tells, int64_t now_us);
  bool counts_grace(const Key& key, const std::string& folded) const { return grace(key, folded) != nullptr; }
  const Grace* grace(const Key& key, const std::string& folded) const;
  void end_grace(const Key& key, const std::string& folded);
  // Takes those of one user whose time has come.
  std::vector<HeldName> take_due(const Key& key, int64_t now_us);
  // Takes those of all for whom nobody calls.
  std::vector<std::pair<Key, HeldName>> take_due(int64_t now_us);
  // Its node has another name now: the graces are counted by others.
  void drop_graces();

  // He is a former member from now on.
  void ended(const Key& key, const HeldName& name, int64_t now_us);
  // The name by which he is known, if it was ended here lately.
  std::optional<std::string> former_name(const Key& key, int64_t now_us) const;
  // Takes those who are known long enough, or are too many.
  std::vector<std::pair<Key, HeldName>> take_formers(int64_t now_us);

 private:
  struct Former {
    HeldName name;
    int64_t until_us = 0;
  };

  LocalMember& at(const Key& key) { return members_[key]; }
  void drop_if_empty(const Key& key);
  int64_t wake_us(const Grace& grace) const;

  // Constant after construction.
  const int64_t grace_us_, former_us_;
  const size_t formers_max_;
  // Changing.
  std::map<Key, LocalMember> members_;
  std::multimap<int64_t, std::pair<Key, std::string>> wakes_;  // when a grace is to be looked at; some are void
  std::map<Key, std::vector<Former>> formers_;
  std::multimap<int64_t, std::pair<Key, std::string>> forgets_;  // by time; some are void
};

}  // namespace tertulia::cluster
