// A consistent copy of a data directory, made by another process while the server runs.
//
// The copy is of one moment, holds one snapshot of the database while it is made (the server's write-ahead log grows
// meanwhile), never writes to the directory it reads, and opens as a data directory: names wait in it for those who
// return, as after a bad end. To restore: stop the server, replace the directory, start.
// Thread: the caller's. Memory: a few pages.
#pragma once

#include <cstdint>
#include <string>

#include "base/function.h"

namespace tertulia {

// Called now and then with how much is done; `false` cancels.
using BackupProgress = Function<bool(uint64_t bytes_done, uint64_t bytes_total)>;

// Copies data_dir to `destination`, which must not exist or be empty, and makes the copy durable. Returns an empty
// string, or a sentence that says what, where and what to do; then there is nothing at the destination that could be
// taken for a copy.
[[nodiscard]] std::string backup(const std::string& data_dir, const std::string& destination, BackupProgress progress);

}  // namespace tertulia
