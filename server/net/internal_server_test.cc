#include "net/internal_server.h"

#include "net/test_server.h"

namespace tertulia {
namespace {

class Internal : public testing::Test {
 protected:
  Internal() {
    EXPECT_EQ(listener_.open("127.0.0.1:0", "--internal-listen"), "");
    loop_.start();
  }
  ~Internal() override {
    loop_.stop();
    loop_.join();
  }
  std::string ask(std::string_view method, std::string_view path, std::string_view fields = {}) {
    TestSocket client(listener_.port());
    std::string request(method);
    request += ' ';
    request += path;
    request += " HTTP/1.1\r\nHost: internal\r\nConnection: close\r\n";
    request += fields;
    request += "\r\n";
    client.send(request);
    return client.read_all();
  }

  std::atomic<bool> ready_ = true, bus_away_ = false;
  std::atomic<int> drains_ = 0;
  SystemClock clock_;
  Log log_{clock_, 2, LogFormat::plain, LogLevel::error};
  ConnectionCounts counts_{100, 0}, refusals_{10, 0};
  TrustedProxies proxies_;
  ShardMetrics metrics_;
  EventLoop loop_{"internal"};
  InternalSite site_{{[this] { return ready_.load(); },
                      [this] { return bus_away_ ? std::string("bus: away") : std::string(); },
                      [] { return std::string("tertulia_sessions 3\n"); }, [this] { ++drains_; }}};
  HttpService service_{{loop_, site_, nullptr, counts_, proxies_, clock_, log_, metrics_}};
  Listener listener_{loop_, {&service_}, counts_, refusals_, log_};
};

TEST_F(Internal, TellsHealthReadinessAndMetrics) {
  EXPECT_EQ(status_of(ask("GET", "/healthz")), 200);
  EXPECT_EQ(status_of(ask("HEAD", "/healthz")), 200);
  EXPECT_EQ(status_of(ask("GET", "/readyz")), 200);
  ready_ = false;
  EXPECT_EQ(status_of(ask("GET", "/readyz")), 503);
  EXPECT_EQ(status_of(ask("GET", "/healthz")), 200) << "a leaving node is alive";
  const std::string metrics = ask("GET", "/metrics");
  EXPECT_TRUE(metrics.ends_with("\r\n\r\ntertulia_sessions 3\n")) << metrics;
  EXPECT_NE(metrics.find("Content-Type: text/plain; version=0.0.4"), std::string::npos);
}

TEST_F(Internal, ReadinessSaysWhatStoreAndBusLackAndDoesNotDependOnThem) {
  EXPECT_TRUE(ask("GET", "/readyz").ends_with("\r\n\r\nready\n"));
  bus_away_ = true;
  const std::string answer = ask("GET", "/readyz");
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_TRUE(answer.ends_with("\r\n\r\nready\nbus: away\n")) << answer;
}

TEST_F(Internal, DrainsOnPostOnlyAndNotForPages) {
  EXPECT_EQ(status_of(ask("GET", "/drain")), 405);
  EXPECT_EQ(status_of(ask("POST", "/drain", "Origin: http://evil.example\r\n")), 403);
  EXPECT_EQ(drains_, 0);
  EXPECT_EQ(status_of(ask("POST", "/drain")), 202);
  EXPECT_EQ(drains_, 1);
  EXPECT_EQ(ask_to_drain(listener_.address()), "");
  EXPECT_EQ(drains_, 2);
}

TEST_F(Internal, HasNoWebSocketAndNothingElse) {
  EXPECT_EQ(status_of(ask("GET", "/chat")), 404);
  EXPECT_EQ(status_of(ask("GET", "/")), 404);
  EXPECT_EQ(status_of(ask("POST", "/metrics")), 405);
}

TEST(AskToDrain, SaysWhatToDoWhereNobodyListens) {
  // A port that was free a moment ago.
  uint16_t port = 0;
  {
    TestServer server;
    server.start();
    port = server.port();
  }
  const std::string error = ask_to_drain("127.0.0.1:" + std::to_string(port));
  EXPECT_NE(error.find("Connection refused"), std::string::npos) << error;
  EXPECT_NE(error.find("--internal-listen"), std::string::npos) << error;
  EXPECT_NE(ask_to_drain("nonsense").find("no port"), std::string::npos);
}

}  // namespace
}  // namespace tertulia
