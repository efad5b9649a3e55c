// The door to one client's connection after the WebSocket handshake. Implemented in net/ over a socket.
// Thread: the home shard's, for all of it.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "protocol/request.h"

namespace tertulia {

// What the transport tells its session. No call is made from inside a call of the session to the transport.
class TransportUser {
 public:
  virtual ~TransportUser() = default;
  // Bytes that arrived, in the shard's shared buffer; they may be changed in place and are gone after the call.
  // Everything is taken. The user may call set_reading(false) inside.
  virtual void on_bytes(char* data, size_t size) = 0;
  // Once after want_writable().
  virtual void on_writable() = 0;
  // The connection is gone (peer closed, reset, or close() has run its course). Last call; the transport may be
  // destroyed inside.
  virtual void on_closed() = 0;
};

struct TransportHealth {
  uint32_t unacked_packets = 0;    // segments the peer's kernel has not acknowledged
  uint32_t last_ack_ms = 0;        // since the last ACK came
  uint32_t probes_unanswered = 0;  // zero-window or keep-alive probes
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual void set_user(TransportUser* user) = 0;
  // Writes what the kernel takes now. Returns bytes taken, 0 if it takes nothing now, -1 if the connection is broken
  // (on_closed follows from the loop).
  virtual int64_t send(std::span<const iovec> pieces) = 0;
  virtual void want_writable() = 0;
  // Reading is on at the start. Off leaves the bytes in the socket, so that TCP slows the peer down.
  virtual void set_reading(bool on) = 0;
  // Sends FIN after what was sent, waits for the peer's (2 s at most), then on_closed. Nothing more is read.
  virtual void close() = 0;
  // Ends at once (RST if bytes are unsent); on_closed follows.
  virtual void abort() = 0;
  virtual TransportHealth health() const = 0;
};

// What the handshake said.
struct Greeting {
  Dialect dialect = Dialect::classic;
  std::string address;  // of the client, as limits count it (behind a trusted proxy: the forwarded one)
};

// Where connections go after the handshake; one per shard. Thread: the shard's.
class SessionOpener {
 public:
  virtual ~SessionOpener() = default;
  // Takes the connection over. REQUIRES of the implementation: set_user() before it returns, or the transport is
  // destroyed, which ends the connection.
  virtual void open(std::unique_ptr<Transport> transport, Greeting greeting) = 0;
  // The node is full: ends some connections that have joined no room, the oldest first, so that others find a place.
  virtual void make_room() {}
};

}  // namespace tertulia
