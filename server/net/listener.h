// A listening socket: accepts, counts, and hands each connection to the shard that has the fewest.
//
// Thread: its loop's; open() and the destructor from the owner while the loop is not running. Memory: fixed.
// Ends: before its loop. It is never closed earlier, so that a draining node still answers.
#pragma once

#include <atomic>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "net/http_connection.h"

namespace tertulia {

// "127.0.0.1:8080", "[::1]:8080", "0.0.0.0:8080", "localhost:8080", ":8080" (all addresses of IPv4).
struct ListenAddress {
  std::string host;
  uint16_t port = 0;
};
// Returns the sentence that says what is wrong with it instead.
std::variant<ListenAddress, std::string> parse_listen_address(std::string_view text);

class Listener {
 public:
  // `shards` is not empty; each is served on its own loop. `refusals` bounds how many connections are being told that
  // there is no place for them; those beyond are closed without a word. Both counts outlive all loops.
  Listener(EventLoop& loop, std::vector<HttpService*> shards, ConnectionCounts& counts, ConnectionCounts& refusals,
           Log& log);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Binds and listens, accepting as soon as the loop runs. Returns an empty string, or what went wrong and what to do.
  // `option` is what the operator calls this address ("--listen").
  [[nodiscard]] std::string open(std::string_view address, std::string_view option);
  // The port that was really bound, where 0 was asked for.
  uint16_t port() const { return port_; }
  // As a browser would write it: "127.0.0.1:8080".
  const std::string& address() const { return address_; }

 private:
  void arm();
  void accept_some();
  void take(int fd, const sockaddr_storage& from);
  HttpService& least_loaded() const;
  void press_out_idle();

  EventLoop& loop_;
  const std::vector<HttpService*> shards_;
  ConnectionCounts& counts_;
  ConnectionCounts& refusals_;
  Log& log_;
  boost::asio::basic_socket_acceptor<boost::asio::ip::tcp, EventLoop::AsioExecutor> acceptor_;
  Timers::Id pause_ = 0;
  int64_t pressed_out_us_ = 0;
  uint16_t port_ = 0;
  std::string address_;
};

// Raises the soft limit of open files to the hard one. Returns the limit that now holds.
uint64_t raise_open_files_limit();

}  // namespace tertulia
