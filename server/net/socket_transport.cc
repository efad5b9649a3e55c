#include "net/socket_transport.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <utility>

#include "base/check.h"

namespace tertulia {

namespace {

constexpr size_t kPiecesMax = 1024;  // the kernel's UIO_MAXIOV

bool try_again(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

ssize_t send_pieces(int fd, std::span<const iovec> pieces) {
  constexpr int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
  // Nearly always there is one, and then the kernel need not fetch and check a header and a list.
  if (pieces.size() == 1) return ::send(fd, pieces[0].iov_base, pieces[0].iov_len, flags);
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());  // sendmsg only reads it
  message.msg_iovlen = std::min(pieces.size(), kPiecesMax);
  return ::sendmsg(fd, &message, flags);
}

}  // namespace

int tune_socket(int fd) {
  const struct {
    int level, name, value;
  } settings[] = {
      {SOL_SOCKET, SO_SNDBUF, kSendBufferBytes},
      {SOL_SOCKET, SO_RCVBUF, kReceiveBufferBytes},
      {IPPROTO_TCP, TCP_NOTSENT_LOWAT, kUnsentBytesMax},
      {IPPROTO_TCP, TCP_NODELAY, 1},
      {SOL_SOCKET, SO_KEEPALIVE, 1},
      {IPPROTO_TCP, TCP_KEEPIDLE, 30},
      {IPPROTO_TCP, TCP_KEEPINTVL, 10},
      {IPPROTO_TCP, TCP_KEEPCNT, 3},
  };
  for (const auto& setting : settings) {
    if (setsockopt(fd, setting.level, setting.name, &setting.value, sizeof setting.value) != 0) return errno;
  }
  return 0;
}

// What Asio's handlers hold on to. A handler may still be on its way when the transport is gone; it then finds state
// `gone` and does nothing.
class SocketTransport::Core {
 public:
  Core(EventLoop& loop, TcpSocket socket, ConnectionCounts::Slot slot)
      : loop_(loop), socket_(std::move(socket)), slot_(std::move(slot)) {}
  ~Core() { loop_.cancel(close_timer_); }

  friend void intrusive_ptr_add_ref(Core* core) { ++core->references_; }
  friend void intrusive_ptr_release(Core* core) {
    if (--core->references_ == 0) delete core;
  }

  void set_user(TransportUser* user) {
    user_ = user;
    if (state_ == State::open && reading_) arm_read();
  }

  int64_t send(std::span<const iovec> pieces) {
    if (state_ != State::open) return -1;
    const ssize_t sent = send_pieces(socket_.native_handle(), pieces);
    if (sent >= 0) return sent;
    if (try_again(errno) || errno == ENOBUFS || errno == ENOMEM) return 0;
    break_off();
    return -1;
  }

  void want_writable() {
    if (state_ != State::open || write_armed_) return;
    write_armed_ = true;
    socket_.async_wait(TcpSocket::wait_write, [self = self()](boost::system::error_code error) {
      self->write_armed_ = false;
      // An error of the connection is found out by send(); only a closed socket ends here.
      if (error || self->state_ != State::open) return;
      self->user_->on_writable();
    });
  }

  void set_reading(bool on) {
    reading_ = on;
    if (on && state_ == State::open && user_) arm_read();
    // Off: the wait that is under way finds out when it ends, so that a short pause costs no system call.
  }

  void close() {
    if (state_ != State::open) return;
    state_ = State::closing;
    ::shutdown(socket_.native_handle(), SHUT_WR);
    close_timer_ = loop_.after(kCloseWaitUs, [this] { finish(); });
    arm_read();
  }

