#include "net/socket_transport.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>

#include <future>

#include "net/test_socket.h"

namespace tertulia {
namespace {

// A user that writes down what it is told. All of it on the loop's thread; `closed` may be read from any.
struct Recorder : TransportUser {
  void on_bytes(char* data, size_t size) override {
    EXPECT_FALSE(inside_) << "called from inside a call to the transport";
    largest = std::max(largest, size);
    text.append(data, size);
    received += size;
    if (on_text) on_text();
  }
  void on_writable() override {
    EXPECT_FALSE(inside_) << "called from inside a call to the transport";
    ++writable;
    if (on_room) on_room();
  }
  void on_closed() override {
    EXPECT_FALSE(inside_) << "called from inside a call to the transport";
    EXPECT_FALSE(closed);
    if (on_end) on_end();
    closed = true;
  }
  // Wraps a call to the transport, so that a callback within is noticed.
  template <class F>
  auto call(F f) {
    inside_ = true;
    auto result = f();
    inside_ = false;
    return result;
  }

  std::string text;
  size_t largest = 0;
  std::atomic<size_t> received = 0;
  std::atomic<int> writable = 0;
  std::atomic<bool> closed = false;
  std::function<void()> on_text, on_room, on_end;

 private:
  bool inside_ = false;
};

class Transports : public testing::Test {
 protected:
  Transports() : listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    EXPECT_EQ(tune_socket(listening_.get()), 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listening_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listening_.get(), 128), 0);
    socklen_t size = sizeof address;
    EXPECT_EQ(::getsockname(listening_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~Transports() override {
    loop_.stop();
    loop_.join();
    transport_.reset();
  }

  // The next connection in the queue, as a transport; before start().
  std::unique_ptr<SocketTransport> accept() {
    const int fd = ::accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    EXPECT_GE(fd, 0);
    TcpSocket socket(loop_.context());
    socket.assign(boost::asio::ip::tcp::v4(), fd);
    fd_ = fd;
    return std::make_unique<SocketTransport>(loop_, std::move(socket), ConnectionCounts::Slot());
  }
  void open(TransportUser& user) {
    transport_ = accept();
    transport_->set_user(&user);
    loop_.start();
  }
  // Runs on the loop and waits for it.
  template <class F>
  auto on_loop(F f) {
    std::promise<decltype(f())> result;
    loop_.post([&] { result.set_value(f()); });
    return result.get_future().get();
  }
  int64_t send(std::string_view text) {
    const iovec piece{const_cast<char*>(text.data()), text.size()};
    return transport_->send({&piece, 1});
  }

  UniqueFd listening_;
  uint16_t port_ = 0;
  int fd_ = -1;
  EventLoop loop_{"test"};
  Recorder user_;
  std::unique_ptr<SocketTransport> transport_;
};

TEST_F(Transports, BytesGoBothWays) {
  TestSocket peer(port_);
  open(user_);
  EXPECT_TRUE(peer.send("hello"));
  EXPECT_TRUE(eventually([&] { return user_.received == 5; }));
  EXPECT_EQ(on_loop([&] { return user_.call([&] { return send("world"); }); }), 5);
  EXPECT_EQ(peer.read_bytes(5), "world");
  EXPECT_EQ(on_loop([&] { return user_.text; }), "hello");
}

TEST_F(Transports, ManyPiecesGoInOneCall) {
  TestSocket peer(port_);
  open(user_);
  std::string expected;
  std::vector<std::string> texts;
  for (int i = 0; i < 3000; ++i) texts.push_back(std::to_string(i) + ",");
  std::vector<iovec> pieces;
  for (std::string& text : texts) pieces.push_back({text.data(), text.size()});
  const int64_t sent = on_loop([&] { return transport_->send(pieces); });
  for (int i = 0; i < 1024; ++i) expected += texts[static_cast<size_t>(i)];
  EXPECT_EQ(sent, static_cast<int64_t>(expected.size())) << "the kernel takes 1,024 pieces at a time";
  EXPECT_EQ(peer.read_bytes(expected.size()), expected);
}

TEST_F(Transports, OneConnectionReadsAtMostABufferBeforeOthersHaveTheirTurn) {
  TestSocket peer(port_);
  open(user_);
  const std::string text(200'000, 'x');
  EXPECT_TRUE(peer.send(text));
  EXPECT_TRUE(eventually([&] { return user_.received == text.size(); }));
  EXPECT_LE(on_loop([&] { return user_.largest; }), EventLoop::kBufferBytes);
}

TEST_F(Transports, WhatIsNotReadStaysInTheSocketAndComesLater) {
  TestSocket peer(port_);
  user_.on_text = [&] { transport_->set_reading(false); };
  open(user_);
  EXPECT_TRUE(peer.send("a"));
  EXPECT_TRUE(eventually([&] { return user_.received == 1; }));
  EXPECT_TRUE(peer.send("b"));
  // Two turns of the loop: had the byte been read, it would be here.
  on_loop([&] { return 0; });
  on_loop([&] { return 0; });
  EXPECT_EQ(user_.received, 1u);
  on_loop([&] {
    user_.on_text = nullptr;
    transport_->set_reading(true);
    return 0;
  });
  EXPECT_TRUE(eventually([&] { return user_.received == 2; }));
}

TEST_F(Transports, AResetIsNoticedWhileNothingIsRead) {
  TestSocket peer(port_);
  user_.on_text = [&] { transport_->set_reading(false); };
  open(user_);
  EXPECT_TRUE(peer.send("a"));
  EXPECT_TRUE(eventually([&] { return user_.received == 1; }));
  peer.reset();
  EXPECT_TRUE(eventually([&] { return user_.closed.load(); }));
}

TEST_F(Transports, AFullSocketTakesNothingAndSaysWhenItTakesMore) {
  TestSocket peer(port_, 4096);
  open(user_);
  const std::string text(16 << 10, 'x');
  size_t taken = 0;
  on_loop([&] {
    for (;;) {
      const int64_t sent = user_.call([&] { return send(text); });
      EXPECT_GE(sent, 0);
      if (sent <= 0) break;
      taken += static_cast<size_t>(sent);
    }
    user_.call([&] { return transport_->want_writable(), transport_->want_writable(), 0; });
    return 0;
  });
  on_loop([&] { return 0; });
  EXPECT_EQ(user_.writable, 0);
  EXPECT_EQ(peer.read_bytes(taken).size(), taken);
  EXPECT_TRUE(eventually([&] { return user_.writable == 1; }));
}

TEST_F(Transports, AStalledReaderPinsAtMost256KiBInTheKernel) {
  TestSocket peer(port_, 4096);
  user_.on_text = [&] { transport_->set_reading(false); };
  open(user_);
  // It also sends without being read.
  ::fcntl(peer.fd(), F_SETFL, O_NONBLOCK);
  const std::string text(1 << 20, 'x');
  EXPECT_TRUE(eventually([&] {
    on_loop([&] { return send(text); });
    return ::send(peer.fd(), text.data(), text.size(), MSG_NOSIGNAL) < 0 && on_loop([&] { return send(text); }) == 0;
  }));
  uint32_t memory[9] = {};  // SK_MEMINFO_*: 0 read queue, 5 write queue, 7 backlog
  socklen_t size = sizeof memory;
  ASSERT_EQ(::getsockopt(fd_, SOL_SOCKET, SO_MEMINFO, memory, &size), 0);
  RecordProperty("read_queue_bytes", static_cast<int>(memory[0]));
  RecordProperty("write_queue_bytes", static_cast<int>(memory[5]));
  std::printf("read queue %u, write queue %u, backlog %u bytes\n", memory[0], memory[5], memory[7]);
  EXPECT_GT(memory[5], 0u);
  EXPECT_LE(memory[0] + memory[5] + memory[7], 256u << 10);
}

TEST_F(Transports, AcceptedSocketsInheritWhatTheListenerWasTold) {
  TestSocket peer(port_);
  open(user_);
  const auto option = [&](int level, int name) {
    int value = 0;
    socklen_t size = sizeof value;
    EXPECT_EQ(::getsockopt(fd_, level, name, &value, &size), 0);
    return value;
  };
  EXPECT_EQ(option(SOL_SOCKET, SO_SNDBUF), 2 * kSendBufferBytes);
  EXPECT_EQ(option(SOL_SOCKET, SO_RCVBUF), 2 * kReceiveBufferBytes);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_NOTSENT_LOWAT), kUnsentBytesMax);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPIDLE), 30);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPINTVL), 10);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPCNT), 3);
}

