// The other end of a connection, for tests: a blocking socket on loopback whose every wait has a deadline.
// Thread: one.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "base/testing.h"
#include "net/unique_fd.h"

namespace tertulia {

class TestSocket {
 public:
  static constexpr int kDeadlineMs = 10'000;

  // Connects to 127.0.0.1. `receive_bytes` makes the kernel's buffer on this end small, before the handshake.
  explicit TestSocket(uint16_t port, int receive_bytes = 0) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_bytes > 0) ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

  bool connected() const { return connected_; }
  int fd() const { return fd_.get(); }

  // Returns false if the connection did not take it all.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  // Reads until `enough` says so, the peer closes, or the deadline comes. What was read before is part of it.
  std::string& read_until(const std::function<bool(const std::string&)>& enough, int deadline_ms = kDeadlineMs) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(deadline_ms);
    while (!enough(text_) && !ended_) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
      pollfd wait{fd_.get(), POLLIN, 0};
      if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left)) <= 0) break;
      char buffer[65536];
      const ssize_t got = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        ended_ = true;
        reset_ = got < 0;
        break;
      }
      text_.append(buffer, static_cast<size_t>(got));
    }
    return text_;
  }
  std::string& read_until(std::string_view end) {
    return read_until([end](const std::string& text) { return text.find(end) != std::string::npos; });
  }
  std::string& read_bytes(size_t count) {
    return read_until([count](const std::string& text) { return text.size() >= count; });
  }
  // Everything up to the peer's close.
  std::string& read_all(int deadline_ms = kDeadlineMs) {
    return read_until([](const std::string&) { return false; }, deadline_ms);
  }
  std::string& text() { return text_; }
  bool ended() const { return ended_; }
  bool was_reset() const { return reset_; }
  void finish_sending() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_.reset(); }
  void reset() {
    const linger at_once{1, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    fd_.reset();
  }

 private:
  UniqueFd fd_;
  bool connected_ = false;
  bool ended_ = false;
  bool reset_ = false;
  std::string text_;
};

}  // namespace tertulia
