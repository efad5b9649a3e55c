// The bare epoll loop: what the kernel alone asks for carrying bytes from one connection to all others.
//
// The same sockets as the server's (tune_socket), the same bytes (the driver hands it ready-made frames), the same
// coalescing: all that a turn of the loop has read goes to everybody in one send, and who has fallen behind gets a
// longer piece. No JSON, no rooms, no names, no store, nothing durable. A room that is nothing but a log and cursors:
// the limit that the server's figures are held against. Never installed.
//   bench_bare [PORT]   on 127.0.0.1; prints "port N" when it listens
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "net/socket_transport.h"

namespace tertulia::bench {
namespace {

constexpr size_t buffer_bytes = 16 << 10;      // as the server's loop reads
constexpr size_t write_bytes_max = 128 << 10;  // as the server writes
constexpr size_t log_bytes_max = 256 << 20;
constexpr std::string_view switched =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

struct Connection {
  int fd = -1;
  bool upgraded = false;
  bool blocked = false;
  uint64_t cursor = 0;  // in the log, counted from its beginning of all time
  std::string in;       // an unfinished frame, or head of the upgrade
};

class Bare {
 public:
  int run(uint16_t port) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    socklen_t size = sizeof address;
    if (tune_socket(listener_) != 0 || bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(listener_, 1024) != 0 || getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      std::perror("bench_bare");
      return 1;
    }
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    watch(EPOLL_CTL_ADD, listener_, EPOLLIN, UINT32_MAX);
    std::printf("port %u\n", ntohs(address.sin_port));
    std::fflush(stdout);
    while (true) turn();
  }

 private:
  void watch(int operation, int fd, uint32_t events, uint32_t number) {
    epoll_event event{};
    event.events = events;
    event.data.u32 = number;
    epoll_ctl(epoll_, operation, fd, &event);
  }

  void turn() {
    epoll_event events[256];
    const int count = epoll_wait(epoll_, events, 256, -1);
    const uint64_t before = end_of_log();
    for (int i = 0; i < count; ++i) {
      const uint32_t number = events[i].data.u32;
      if (number == UINT32_MAX) {
        accept_all();
        continue;
      }
      Connection& connection = connections_[number];
      if (connection.fd >= 0 && (events[i].events & EPOLLOUT)) {
        connection.blocked = false;
        watch(EPOLL_CTL_MOD, connection.fd, EPOLLIN, number);
        write(connection, number);
      }
      if (connection.fd >= 0 && (events[i].events & ~static_cast<uint32_t>(EPOLLOUT))) read(connection);
    }
    if (end_of_log() == before) return;
    uint64_t oldest = end_of_log();
    for (uint32_t number = 0; number < connections_.size(); ++number) {
      Connection& connection = connections_[number];
      if (connection.fd < 0 || !connection.upgraded) continue;
      if (!connection.blocked) write(connection, number);
      if (connection.fd >= 0) oldest = std::min(oldest, connection.cursor);
    }
    if (oldest == end_of_log() || oldest - base_ > log_bytes_max / 2) {
      log_.erase(0, oldest - base_);
      base_ = oldest;
    }
    if (log_.size() > log_bytes_max) {
      std::fprintf(stderr, "bench_bare: somebody is %zu bytes behind\n", log_.size());
      std::exit(1);
    }
  }

  void accept_all() {
    for (int fd; (fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
      watch(EPOLL_CTL_ADD, fd, EPOLLIN, static_cast<uint32_t>(connections_.size()));
      connections_.emplace_back().fd = fd;
    }
  }

  void end(Connection& connection) {
    close(connection.fd);
    connection.fd = -1;
  }

  void read(Connection& connection) {
    static char buffer[buffer_bytes];
    const ssize_t got = recv(connection.fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return end(connection);
    connection.in.append(buffer, static_cast<size_t>(got));
    if (!connection.upgraded) {
      const size_t head_end = connection.in.find("\r\n\r\n");
      if (head_end == std::string::npos) return;
      connection.in.erase(0, head_end + 4);
      connection.upgraded = true;
      connection.cursor = end_of_log();
      send(connection.fd, switched.data(), switched.size(), MSG_NOSIGNAL);
    }
    frames(connection);
  }

  void frames(Connection& connection) {
    size_t at = 0;
    while (connection.in.size() - at >= 2) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(connection.in.data()) + at;
      const size_t available = connection.in.size() - at;
      const size_t length_bytes = (bytes[1] & 0x7F) < 126 ? 0 : (bytes[1] & 0x7F) == 126 ? 2 : 8;
      if (available < 2 + length_bytes) break;
      uint64_t length = length_bytes == 0 ? bytes[1] & 0x7F : 0;
      for (size_t i = 0; i < length_bytes; ++i) length = length << 8 | bytes[2 + i];
      const size_t payload_at = 2 + length_bytes + 4;
      if (length > buffer_bytes * 8 || available < payload_at + length) break;
      if ((bytes[0] & 0x0F) == 1) {
        log_.append(reinterpret_cast<const char*>(bytes), 1);
        log_ += static_cast<char>(bytes[1] & 0x7F);
        log_.append(reinterpret_cast<const char*>(bytes) + 2, length_bytes);
        const uint8_t* mask = bytes + 2 + length_bytes;
        const size_t begin = log_.size();
        log_.append(reinterpret_cast<const char*>(bytes) + payload_at, length);
        for (size_t i = 0; i < length; ++i) log_[begin + i] = static_cast<char>(log_[begin + i] ^ mask[i % 4]);
      }
      at += payload_at + length;
    }
    connection.in.erase(0, at);
  }

  void write(Connection& connection, uint32_t number) {
    for (int writes = 0; writes < 4 && connection.cursor < end_of_log(); ++writes) {
      const size_t size = std::min<size_t>(end_of_log() - connection.cursor, write_bytes_max);
      const ssize_t sent =
          send(connection.fd, log_.data() + (connection.cursor - base_), size, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && errno != EAGAIN) return end(connection);
      if (sent > 0) connection.cursor += static_cast<uint64_t>(sent);
      if (sent == static_cast<ssize_t>(size)) continue;
      break;
    }
    if (connection.cursor == end_of_log()) return;
    connection.blocked = true;
    watch(EPOLL_CTL_MOD, connection.fd, EPOLLIN | EPOLLOUT, number);
  }

  uint64_t end_of_log() const { return base_ + log_.size(); }

  int listener_ = -1, epoll_ = -1;
  std::vector<Connection> connections_;
  std::string log_;
  uint64_t base_ = 0;
};

}  // namespace
}  // namespace tertulia::bench

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  return tertulia::bench::Bare().run(argc > 1 ? static_cast<uint16_t>(std::atoi(argv[1])) : 0);
}
