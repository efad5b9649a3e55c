// The narrow door to MongoDB's documents: everything that the algorithms in child_log.h and versioned_records.h ask of
// a database, and nothing of a driver. Tests and the simulation put a model behind it.
//
// What it promises is little, so that much can stand behind it: of all documents with one key one can be inserted;
// a write that has come back is on a majority; a read shows what a majority has, and never less than what an earlier
// call on this object has shown or written. A write whose reply is lost may take effect at any later time, or never.
// Blocks. Thread: one. Ends: whenever.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "store/cluster/link.h"

namespace tertulia::mongo {

using cluster::Failure;
using cluster::Record;
using cluster::Trouble;

// A row to be inserted. Its key is the room and the chain that it continues, so every row has at most one child.
struct NewRow {
  const std::string* room;
  Position before;  // the place that it continues
  Chain chain;
  const Message* message;
};

// How far an ordered insert came.
struct Inserted {
  size_t count = 0;        // so many stand before the one at which it stopped, or all
  bool duplicate = false;  // it stopped at `count` because there is a document with that key, whosever it is
};

// What is looked for in one room.
struct Look {
  const std::string* room = nullptr;
  std::vector<Chain> children_of;  // rows that continue one of these
  std::vector<std::string> uuids;  // rows with one of these
  std::vector<Row> rows;           // answer, in no order
};

// Of a row only its place.
struct Place {
  Sequence sequence = 0;
  Chain previous, chain;
};

struct RowLimit {
  size_t rows = 0;
  size_t bytes = SIZE_MAX;  // ends behind the row that exceeds it
};

class Collection {
 public:
  virtual ~Collection() = default;

  // --- rows ---

  // One after another, up to the first that does not go in. A failure other than `message` says nothing about any row,
  // now or later, except not_now: none was inserted. `message`: the row at `inserted.count` is not taken for what it
  // is.
  virtual Failure insert(std::span<const NewRow> rows, Inserted& inserted) = 0;
  // All of them in one read.
  virtual Failure look(std::span<Look> looks) = 0;
  // Rows of a room with sequences from `first` to `last`, ascending or descending.
  virtual Failure range(const std::string& room, Sequence first, Sequence last, bool descending, const RowLimit& limit,
                        std::vector<Row>& rows) = 0;
  // Places of rows with sequences up to `last`, descending.
  virtual Failure newest(const std::string& room, Sequence last, size_t limit, std::vector<Place>& places) = 0;
  // Names of rooms that have a row, whatever leads to it, by name, behind `after`.
  virtual Failure rooms(const std::string& after, size_t limit, std::vector<std::string>& names) {
    (void)after;
    (void)limit;
    (void)names;
    return {Trouble::not_now, "these documents cannot be listed by room"};
  }
  // Rows with one of these sequences, in no order.
  virtual Failure at(const std::string& room, const std::vector<Sequence>& sequences, std::vector<Row>& rows) = 0;

  // --- records; the key is room, name and version ---

  // Each on its own. duplicate[i]: there is a document with that key, whosever it is.
  virtual Failure insert_records(const std::vector<Record>& records, std::vector<bool>& duplicate) = 0;
  // All versions there are.
  virtual Failure versions(const std::vector<std::pair<std::string, std::string>>& keys,
                           std::vector<Record>& records) = 0;
  // Room and name of documents that are, or once were, such (a later version may say otherwise); no key twice.
  enum class Which : uint8_t {
    live_in_room,  // a: room, b: names behind this one; by name
    of_user,       // a: room, b: user
    live_of_node,  // a: node; leases not among them
  };
  virtual Failure candidates(Which which, const std::string& a, const std::string& b, size_t limit,
                             std::vector<std::pair<std::string, std::string>>& keys) = 0;
  // Tidying behind versions that stand: what is older than the one before each is deleted, and the one before is no
  // longer a candidate for what is live. Never decides anything; a failure is of no importance.
  virtual void tidy(const std::vector<Record>& newest) = 0;

  // --- read markers ---

  virtual Failure write_markers(const std::map<std::pair<std::string, std::string>, Sequence>& markers) = 0;
  virtual Failure read_markers(const std::string& room, const std::vector<std::string>& users,
                               std::vector<Sequence>& markers) = 0;

  // A write on a majority, begun now.
  virtual Failure mark() = 0;
  virtual uint64_t connects() const = 0;
};

}  // namespace tertulia::mongo