TEST_F(Transports, ThePeersCloseIsTold) {
  TestSocket peer(port_);
  open(user_);
  peer.close();
  EXPECT_TRUE(eventually([&] { return user_.closed.load(); }));
  EXPECT_EQ(on_loop([&] { return user_.call([&] { return send("x"); }); }), -1);
}

TEST_F(Transports, CloseSendsTheRestThenWaitsForThePeersEnd) {
  TestSocket peer(port_);
  open(user_);
  on_loop([&] { return send("last words"); });
  on_loop([&] { return user_.call([&] { return transport_->close(), 0; }); });
  EXPECT_EQ(peer.read_all(), "last words");
  EXPECT_FALSE(peer.was_reset());
  EXPECT_FALSE(user_.closed);
  EXPECT_TRUE(peer.send("thrown away"));
  peer.close();
  EXPECT_TRUE(eventually([&] { return user_.closed.load(); }));
  EXPECT_EQ(user_.received, 0u) << "nothing is read after close()";
}

TEST_F(Transports, CloseDoesNotWaitLongerThanTwoSeconds) {
  TestSocket peer(port_);
  open(user_);
  const auto begin = std::chrono::steady_clock::now();
  on_loop([&] { return transport_->close(), 0; });
  EXPECT_TRUE(eventually([&] { return user_.closed.load(); }));
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took, std::chrono::microseconds(kCloseWaitUs));
  EXPECT_LT(took, std::chrono::microseconds(3 * kCloseWaitUs));
}

