// Failpoints: named places at which a test makes the server die, fail or dawdle.
//
//   FAILPOINT("before_commit");                               // may kill or dawdle
//   if (FAILPOINT("before_commit")) return error_of_a_disk;   // may also fail: true means "behave as if it had failed"
//
// Without TERTULIA_FAILPOINTS (every release) the macro is the constant false and nothing of this is in the binary.
// With it, points are armed by the environment variable TERTULIA_FAILPOINT at the first pass, or by failpoint_arm():
//
//   name[:pass]=action[,name...]     before_commit:3=kill    before_commit:2+=error    in_wal_sync=sleep_250
//
// pass: the pass at which it happens, from 1 (default 1); with + also at every later one.
// action: kill (SIGKILL, as a power cut for the process; the place is told on standard error), error, error_for_MS
// (from that pass on, for MS milliseconds), sleep_MS. Thread: any. Memory: an entry a name. Ends: with the process.
#pragma once

#ifdef TERTULIA_FAILPOINTS

#include <cstdint>
#include <string_view>

namespace tertulia {

// True: the place behaves as if it had failed.
bool failpoint_pass(std::string_view name);
// Adds to what is armed; the passes of the names in it are counted anew. Aborts on a specification that cannot be read.
void failpoint_arm(std::string_view specification);
void failpoint_disarm_all();
// How often the place has been passed since it was armed or disarmed last; names that were never armed are counted too.
uint64_t failpoint_passes(std::string_view name);

}  // namespace tertulia

#define FAILPOINT(name) (::tertulia::failpoint_pass(name))

#else

namespace tertulia {
constexpr bool failpoint_absent() {
  return false;
}
}  // namespace tertulia

#define FAILPOINT(name) (::tertulia::failpoint_absent())

#endif
