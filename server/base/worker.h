// A thread that may block, for libraries that block: a database's, a message bus's. In tests a fiber of one thread,
// with time and chance given by the test.
//
// Tasks run one after another, in the order posted. Thread: post(), post_after() and run() from any; pause_us() and
// stopping() only from inside a task. Ends: stop(), or the destructor, which calls it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/executor.h"

namespace tertulia {

class Worker : public Executor {
 public:
  // Runs the task when so much time has passed, or soon after; never, if the worker ends before.
  virtual void post_after(int64_t us, Function<void()> task) = 0;
  // Runs the task and waits for its end: for whoever starts things, never from inside a task. False: the worker is
  // stopping, and the task was not run.
  virtual bool run(Function<void()> task);
  // Waits, at most until the worker is told to stop. False: it is stopping, so what cannot end soon must give up.
  virtual bool pause_us(int64_t us) = 0;
  virtual bool stopping() const = 0;
  // Runs what was posted before, ends, and waits for the end. Later tasks are destroyed without being run.
  virtual void stop() = 0;
};

class Workers {
 public:
  virtual ~Workers() = default;
  // name: for debuggers, at most 15 bytes.
  virtual std::unique_ptr<Worker> make(const std::string& name) = 0;
};

// Each worker a thread.
class ThreadWorkers final : public Workers {
 public:
  std::unique_ptr<Worker> make(const std::string& name) override;
};

}  // namespace tertulia
