// Records where the only thing that is atomic is to insert a document under a key that nobody has: compare-and-swap by
// inserting the next version, with the whole new state.
//
// Having inserted it is not enough: somebody who has slept may insert a number that was used and deleted since. So a
// change counts only when a read begun after the insert, of what a majority has, shows no higher version. The winner
// then tidies up behind himself; the newest is never deleted, and nothing is decided by a delete.
// There are no transactions, so a node's lease is judged before a put and again with the read that lets it count: a
// node that was declared dead in between is told so and has gained nothing, and whoever declared it dead finds its
// records by the node's name.
//
// Thread: one. Ends: before the collection.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "store/mongo/collection.h"

namespace tertulia::mongo {

class VersionedRecords {
 public:
  explicit VersionedRecords(Collection& collection) : collection_(collection) {}

#ifdef TERTULIA_FAILPOINTS
  // For tests that show that the tests find it: each breaks a promise.
  struct Unsafe {
    bool no_read_after_insert = false;  // whoever could insert has won
    bool ack_on_duplicate = false;      // a duplicate key is taken for one's own version
  };
  Unsafe unsafe;
#endif

  // As of cluster::Link.
  Failure load(const std::vector<std::pair<std::string, std::string>>& keys, std::vector<Record>& records);
  Failure put(std::vector<cluster::Put>& puts, const std::string& node);
  Failure list(const std::string& room, const std::string& after, size_t limit, std::vector<Record>& records);
  Failure count(const std::string& room, uint64_t& live);
  Failure of_user(const std::string& room, const std::string& user, std::vector<Record>& records);
  Failure of_node(const std::string& node, size_t limit, std::vector<Record>& records);

  // Fenced if the node's lease is not alive. An empty name is not judged.
  Failure judge(const std::string& node);

 private:
  using Key = std::pair<std::string, std::string>;

  Failure newest(const std::vector<Key>& keys, std::vector<Record>& records);

  Collection& collection_;
};

}  // namespace tertulia::mongo
