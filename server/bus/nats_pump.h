// The one thread that reads and writes a connection of libnats, in the library's event-loop mode.
//
// The library's own threads read and write one TLS session at the same time, which OpenSSL forbids (mended long after
// the version packaged), and hold the connection's lock while a write waits for a server that hangs. Here one thread
// does both, without waiting; whoever publishes only adds to a buffer. For that reason everything that ends the
// connection happens on this thread too: nothing else closes what it reads.
// Thread: hang_up() from one at a time; the library calls the rest. Ends: hang_up() or the destructor, which wait for
// the thread, half a second at most. The connection outlives it.
#pragma once

#include <nats/nats.h>

#include <atomic>
#include <thread>

namespace tertulia {

class NatsPump {
 public:
  NatsPump();
  ~NatsPump();
  NatsPump(const NatsPump&) = delete;
  NatsPump& operator=(const NatsPump&) = delete;

  // From then on a connection made with these options is read and written here. One connection a pump.
  natsStatus use(natsOptions* options);
  // Closes the connection.
  void hang_up();

 private:
  static natsStatus attach(void** self, void* loop, natsConnection* connection, natsSock socket);
  static natsStatus want_read(void* self, bool add);
  static natsStatus want_write(void* self, bool add);
  static natsStatus detach(void* self);
  void wake();
  void run();

  const int wake_fd_;
  natsConnection* connection_ = nullptr;  // constant while the thread runs
  int socket_ = -1;                       // as above
  std::atomic<bool> reads_ = true, writes_ = false, detached_ = false, asked_to_end_ = false;
  std::thread thread_;
};

}  // namespace tertulia
