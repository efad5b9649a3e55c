// A client's connection over a non-blocking TCP socket: the Transport that a session is given.
//
// Nothing is buffered here: what arrives is read into the loop's shared buffer and handed on at once, what is sent goes
// straight to the kernel, and what the kernel does not take stays with the session. The kernel is told to take little
// (tune_socket), so that a stalled reader pins at most 256 KiB.
// Thread: its loop's, for all of it. Memory: a few hundred bytes with what Asio holds for it (measured by a test).
// Ends: destroying it closes the socket at once; the last callback may do so.
#pragma once

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <memory>

#include "net/connection_counts.h"
#include "net/event_loop.h"
#include "node/transport.h"

namespace tertulia {

using TcpSocket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, EventLoop::AsioExecutor>;

// The kernel doubles both sizes for its own book-keeping and may overrun them by one segment of 64 KiB:
// 2 × 64 + 64 waiting to be sent and 2 × 32 unread make 256 KiB at the very most; a test measures it.
inline constexpr int kSendBufferBytes = 64 << 10;
inline constexpr int kReceiveBufferBytes = 32 << 10;
// Not yet sent at most: what waits here is as old as a slow reader's line, and a private frame waits behind it.
inline constexpr int kUnsentBytesMax = 64 << 10;
// How long close() waits for the peer's FIN.
inline constexpr int64_t kCloseWaitUs = 2'000'000;

// Sets buffer sizes, no delay, keep-alive (30 s, then 3 × 10 s). Accepted sockets inherit all of it from their
// listener. Returns 0 or an errno.
int tune_socket(int fd);

class SocketTransport final : public Transport {
 public:
  // REQUIRES: the socket is open, non-blocking and of this loop; nothing waits on it.
  SocketTransport(EventLoop& loop, TcpSocket socket, ConnectionCounts::Slot slot);
  ~SocketTransport() override;
  SocketTransport(const SocketTransport&) = delete;
  SocketTransport& operator=(const SocketTransport&) = delete;

  // Ends a connection whose last bytes are on their way, as close() does, without anybody waiting for it.
  static void close_alone(EventLoop& loop, TcpSocket socket, ConnectionCounts::Slot slot);

  // Reading begins with the first user. REQUIRES: the user outlives the transport, or its on_closed.
  void set_user(TransportUser* user) override;
  int64_t send(std::span<const iovec> pieces) override;
  void want_writable() override;
  void set_reading(bool on) override;
  void close() override;
  void abort() override;
  TransportHealth health() const override;

 private:
  class Core;
  boost::intrusive_ptr<Core> core_;
};

}  // namespace tertulia
