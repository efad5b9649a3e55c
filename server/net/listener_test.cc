#include "net/listener.h"

#include <sys/resource.h>

#include "net/test_server.h"

namespace tertulia {
namespace {

TEST(ListenAddress, IsHostAndPort) {
  struct {
    const char *text, *host;
    uint16_t port;
  } const rows[] = {
      {"127.0.0.1:8080", "127.0.0.1", 8080},   {":80", "0.0.0.0", 80}, {"[::1]:0", "::1", 0},
      {"localhost:65535", "localhost", 65535}, {"[::]:1", "::", 1},
  };
  for (const auto& row : rows) {
    const auto parsed = parse_listen_address(row.text);
    ASSERT_TRUE(std::holds_alternative<ListenAddress>(parsed)) << row.text;
    EXPECT_EQ(std::get<ListenAddress>(parsed).host, row.host);
    EXPECT_EQ(std::get<ListenAddress>(parsed).port, row.port);
  }
  for (const char* text : {"", "8080", "a:", "a:x", "a:65536", "a:-1", "a: 1", "::1:80", "a:1x"}) {
    EXPECT_TRUE(std::holds_alternative<std::string>(parse_listen_address(text))) << text;
  }
}

struct World {
  SystemClock clock;
  Log log{clock, 2, LogFormat::plain, LogLevel::error};
  ConnectionCounts counts{1000, 0}, refusals{10, 0};
  TrustedProxies proxies;
  PublicSite site{{}, {}};
  RawEchoOpener opener;
};

TEST(Listener, AnAddressInUseIsToldWithWhatToDo) {
  World world;
  ShardMetrics metrics;
  EventLoop loop("test");
  HttpService service({loop, world.site, &world.opener, world.counts, world.proxies, world.clock, world.log, metrics});
  Listener first(loop, {&service}, world.counts, world.refusals, world.log);
  ASSERT_EQ(first.open("127.0.0.1:0", "--listen"), "");
  EXPECT_NE(first.port(), 0) << "the port that was really taken";
  EXPECT_EQ(first.address(), "127.0.0.1:" + std::to_string(first.port()));
  Listener second(loop, {&service}, world.counts, world.refusals, world.log);
  const std::string error = second.open(first.address(), "--listen");
  EXPECT_NE(error.find(first.address()), std::string::npos) << error;
  EXPECT_NE(error.find("Address already in use"), std::string::npos) << error;
  EXPECT_NE(error.find("--listen"), std::string::npos) << error;
  Listener third(loop, {&service}, world.counts, world.refusals, world.log);
  EXPECT_NE(third.open("192.0.2.1:0", "--listen").find("does not have that address"), std::string::npos);
  Listener fourth(loop, {&service}, world.counts, world.refusals, world.log);
  EXPECT_NE(fourth.open("nonsense", "--listen").find("no port"), std::string::npos);
}

TEST(Listener, HandsEachConnectionToTheShardThatHasTheFewest) {
  World world;
  ShardMetrics metrics_a, metrics_b;
  EventLoop loop("accept"), loop_a("a"), loop_b("b");
  RawEchoOpener opener_a, opener_b;
  {
    HttpService a({loop_a, world.site, &opener_a, world.counts, world.proxies, world.clock, world.log, metrics_a});
    HttpService b({loop_b, world.site, &opener_b, world.counts, world.proxies, world.clock, world.log, metrics_b});
    Listener listener(loop, {&a, &b}, world.counts, world.refusals, world.log);
    ASSERT_EQ(listener.open("127.0.0.1:0", "--listen"), "");
    for (EventLoop* each : {&loop, &loop_a, &loop_b}) each->start();
    std::vector<TestSocket> clients;
    for (int i = 0; i < 20; ++i) {
      clients.emplace_back(listener.port());
      clients.back().send(handshake());
      ASSERT_EQ(status_of(clients.back().read_until("\r\n\r\n")), 101);
    }
    EXPECT_EQ(loop_a.connections(), 10u);
    EXPECT_EQ(loop_b.connections(), 10u);
    // All of one shard's go; the next ones are for it.
    for (int i = 0; i < 20; i += 2) clients[static_cast<size_t>(i)].close();
    ASSERT_TRUE(eventually([&] { return world.counts.in_all() == 10; }));
    for (int i = 0; i < 10; ++i) {
      clients.emplace_back(listener.port());
      clients.back().send(handshake());
      ASSERT_EQ(status_of(clients.back().read_until("\r\n\r\n")), 101);
    }
    EXPECT_EQ(loop_a.connections(), 10u);
    EXPECT_EQ(loop_b.connections(), 10u);
    for (EventLoop* each : {&loop, &loop_a, &loop_b}) each->stop();
    for (EventLoop* each : {&loop, &loop_a, &loop_b}) each->join();
  }
  opener_a.close_all();
  opener_b.close_all();
}

TEST(Listener, WithoutDescriptorsItWaitsAndGoesOn) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizers need descriptors of their own: to see whether memory can be read they open a pipe";
#endif
  TestServer server;
  server.start();
  TestSocket first(server.port());
  first.send(handshake());
  ASSERT_EQ(status_of(first.read_until("\r\n\r\n")), 101);

  // Connected before there are none left, so that only the server's end is missing.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  std::vector<UniqueFd> hogs;
  TestSocket second(server.port());
  ASSERT_TRUE(eventually([&] { return server.counts.in_all() == 2; }));
  rlimit low = before;
  low.rlim_cur = 256;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  // One descriptor is kept for a client, and given to it by connecting with the last.
  for (;;) {
    UniqueFd hog(::dup(0));
    if (hog.get() < 0) break;
    hogs.push_back(std::move(hog));
  }
  ASSERT_FALSE(hogs.empty());
  hogs.pop_back();
  TestSocket third(server.port());
  ASSERT_TRUE(third.connected()) << "the backlog takes it";
  third.send(handshake());
  second.send(handshake());
  EXPECT_EQ(status_of(second.read_until("\r\n\r\n")), 101) << "those who are in are served";
  EXPECT_EQ(third.read_until([](const std::string& text) { return !text.empty(); }, 150), "");
  hogs.clear();
  EXPECT_EQ(status_of(third.read_until("\r\n\r\n")), 101);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST(Listener, ConnectionsOnTheirWayToAShardThatEndsAreClosed) {
  World world;
  ShardMetrics metrics;
  EventLoop loop("accept"), shard("shard");
  HttpService service({shard, world.site, &world.opener, world.counts, world.proxies, world.clock, world.log, metrics});
  Listener listener(loop, {&service}, world.counts, world.refusals, world.log);
  ASSERT_EQ(listener.open("127.0.0.1:0", "--listen"), "");
  loop.start();  // the shard is not
  TestSocket client(listener.port());
  ASSERT_TRUE(eventually([&] { return world.counts.in_all() == 1; }));
  shard.stop();
  shard.join();
  client.read_all();
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(world.counts.in_all(), 0u);
  loop.stop();
  loop.join();
}

}  // namespace
}  // namespace tertulia