TEST_F(Transports, AbortEndsAtOnceAndResetsWhatIsUnsent) {
  TestSocket peer(port_, 4096);
  open(user_);
  on_loop([&] {
    const std::string text(1 << 20, 'x');
    send(text);
    return user_.call([&] { return transport_->abort(), 0; });
  });
  EXPECT_TRUE(eventually([&] { return user_.closed.load(); }));
  peer.read_all();
  EXPECT_TRUE(peer.was_reset());
}

TEST_F(Transports, AWriteToABrokenConnectionSaysSoAndTheEndComesFromTheLoop) {
  TestSocket peer(port_);
  user_.on_text = [&] { transport_->set_reading(false); };
  open(user_);
  EXPECT_TRUE(peer.send("a"));
  EXPECT_TRUE(eventually([&] { return user_.received == 1; }));
  on_loop([&] {
    peer.reset();
    // The reset is in the kernel by now or a moment later; either way the write that finds it says -1.
    int64_t sent = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (sent >= 0 && std::chrono::steady_clock::now() < deadline) sent = user_.call([&] { return send("x"); });
    EXPECT_EQ(sent, -1);
    EXPECT_FALSE(user_.closed);
    return 0;
  });
  EXPECT_TRUE(eventually([&] { return user_.closed.load(); }));
}

TEST_F(Transports, TheTransportMayBeDestroyedInsideItsLastCall) {
  TestSocket peer(port_);
  user_.on_end = [&] { transport_.reset(); };
  open(user_);
  peer.close();
  EXPECT_TRUE(eventually([&] { return user_.closed.load(); }));
}

TEST_F(Transports, DestroyedWithWaitsUnderWayItIsSilent) {
  TestSocket peer(port_);
  open(user_);
  on_loop([&] {
    transport_->want_writable();
    transport_.reset();
    return 0;
  });
  peer.read_all();
  EXPECT_TRUE(peer.ended());
  on_loop([&] { return 0; });
  EXPECT_FALSE(user_.closed);
  EXPECT_EQ(user_.writable, 0);
}

TEST_F(Transports, HealthTellsOfUnacknowledgedBytesAndProbes) {
  TestSocket peer(port_, 4096);
  open(user_);
  on_loop([&] { return send("x"); });
  EXPECT_EQ(peer.read_bytes(1), "x");
  EXPECT_TRUE(eventually([&] { return on_loop([&] { return transport_->health().unacked_packets; }) == 0; }));
  EXPECT_EQ(on_loop([&] { return transport_->health().probes_unanswered; }), 0u);
}

TEST_F(Transports, ASlotIsFreeWhenTheConnectionIsGone) {
  ConnectionCounts counts(10, 10);
  TestSocket peer(port_);
  const int fd = ::accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  TcpSocket socket(loop_.context());
  socket.assign(boost::asio::ip::tcp::v4(), fd);
  ConnectionCounts::Slot slot;
  EXPECT_EQ(counts.take("127.0.0.1", slot), ConnectionCounts::Verdict::admitted);
  transport_ = std::make_unique<SocketTransport>(loop_, std::move(socket), std::move(slot));
  transport_->set_user(&user_);
  EXPECT_EQ(counts.in_all(), 1u);
  loop_.start();
  peer.close();
  EXPECT_TRUE(eventually([&] { return counts.in_all() == 0; }));
  EXPECT_TRUE(eventually([&] { return user_.closed.load(); }));
}

}  // namespace
}  // namespace tertulia
