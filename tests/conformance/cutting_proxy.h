// A TCP proxy between a link and its database that cuts connections at the worst moment.
//
// Thread: one of its own that forwards; the calls may come from any. Ends: the destructor closes all connections.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace tertulia {

class CuttingProxy {
 public:
  explicit CuttingProxy(uint16_t target_port);
  CuttingProxy(const CuttingProxy&) = delete;
  CuttingProxy& operator=(const CuttingProxy&) = delete;
  ~CuttingProxy();

  uint16_t port() const { return port_; }
  // The next request goes through and is answered; then the connection ends without the answer.
  void cut_next_reply() { mode_ = Mode::reply; }
  // The next request does not arrive; the connection ends.
  void cut_next_request() { mode_ = Mode::request; }
  // How often a connection was cut.
  int cuts() const { return cuts_; }

 private:
  enum class Mode : uint8_t { none, reply, request };
  struct Pair {
    int client, server;
    bool doomed = false;
  };

  void run();

  int listener_ = -1;
  int wake_[2] = {-1, -1};
  uint16_t port_ = 0;
  const uint16_t target_;
  std::atomic<Mode> mode_ = Mode::none;
  std::atomic<int> cuts_ = 0;
  std::vector<Pair> pairs_;  // the thread's
  std::thread thread_;       // last: it uses the others
};

}  // namespace tertulia
