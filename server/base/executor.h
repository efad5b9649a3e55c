// Where work runs later: the doors to an event loop. Implemented in net/ for a shard's loop, and by hand in tests.
#pragma once

#include <cstdint>

#include "base/function.h"

namespace tertulia {

// Runs tasks one after another on one thread, in the order posted from any one thread.
// Thread: post() from any. Ends: tasks posted after the loop has ended are destroyed without being run.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void post(Function<void()> task) = 0;
};

// Runs a task once after a delay, on the loop's own thread.
// Thread: the loop's own, for both calls. A timer that fell due while the process slept runs late, so whoever decides
// by time reads the clock at the moment of use.
class Timers {
 public:
  using Id = uint64_t;  // never 0
  virtual ~Timers() = default;
  virtual Id after(int64_t delay_us, Function<void()> task) = 0;
  // No effect for a timer that has run or was cancelled.
  virtual void cancel(Id id) = 0;
};

}  // namespace tertulia
