// What a store answers to an append and to a read. The words of the store's door that pure code reads too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/message.h"

namespace tertulia {

struct Appended {
  enum class Kind : uint8_t {
    added,     // new: `position` and `previous` say where
    repeated,  // this uuid with this body was committed before, at `position`
    conflict,  // this uuid is another body's
    refused,   // the store takes it never, for what it is
  };
  Kind kind = Kind::refused;
  Position position;   // added, repeated
  Chain previous;      // added: the chain that the row continues
  std::string reason;  // refused: for the log
};

struct AppendResult {
  enum class Status : uint8_t {
    done,          // durable; one entry of `each` for every message, in order
    not_now,       // nothing was appended: full, read-only, away. The caller keeps the messages and tries again
    fenced,        // nothing was appended: this node's lease is gone
    does_not_fit,  // nothing was appended: the log does not contain the position that the caller holds
  };
  Status status = Status::not_now;
  std::vector<Appended> each;
  std::string reason;  // not_now, fenced: for the log
};

struct Rows {
  enum class Status : uint8_t {
    ok,
    does_not_fit,  // read(): the log does not have that chain at that sequence
    not_now,
  };
  Status status = Status::not_now;
  std::vector<Row> rows;  // ascending, each continues the one before
  Position head;          // ok: of the log at the moment of the read
};

}  // namespace tertulia
