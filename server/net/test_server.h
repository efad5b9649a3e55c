// A small world for tests of HTTP and listeners: one shard on loopback whose sessions send back what they are sent.
// Set what is wanted before start(). Thread: the test's.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "net/listener.h"
#include "net/public_site.h"
#include "net/test_socket.h"

namespace tertulia {

// Sends raw bytes back; what a session would make of them is tested elsewhere.
class RawEchoOpener final : public SessionOpener {
 private:
  struct User;

 public:
  // While the loop is not running.
  void close_all() {
    for (User* user : std::exchange(open_, {})) delete user;
  }
  void open(std::unique_ptr<Transport> transport, Greeting greeting) override {
    {
      std::lock_guard lock(mutex_);
      greetings_.push_back(std::move(greeting));
    }
    open_.insert(new User(*this, std::move(transport)));
  }
  std::vector<Greeting> greetings() {
    std::lock_guard lock(mutex_);
    return greetings_;
  }

 private:
  struct User final : TransportUser {
    User(RawEchoOpener& owner, std::unique_ptr<Transport> connection)
        : opener(owner), transport(std::move(connection)) {
      transport->set_user(this);
    }
    void on_bytes(char* data, size_t size) override {
      const iovec piece{data, size};
      transport->send({&piece, 1});
    }
    void on_writable() override {}
    void on_closed() override {
      opener.open_.erase(this);
      delete this;
    }
    RawEchoOpener& opener;
    std::unique_ptr<Transport> transport;
  };
  std::set<User*> open_;  // the loop's thread, or the owner's while it is not running
  std::mutex mutex_;
  std::vector<Greeting> greetings_;
};

class TestServer {
 public:
  ~TestServer() { stop(); }

  void start() {
    loop_.emplace("test");
    site_.emplace(origins, assets);
    HttpService::Parts parts{*loop_, *site_, &opener, counts, proxies, clock, log, metrics};
    parts.proxy_protocol = proxy_protocol;
    parts.head_us = head_us;
    service_.emplace(parts);
    listener_.emplace(*loop_, std::vector<HttpService*>{&*service_}, counts, refusals, log);
    ASSERT_EQ(listener_->open("127.0.0.1:0", "--listen"), "");
    loop_->start();
  }
  void stop() {
    if (!loop_) return;
    loop_->stop();
    loop_->join();
    listener_.reset();
    service_.reset();
    opener.close_all();
    loop_.reset();
  }

  uint16_t port() const { return listener_->port(); }
  PublicSite& site() { return *site_; }

  // Sends the text on a new connection and returns everything up to the server's close.
  std::string answer(std::string_view text) {
    TestSocket client(port());
    client.send(text);
    return client.read_all();
  }

  SystemClock clock;
  Log log{clock, 2, LogFormat::plain, LogLevel::error};
  ShardMetrics metrics;
  OriginPolicy origins;
  std::span<const Asset> assets;
  TrustedProxies proxies;
  bool proxy_protocol = false;
  int64_t head_us = 10'000'000;
  ConnectionCounts counts{10'000, 0};
  ConnectionCounts refusals{100, 0};
  RawEchoOpener opener;

 private:
  std::optional<EventLoop> loop_;
  std::optional<PublicSite> site_;
  std::optional<HttpService> service_;
  std::optional<Listener> listener_;
};

// The status of an answer, 0 if there is none.
inline int status_of(std::string_view answer) {
  return answer.starts_with("HTTP/1.1 ") && answer.size() > 12 ? std::atoi(answer.data() + 9) : 0;
}

// A good handshake, with other fields in it.
inline std::string handshake(std::string_view more = {}, std::string_view path = "/chat") {
  std::string text = "GET ";
  text += path;
  text +=
      " HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  text += more;
  text += "\r\n";
  return text;
}

}  // namespace tertulia