  void abort() {
    if (state_ == State::broken || state_ == State::gone) return;
    int unsent = 0;
    if (::ioctl(socket_.native_handle(), SIOCOUTQ, &unsent) != 0 || unsent > 0) {
      const linger at_once{1, 0};
      ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    break_off();
  }

  TransportHealth health() {
    TransportHealth health;
    tcp_info info{};
    socklen_t size = sizeof info;
    if (state_ == State::broken || state_ == State::gone ||
        ::getsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
      return health;
    }
    health.unacked_packets = info.tcpi_unacked;
    health.last_ack_ms = info.tcpi_last_ack_recv;
    health.probes_unanswered = info.tcpi_probes;
    return health;
  }

  // The transport is being destroyed.
  void let_go() {
    user_ = nullptr;
    shut();
  }

 private:
  enum class State : uint8_t {
    open,
    closing,  // our FIN is out, what comes is thrown away until the peer's
    broken,   // the socket is closed, on_closed is on its way
    gone,
  };

  boost::intrusive_ptr<Core> self() { return boost::intrusive_ptr<Core>(this); }

  void arm_read() {
    if (read_armed_) return;
    read_armed_ = true;
    socket_.async_wait(TcpSocket::wait_read, [self = self()](boost::system::error_code error) {
      self->read_armed_ = false;
      if (!error) self->on_readable();
    });
  }

  // While nothing is read a reset would go unnoticed until the next write.
  void watch_errors() {
    if (errors_armed_) return;
    errors_armed_ = true;
    socket_.async_wait(TcpSocket::wait_error, [self = self()](boost::system::error_code error) {
      self->errors_armed_ = false;
      if (error || self->state_ != State::open) return;
      int pending = 0;
      socklen_t size = sizeof pending;
      ::getsockopt(self->socket_.native_handle(), SOL_SOCKET, SO_ERROR, &pending, &size);
      // Without an error it was urgent data, which nobody here uses; watching on would only find it again.
      if (pending != 0) self->finish();
    });
  }

  void on_readable() {
    if (state_ == State::closing) return discard();
    if (state_ != State::open) return;
    if (!reading_) return watch_errors();
    const std::span<char> buffer = loop_.buffer();
    const ssize_t got = ::recv(socket_.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && !try_again(errno))) return finish();
    if (got > 0) user_->on_bytes(buffer.data(), static_cast<size_t>(got));
    if (state_ != State::open) return;
    if (reading_) {
      arm_read();
    } else {
      watch_errors();
    }
  }

  void discard() {
    const std::span<char> buffer = loop_.buffer();
    const ssize_t got = ::recv(socket_.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && !try_again(errno))) return finish();
    arm_read();
  }

  // From inside a call of the user: its on_closed has to come from the loop.
  void break_off() {
    shut();
    state_ = State::broken;
    boost::asio::post(loop_.context(), [self = self()] {
      if (self->state_ == State::broken) self->finish();
    });
  }

  void finish() {
    if (state_ == State::gone) return;
    const auto alive = self();
    shut();
    if (TransportUser* user = std::exchange(user_, nullptr)) user->on_closed();
  }

  void shut() {
    state_ = State::gone;
    loop_.cancel(std::exchange(close_timer_, 0));
    boost::system::error_code ignored;
    socket_.close(ignored);
    slot_.release();
  }

  EventLoop& loop_;
  TcpSocket socket_;
  TransportUser* user_ = nullptr;
  ConnectionCounts::Slot slot_;
  Timers::Id close_timer_ = 0;
  uint32_t references_ = 0;
  State state_ = State::open;
  bool reading_ = true;
  bool read_armed_ = false;
  bool write_armed_ = false;
  bool errors_armed_ = false;
};

SocketTransport::SocketTransport(EventLoop& loop, TcpSocket socket, ConnectionCounts::Slot slot)
    : core_(new Core(loop, std::move(socket), std::move(slot))) {}

SocketTransport::~SocketTransport() {
  core_->let_go();
}

void SocketTransport::close_alone(EventLoop& loop, TcpSocket socket, ConnectionCounts::Slot slot) {
  // Held by the read that close() waits in; the timer's finish() cancels that read.
  boost::intrusive_ptr<Core> core(new Core(loop, std::move(socket), std::move(slot)));
  core->close();
}

void SocketTransport::set_user(TransportUser* user) {
  CHECK(user != nullptr, "a transport's user is somebody");
  core_->set_user(user);
}
int64_t SocketTransport::send(std::span<const iovec> pieces) {
  return core_->send(pieces);
}
void SocketTransport::want_writable() {
  core_->want_writable();
}
void SocketTransport::set_reading(bool on) {
  core_->set_reading(on);
}
void SocketTransport::close() {
  core_->close();
}
void SocketTransport::abort() {
  core_->abort();
}
TransportHealth SocketTransport::health() const {
  return core_->health();
}

}  // namespace tertulia
