#include "bus/nats_pump.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <system_error>

namespace tertulia {

NatsPump::NatsPump() : wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

NatsPump::~NatsPump() {
  hang_up();
  ::close(wake_fd_);
}

natsStatus NatsPump::use(natsOptions* options) {
  return wake_fd_ < 0 ? NATS_SYS_ERROR : natsOptions_SetEventLoop(options, this, attach, want_read, want_write, detach);
}

void NatsPump::hang_up() {
  if (!thread_.joinable()) return;
  asked_to_end_ = true;
  wake();
  thread_.join();
}

natsStatus NatsPump::attach(void** self, void* loop, natsConnection* connection, natsSock socket) {
  auto* const pump = static_cast<NatsPump*>(loop);
  *self = pump;
  pump->connection_ = connection;
  pump->socket_ = socket;
  try {
    pump->thread_ = std::thread([pump] { pump->run(); });
  } catch (const std::system_error&) {
    return NATS_SYS_ERROR;
  }
  ::pthread_setname_np(pump->thread_.native_handle(), "bus-pump");
  return NATS_OK;
}

natsStatus NatsPump::want_read(void* self, bool add) {
  auto* const pump = static_cast<NatsPump*>(self);
  pump->reads_ = add;
  pump->wake();
  return NATS_OK;
}

natsStatus NatsPump::want_write(void* self, bool add) {
  auto* const pump = static_cast<NatsPump*>(self);
  pump->writes_ = add;
  if (add) pump->wake();
  return NATS_OK;
}

natsStatus NatsPump::detach(void* self) {
  auto* const pump = static_cast<NatsPump*>(self);
  pump->detached_ = true;
  pump->wake();
  return NATS_OK;
}

void NatsPump::wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

void NatsPump::run() {
  while (!detached_) {
    if (asked_to_end_) {
      natsConnection_Close(connection_);
      break;
    }
    const bool reads = reads_, writes = writes_;
    const short events = static_cast<short>((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
    pollfd fds[2] = {{wake_fd_, POLLIN, 0}, {events != 0 ? socket_ : -1, events, 0}};
    ::poll(fds, 2, -1);
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t woken = ::read(wake_fd_, &count, sizeof count);
    // Either may end the connection, and with it the socket.
    if (reads && (fds[1].revents & (POLLIN | POLLERR | POLLHUP)) != 0) natsConnection_ProcessReadEvent(connection_);
    if (writes && !detached_ && (fds[1].revents & POLLOUT) != 0) natsConnection_ProcessWriteEvent(connection_);
  }
  nats_ReleaseThreadMemory();
}

}  // namespace tertulia
