#include "cutting_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

namespace tertulia {
namespace {

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

bool write_all(int socket, const char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t written = ::send(socket, bytes, count, MSG_NOSIGNAL);
    if (written <= 0) return false;
    bytes += written;
    count -= static_cast<size_t>(written);
  }
  return true;
}

}  // namespace

CuttingProxy::CuttingProxy(uint16_t target_port) : target_(target_port) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof address;
  EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::listen(listener_, 16), 0);
  EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length), 0);
  port_ = ntohs(address.sin_port);
  EXPECT_EQ(::pipe2(wake_, O_CLOEXEC), 0);
  thread_ = std::thread([this] { run(); });
}

CuttingProxy::~CuttingProxy() {
  ::close(wake_[1]);
  thread_.join();
  ::close(wake_[0]);
  ::close(listener_);
  for (const Pair& pair : pairs_) {
    ::close(pair.client);
    ::close(pair.server);
  }
}

void CuttingProxy::run() {
  std::vector<char> bytes(64 << 10);
  for (;;) {
    std::vector<pollfd> sockets = {{wake_[0], POLLIN, 0}, {listener_, POLLIN, 0}};
    for (const Pair& pair : pairs_) {
      sockets.push_back({pair.client, POLLIN, 0});
      sockets.push_back({pair.server, POLLIN, 0});
    }
    ::poll(sockets.data(), sockets.size(), -1);
    if (sockets[0].revents != 0) return;
    for (size_t i = 2; i < sockets.size(); ++i) {
      if (sockets[i].revents == 0) continue;
      Pair& pair = pairs_[(i - 2) / 2];
      if (pair.client < 0) continue;
      const bool request = i % 2 == 0;
      const ssize_t count = ::recv(request ? pair.client : pair.server, bytes.data(), bytes.size(), 0);
      bool end = count <= 0;
      if (!end && request && mode_ == Mode::request) {
        mode_ = Mode::none;
        ++cuts_;
        end = true;
      } else if (!end && request && mode_ == Mode::reply) {
        mode_ = Mode::none;
        pair.doomed = true;
      } else if (!end && !request && pair.doomed) {
        ++cuts_;
        end = true;
      }
      if (!end) end = !write_all(request ? pair.server : pair.client, bytes.data(), static_cast<size_t>(count));
      if (end) {
        ::close(pair.client);
        ::close(pair.server);
        pair.client = -1;
      }
    }
    std::erase_if(pairs_, [](const Pair& pair) { return pair.client < 0; });
    if (sockets[1].revents != 0) {
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const sockaddr_in address = loopback(target_);
      const int yes = 1;
      ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      ::setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        pairs_.push_back({client, server});
      } else {
        ::close(client);
        ::close(server);
      }
    }
  }
}

}  // namespace tertulia
