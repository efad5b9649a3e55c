#include "child_process.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace tertulia {

ChildProcess::ChildProcess(const std::vector<std::string>& command, const Options& options) {
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const passwd* user = options.user.empty() || ::geteuid() != 0 ? nullptr : ::getpwnam(options.user.c_str());
  int in[2] = {-1, -1}, out[2] = {-1, -1};
  if (options.input) {
    EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
  }
  if (options.log.empty()) {
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
  } else {
    out[1] = ::open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  }
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    // Only what may be called between fork and exec, for the test may have threads.
    if (user != nullptr &&
        (::setgroups(0, nullptr) != 0 || ::setgid(user->pw_gid) != 0 || ::setuid(user->pw_uid) != 0)) {
      ::_exit(126);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGQUIT);
    if (::getppid() != parent) ::_exit(126);
    if (options.input) ::dup2(in[0], 0);
    ::dup2(out[1], 1);
    if (!options.log.empty()) ::dup2(out[1], 2);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  EXPECT_GT(pid_, 0);
  if (in[0] >= 0) ::close(in[0]);
  ::close(out[1]);
  input_ = in[1];
  output_ = out[0];
}

ChildProcess::~ChildProcess() {
  if (input_ >= 0) ::close(input_);
  if (output_ >= 0) ::close(output_);
  if (running()) {
    ::kill(pid_, SIGKILL);
    wait();
  }
}

bool ChildProcess::running() {
  if (pid_ <= 0 || status_ >= 0) return false;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return true;
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return false;
}

void ChildProcess::signal(int number) {
  if (running()) ::kill(pid_, number);
}

int ChildProcess::wait() {
  if (pid_ <= 0 || status_ >= 0) return status_;
  int status = 0;
  ::waitpid(pid_, &status, 0);
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return status_;
}

void ChildProcess::write_line(const std::string& line) {
  const std::string whole = line + "\n";
  EXPECT_EQ(::write(input_, whole.data(), whole.size()), static_cast<ssize_t>(whole.size()));
}

bool ChildProcess::read_line(std::string& line) {
  for (;;) {
    const size_t end = read_.find('\n');
    if (end != std::string::npos) {
      line = read_.substr(0, end);
      read_.erase(0, end + 1);
      return true;
    }
    char bytes[4096];
    const ssize_t count = ::read(output_, bytes, sizeof bytes);
    if (count <= 0) return false;
    read_.append(bytes, static_cast<size_t>(count));
  }
}

}  // namespace tertulia
