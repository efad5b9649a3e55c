// Programs that a test starts: ended at the latest with the test.
//
// Thread: one. Ends: the destructor kills what still runs and waits for it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace tertulia {

class ChildProcess {
 public:
  struct Options {
    std::string user;  // runs as this user if we are root
    std::string log;   // file for standard output and error; empty: standard output can be read, errors are ours
    bool input = false;
  };
  ChildProcess(const std::vector<std::string>& command, const Options& options);
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess();

  pid_t pid() const { return pid_; }
  bool running();
  void signal(int number);
  // Its exit status, or 128 and the signal.
  int wait();
  void write_line(const std::string& line);
  // Without the end of line. False: it has ended.
  bool read_line(std::string& line);

 private:
  pid_t pid_ = -1;
  int input_ = -1, output_ = -1;
  int status_ = -1;
  std::string read_;
};

}  // namespace tertulia
