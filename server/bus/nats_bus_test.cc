// The bus between nodes against real NATS servers: what is promised while they live, and while they do not.
#include "bus/nats_bus.h"

#include <gmock/gmock.h>

#include "bus/bus_message.h"
#include "bus/nats_world.h"

#if defined(__SANITIZE_THREAD__)
// OpenSSL ends at the process's end. That the thread of a handshake given up ended before it cannot be seen in a
// library that is not instrumented.
extern "C" const char* __tsan_default_suppressions() {
  return "race:CRYPTO_THREAD_lock_free\n";
}
#endif

namespace tertulia {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

int64_t now_ms() {
  return SystemClock().now_us() / 1000;
}

std::vector<Sequence> numbers(Sequence from, Sequence to) {
  std::vector<Sequence> all;
  for (Sequence i = from; i <= to; ++i) all.push_back(i);
  return all;
}

std::shared_ptr<const LogPiece> piece_of(Sequence from, Sequence to, size_t text_bytes) {
  auto piece = std::make_shared<LogPiece>();
  for (Sequence i = from; i <= to; ++i) {
    const size_t extended = text_bytes < 126 ? 0 : text_bytes < 65'536 ? 2 : 8;
    std::string frame = {'\x81', static_cast<char>(extended == 0 ? text_bytes : extended == 2 ? 126 : 127)};
    for (size_t byte = extended; byte-- > 0;) frame += static_cast<char>(text_bytes >> (8 * byte));
    frame += std::string(text_bytes, 'x');
    piece->entries.push_back({i, {}, {}, "uuid", "ana", {}, std::move(frame)});
  }
  return piece;
}

// Servers of a cluster tell each other on their own time who wants what. Waits until it is known everywhere, by saying
// 0, which heard() leaves out.
bool meet(const std::string& room, const std::vector<BusNode*>& nodes) {
  for (BusNode* from : nodes) {
    for (BusNode* to : nodes) {
      const auto reached = [&] {
        const size_t before = to->zeros(room);
        from->say(room, 0);
        return eventually([&] { return to->zeros(room) > before; }, std::chrono::milliseconds(20));
      };
      if (from != to && !eventually(reached)) return false;
    }
  }
  return true;
}

TEST(NatsBus, NodesOnDifferentServersHearEachOtherInTheOrderSaid) {
  NatsServers servers(3);
  servers.start();
  BusNode a(servers[0].address()), b(servers[1].address()), c(servers[2].address());
  for (BusNode* node : {&a, &b, &c}) ASSERT_TRUE(node->stands() && node->join("plaza"));
  ASSERT_TRUE(meet("plaza", {&a, &b, &c}));
  for (Sequence i = 1; i <= 1'000; ++i) {
    if (i % 2 != 0) a.say("plaza", i);
    if (i % 2 == 0) a.say("plaza", piece_of(i, i, 100'000 / i));
  }
  b.say("plaza", 2'000);
  EXPECT_TRUE(b.hears("plaza", 1'000) && c.hears("plaza", 1'000) && c.hears("plaza", 2'000));
  EXPECT_EQ(b.heard("plaza"), numbers(1, 1'000));
  std::vector<Sequence> of_a = c.heard("plaza");
  std::erase(of_a, 2'000);
  EXPECT_EQ(of_a, numbers(1, 1'000));
  EXPECT_TRUE(a.hears("plaza", 2'000));
  EXPECT_THAT(a.heard("plaza"), ElementsAre(2'000)) << "nobody hears himself";
  EXPECT_EQ(a->counts().dropped_out, 0u);
}

TEST(NatsBus, NothingComesForRoomsWithoutASubscriber) {
  NatsServers servers(1);
  servers.start();
  BusNode a(servers.urls()), b(servers.urls());
  ASSERT_TRUE(a.stands() && b.stands() && b.join("plaza") && b.join("patio"));
  for (Sequence i = 1; i <= 100; ++i) a.say("elsewhere", i);
  a.say("plaza", 1);
  a.say("patio", 1);
  ASSERT_TRUE(b.hears("plaza", 1) && b.hears("patio", 1));
  EXPECT_EQ(b->counts().received, 2u);
  b.unsubscribe("patio");
  ASSERT_TRUE(b.join("terrace"));  // what was asked before it has reached the server as well
  for (Sequence i = 2; i <= 100; ++i) a.say("patio", i);
  a.say("plaza", 2);
  ASSERT_TRUE(b.hears("plaza", 2));
  EXPECT_EQ(b->counts().received, 3u);
}

TEST(NatsBus, WhatIsSaidAfterReadyIsHeard) {
  NatsServers servers(2);
  servers.start();
  BusNode a(servers[0].address()), b(servers[1].address());
  ASSERT_TRUE(a.stands() && b.stands());
  // A route tells of a subscription on its own time: through one server ready is exact.
  BusNode near(servers[1].address());
  ASSERT_TRUE(near.stands());
  for (int i = 0; i < 100; ++i) {
    const std::string room = "room-" + std::to_string(i);
    b.subscribe(room, [&near, room] { near.say(room, 1); });
  }
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(b.hears("room-" + std::to_string(i), 1)) << i;
  b.unsubscribe("room-7");
  b.subscribe("room-7", [&near] { near.say("room-7", 2); });
  EXPECT_TRUE(b.hears("room-7", 2)) << "also for a room just left";
}

TEST(NatsBus, HeartbeatsOfOthersAreToldAndNotOnesOwn) {
  NatsServers servers(1);
  servers.start();
  BusNode a(servers.urls()), b(servers.urls());
  ASSERT_TRUE(a.stands() && b.stands());
  a->beat("node-a");
  b->beat("node-b");
  a->beat("node-a");
  EXPECT_TRUE(eventually([&] { return !a.nodes().empty() && !b.nodes().empty(); }));
  EXPECT_EQ(a.nodes().front(), "node-b");
  EXPECT_EQ(b.nodes().front(), "node-a");
}

TEST(NatsBus, AKilledServerIsLeftForAnotherAndTheReturnIsTold) {
  NatsServers servers(3);
  servers.start();
  BusNode a(servers.urls()), c(servers[2].address());
  ASSERT_TRUE(a.stands() && c.stands() && a.join("plaza") && c.join("plaza"));
  const size_t before = a.returned();
  servers[0].kill();
  EXPECT_TRUE(eventually([&] { return a.returned() > before; }));
  EXPECT_EQ(a->trouble(), "");
  EXPECT_EQ(a->counts().connections, 2u);
  // Between servers interest travels on its own time, so it is said until it is heard.
  Sequence number = 0;
  EXPECT_TRUE(eventually([&] {
    c.say("plaza", ++number);
    a.say("plaza", number);
    return !a.heard("plaza").empty() && !c.heard("plaza").empty();
  }));
}

TEST(NatsBus, AServerThatIsAwayKeepsNobodyFromStartingAndOpeningRooms) {
  NatsServers servers(1);
  const int64_t began = now_ms();
  BusNode a(servers.urls());
  EXPECT_LT(now_ms() - began, 500);
  EXPECT_THAT(a->trouble(), HasSubstr(servers.urls()));
  EXPECT_TRUE(a.join("plaza", 3'000));
  EXPECT_GE(now_ms() - began, 900) << "the bus had its second to come";
  const int64_t later = now_ms();
  EXPECT_TRUE(a.join("patio", 3'000));
  EXPECT_LT(now_ms() - later, 500) << "nobody waits again for a bus that is known to be away";
  EXPECT_THAT(a->trouble(), HasSubstr("members of other nodes hear with up to 2 s delay"));
  EXPECT_EQ(a.returned(), 0u);
  a.say("plaza", 1);
  EXPECT_EQ(a->counts().dropped_out, 1u);
  servers.start();
  EXPECT_TRUE(a.stands());
  BusNode b(servers.urls());
  ASSERT_TRUE(b.stands());
  b.say("plaza", 2);
  b.say("patio", 3);
  EXPECT_TRUE(a.hears("plaza", 2) && a.hears("patio", 3));
}

TEST(NatsBus, AStoppedServerHoldsUpNoPublisherAndNoOtherNode) {
  NatsServers servers(3);
  servers.start();
  BusNode a(servers.urls()), b(servers[1].address()), c(servers[2].address());
  for (BusNode* node : {&a, &b, &c}) ASSERT_TRUE(node->stands() && node->join("plaza"));
  ASSERT_TRUE(meet("plaza", {&a, &b, &c}));
  servers[0].stop();
  const int64_t began = now_ms();
  int64_t longest_ms = 0;
  Sequence said = 0;
  const auto piece = piece_of(1, 1, 100'000);
  // Until the connection is full and the queue behind it too.
  ASSERT_TRUE(eventually([&] {
    for (int i = 0; i < 20; ++i) {
      const int64_t before = now_ms();
      a.say("elsewhere", piece);
      longest_ms = std::max(longest_ms, now_ms() - before);
    }
    b.say("plaza", ++said);
    return a->counts().dropped_out > 0;
  }));
  EXPECT_LT(longest_ms, 100);
  EXPECT_TRUE(c.hears("plaza", said, 2'000)) << "the others hear each other all the while";
  // Whoever opens a room now is not kept waiting either.
  EXPECT_TRUE(a.join("patio", 3'000));
  const size_t before = a.returned();
  EXPECT_TRUE(eventually([&] { return a.returned() > before && a->trouble().empty(); })) << a->trouble();
  std::printf("left the stopped server after %lld ms, longest publish %lld ms\n",
              static_cast<long long>(now_ms() - began), static_cast<long long>(longest_ms));
  EXPECT_TRUE(eventually([&] {
    b.say("patio", ++said);
    return !a.heard("patio").empty();
  }));
  servers[0].go_on();
  EXPECT_TRUE(eventually([&] {
    a.say("plaza", ++said);
    return c.hears("plaza", said, 100);
  }));
}

TEST(NatsBus, AStoppedServerIsRecoveredFromWhenItIsTheOnlyOne) {
  NatsServers servers(1);
  servers.start();
  BusNode a(servers.urls());
  ASSERT_TRUE(a.stands());
  servers[0].stop();
  const int64_t began = now_ms();
  EXPECT_TRUE(a.join("plaza", 3'000));
  EXPECT_GE(now_ms() - began, 900) << "the server was to be asked";
  EXPECT_LT(now_ms() - began, 2'500);
  const size_t before = a.returned();
  servers[0].go_on();
  // Ready was said too early, so the return has to be told although the connection never ended.
  EXPECT_TRUE(eventually([&] { return a.returned() > before; }));
  BusNode b(servers.urls());
  ASSERT_TRUE(b.stands());
  b.say("plaza", 1);
  EXPECT_TRUE(a.hears("plaza", 1));
}

TEST(NatsBus, EndsInTimeAlthoughTheServerHangs) {
  NatsServers servers(1);
  servers.start();
  auto a = std::make_unique<BusNode>(servers.urls());
  ASSERT_TRUE(a->stands() && a->join("plaza"));
  servers[0].stop();
  const auto piece = piece_of(1, 1, 100'000);
  ASSERT_TRUE(eventually([&] {
    a->say("plaza", piece);
    return (*a)->counts().dropped_out > 0;
  }));
  const int64_t began = now_ms();
  a = nullptr;
  EXPECT_LT(now_ms() - began, 6'000);
}

TEST(NatsBus, WrongCredentialsAreSaidAndRightOnesTaken) {
  for (const bool token : {false, true}) {
    NatsServers servers(1, token ? std::vector<std::string>{"--auth", "t0ken"}
                                 : std::vector<std::string>{"--user", "ana", "--pass", "pa@ss"});
    servers.start();
    BusNode wrong(servers.urls(token ? "nats://other@" : "nats://ana:guess@"));
    EXPECT_TRUE(eventually([&] { return wrong->trouble().find("refuses the credentials") != std::string::npos; }))
        << wrong->trouble();
    EXPECT_THAT(wrong->trouble(), HasSubstr(servers.urls()));
    EXPECT_THAT(wrong->trouble(), testing::Not(HasSubstr("guess")));
    BusNode right(servers.urls(token ? "nats://t0ken@" : "nats://ana:pa%40ss@"));
    EXPECT_TRUE(right.stands()) << right->trouble();
    EXPECT_EQ(wrong.returned(), 0u);
  }
}

TEST(NatsBus, WhatTheServerDoesNotAllowIsSaid) {
  NatsServers servers(1);
  const std::string file = servers.directory() / "server.conf";
  std::ofstream(file) << "authorization { users = [ { user: ana, password: x,"
                         " permissions: { publish: \"room.*\", subscribe: \"node.heartbeat\" } } ] }\n";
  servers[0].start({"-c", file});
  BusNode a(servers.urls("nats://ana:x@"));
  ASSERT_TRUE(a.stands());
  a.subscribe("plaza");
  EXPECT_TRUE(eventually([&] { return a->trouble().find("does not allow") != std::string::npos; })) << a->trouble();
  EXPECT_THAT(a->trouble(), HasSubstr(room_subject("plaza")));
}

class NatsTls : public testing::Test {
 protected:
  // An authority, and a certificate of its for 127.0.0.1.
  void SetUp() override {
    const std::string out = " >" + at("openssl.log") + " 2>&1";
    std::ofstream(at("names")) << "subjectAltName=IP:127.0.0.1\n";
    const std::string commands[] = {"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout " +
                                        at("ca.key") + " -out " + at("ca.pem") + out,
                                    "openssl req -newkey rsa:2048 -nodes -subj /CN=server -keyout " + at("key.pem") +
                                        " -out " + at("request") + out,
                                    "openssl x509 -req -days 2 -in " + at("request") + " -CA " + at("ca.pem") +
                                        " -CAkey " + at("ca.key") + " -CAcreateserial -extfile " + at("names") +
                                        " -out " + at("cert.pem") + out};
    for (const std::string& command : commands) ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }
  std::string at(const std::string& name) const { return directory_ / name; }

  TemporaryDirectory directory_;
};

TEST_F(NatsTls, ASignedServerIsTakenAndAnyOtherRefused) {
  NatsServers servers(2, {"--tls", "--tlscert", at("cert.pem"), "--tlskey", at("key.pem")});
  servers[0].start({"--tls", "--tlscert", at("cert.pem"), "--tlskey", at("key.pem")});
  NatsOptions trusting;
  trusting.credentials.ca_file = at("ca.pem");
  BusNode a(servers[0].address("tls://"), trusting), b(servers[0].address("tls://"), trusting);
  ASSERT_TRUE(a.stands() && b.stands()) << a->trouble();
  ASSERT_TRUE(b.join("plaza"));
  a.say("plaza", piece_of(1, 3, 200'000));
  EXPECT_TRUE(b.hears("plaza", 3));
  BusNode stranger(servers[0].address("tls://"));
  EXPECT_TRUE(eventually([&] { return stranger->trouble().find("certificate") != std::string::npos; }))
      << stranger->trouble();
  BusNode by_name("tls://localhost:" + std::to_string(servers[0].port()), trusting);
  EXPECT_TRUE(eventually([&] { return by_name->trouble().find("ostname mismatch") != std::string::npos; }))
      << by_name->trouble();
}

TEST_F(NatsTls, WhatWasCutWhileAServerHungGoesOnWhereItStopped) {
  NatsServers servers(1);
  servers[0].start({"--tls", "--tlscert", at("cert.pem"), "--tlskey", at("key.pem")});
  NatsOptions trusting;
  trusting.credentials.ca_file = at("ca.pem");
  BusNode a(servers.urls("tls://"), trusting), b(servers.urls("tls://"), trusting);
  ASSERT_TRUE(a.stands() && b.stands() && b.join("plaza")) << a->trouble();
  servers[0].stop();
  // More than the kernel takes for a server that reads nothing, less than the queue holds.
  for (Sequence i = 1; i <= 100; ++i) a.say("plaza", piece_of(i, i, 70'000 + i));
  EXPECT_FALSE(eventually([&] { return a->counts().published == 100; }, std::chrono::milliseconds(300)))
      << "the server was to hold it up";
  servers[0].go_on();
  EXPECT_TRUE(b.hears("plaza", 100));
  EXPECT_EQ(b.heard("plaza"), numbers(1, 100));
  EXPECT_EQ(a->counts().connections, 1u);
}

TEST_F(NatsTls, AHandshakeWithoutAnEndKeepsNobodyFromTheOtherServer) {
  NatsServers servers(2);
  const std::vector<std::string> tls = {"--tls", "--tlscert", at("cert.pem"), "--tlskey", at("key.pem")};
  for (size_t i = 0; i < 2; ++i) servers[i].start(tls);
  servers[0].stop();
  NatsOptions trusting;
  trusting.credentials.ca_file = at("ca.pem");
  {
    BusNode a(servers.urls("tls://"), trusting);
    EXPECT_TRUE(a.stands()) << a->trouble();
  }
  // A server that accepts, greets, and says nothing to the handshake.
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = HeldPort::loopback(0);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(fd, 8), 0);
  ASSERT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string silent = "tls://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  std::atomic<int> peer = -1;
  std::thread greeter([&] {
    peer = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
    const std::string info = "INFO {\"server_id\":\"x\",\"version\":\"2.9.10\",\"proto\":1,\"tls_required\":true}\r\n";
    EXPECT_EQ(::write(peer, info.data(), info.size()), static_cast<ssize_t>(info.size()));
  });
  {
    BusNode a(silent + "," + servers[1].address("tls://"), trusting);
    EXPECT_TRUE(a.stands()) << a->trouble();
    EXPECT_GE(peer.load(), 0) << "the silent one was tried";
  }
  greeter.join();
  ::close(peer);
  ::close(fd);
}

// Each attempt costs a thread, and descriptors for half a minute; and all rooms are compared with the store behind it.
TEST(NatsBus, AServerThatEndsEveryConnectionAtOnceIsAskedSlowly) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = HeldPort::loopback(0);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(fd, 64), 0);
  ASSERT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  std::thread server([&] {
    // Greets, answers what connecting and subscribing ask, and ends it.
    for (int peer = -1; (peer = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC)) >= 0; ::close(peer)) {
      const std::string info =
          "INFO {\"server_id\":\"x\",\"version\":\"2.9.10\",\"proto\":1,\"max_payload\":1048576}\r\n";
      if (::write(peer, info.data(), info.size()) < 0) continue;
      std::string said;
      char bytes[4'096];
      for (int pings = 0; pings < 3;) {
        const ssize_t count = ::read(peer, bytes, sizeof bytes);
        if (count <= 0) break;
        said.append(bytes, static_cast<size_t>(count));
        for (size_t at = 0; (at = said.find("PING\r\n")) != std::string::npos; said.erase(0, at + 6)) {
          ++pings;
          if (::write(peer, "PONG\r\n", 6) < 0) break;
        }
      }
    }
  });
  {
    BusNode a("nats://127.0.0.1:" + std::to_string(ntohs(address.sin_port)));
    EXPECT_TRUE(eventually([&] { return a->counts().connections > 1; }));
    EXPECT_FALSE(eventually([&] { return a->counts().connections > 15; }, std::chrono::seconds(8)))
        << "about nine with pauses";
  }
  ::shutdown(fd, SHUT_RDWR);
  server.join();
  ::close(fd);
}

TEST(NatsBus, WhatStrangersSayIsDroppedAndCounted) {
  NatsServers servers(1);
  servers.start();
  BusNode a(servers.urls());
  ASSERT_TRUE(a.stands() && a.join("plaza"));
  const int fd = HeldPort::dial(servers[0].port());
  ASSERT_GE(fd, 0);
  std::string said = "CONNECT {\"verbose\":false}\r\n";
  const auto say = [&](const std::string& subject, const std::string& bytes) {
    said += "PUB " + subject + " " + std::to_string(bytes.size()) + "\r\n" + bytes + "\r\n";
  };
  const std::string subject = room_subject("plaza");
  const std::string head = encode_item({"plaza", Position{7, {}}}, 1 << 20).messages.at(0);
  std::string newer = head;
  newer[0] = 2;
  for (const std::string& bytes :
       {std::string(), std::string("hello"), head + "x", head.substr(1), newer, encode_heartbeat("x")}) {
    say(subject, bytes);
  }
  say("node.heartbeat", head);
  say("node.heartbeat", "");
  say("node.heartbeat", encode_heartbeat("a b"));
  say(subject, head);
  say("node.heartbeat", encode_heartbeat("stranger"));
  ASSERT_EQ(::write(fd, said.data(), said.size()), static_cast<ssize_t>(said.size()));
  EXPECT_TRUE(a.hears("plaza", 7));
  EXPECT_TRUE(eventually([&] { return !a.nodes().empty(); }));
  EXPECT_THAT(a.heard("plaza"), ElementsAre(7));
  EXPECT_THAT(a.nodes(), ElementsAre("stranger"));
  EXPECT_EQ(a->counts().not_understood, 9u);
  ::close(fd);
}

TEST(NatsBus, APieceLargerThanTheServerTakesComesInSeveral) {
  NatsServers servers(1);
  const std::string file = servers.directory() / "server.conf";
  std::ofstream(file) << "max_payload: 100000\n";
  servers[0].start({"-c", file});
  BusNode a(servers.urls()), b(servers.urls());
  ASSERT_TRUE(a.stands() && b.stands() && b.join("plaza"));
  a.say("plaza", piece_of(1, 20, 70'000));
  a.say("plaza", piece_of(21, 21, 100'000));
  a.say("plaza", piece_of(22, 22, 70'000));
  EXPECT_TRUE(b.hears("plaza", 22));
  std::vector<Sequence> all = numbers(1, 20);
  all.push_back(22);
  EXPECT_EQ(b.heard("plaza"), all) << "one that fits nowhere is read from the store";
  EXPECT_EQ(a->counts().dropped_out, 1u);
  EXPECT_EQ(a->counts().connections, 1u) << "nobody was disconnected for it";
}

TEST(NatsBus, LeavingWhileMessagesFlyHarmsNobody) {
  NatsServers servers(1);
  servers.start();
  BusNode a(servers.urls()), b(servers.urls());
  ASSERT_TRUE(a.stands() && b.stands() && b.join("stays"));
  std::atomic<bool> over = false;
  std::thread speaker([&] {
    for (Sequence i = 1; !over; ++i) {
      for (const char* room : {"0", "1", "2", "3", "stays"}) a.say(room, i);
      if (i % 16 == 0) std::this_thread::yield();
    }
  });
  for (int i = 0; i < 300; ++i) {
    for (const char* room : {"0", "1", "2", "3"}) b.subscribe(room);
    if (i % 8 == 0) b.join("ready" + std::to_string(i));
    for (const char* room : {"0", "1", "2", "3"}) b.unsubscribe(room);
  }
  over = true;
  speaker.join();
  // What flew may have been more than is taken; what is said now is heard.
  EXPECT_TRUE(eventually([&] {
    a.say("stays", sequence_max);
    return b.hears("stays", sequence_max, 100);
  }));
}

TEST(NatsBus, WhatCannotWorkIsSaidAtTheStart) {
  SystemClock clock;
  NoChance chance;
  NatsOptions options;
  EXPECT_THAT(NatsBus::open("nats://", options, clock, chance).error, HasSubstr("bus: server 1 of the list"));
  options.credentials.creds_file = "/nowhere/user.creds";
  EXPECT_THAT(NatsBus::open("nats://a", options, clock, chance).error, HasSubstr("/nowhere/user.creds"));
  options.credentials = {};
  options.credentials.cert_file = "/dev/null";
  EXPECT_THAT(NatsBus::open("nats://a", options, clock, chance).error, HasSubstr("--nats-key"));
}

}  // namespace
}  // namespace tertulia
