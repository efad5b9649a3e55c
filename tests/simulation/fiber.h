// A stack of its own that runs in turns with whoever resumes it: what stands for a thread in the simulation.
//
// Thread: one, for all fibers. Memory: a stack of 256 KiB, taken from and given back to a pool. Ends: after its body
// has returned, or before it was ever resumed.
#pragma once

#include <cstddef>
#include <memory>

#include "base/function.h"

namespace tertulia::simulation {

class Fiber {
 public:
  explicit Fiber(Function<void()> body);
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  // REQUIRES: the body has returned, or was never begun.
  ~Fiber();

  // Goes on with the body until it blocks or returns. REQUIRES: called from outside of all fibers; not ended.
  void resume();
  // Back to whoever resumed. REQUIRES: called from inside a fiber.
  static void block();
  // Null outside of all fibers.
  static Fiber* current();
  bool ended() const;

 private:
  struct Context;
  static void enter();
  const std::unique_ptr<Context> context_;
};

}  // namespace tertulia::simulation
