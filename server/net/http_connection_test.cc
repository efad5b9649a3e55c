#include "net/http_connection.h"

#include <malloc.h>

#include "net/test_server.h"

namespace tertulia {
namespace {

TEST(Handshake, AGoodOneIsAnsweredAsTheRfcSays) {
  TestServer server;
  server.start();
  TestSocket client(server.port());
  client.send(handshake("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
  const std::string answer = client.read_until("\r\n\r\n");
  EXPECT_EQ(status_of(answer), 101) << answer;
  EXPECT_NE(answer.find("\r\nUpgrade: websocket\r\n"), std::string::npos);
  EXPECT_NE(answer.find("\r\nConnection: Upgrade\r\n"), std::string::npos);
  // The example of RFC 6455, 1.3.
  EXPECT_NE(answer.find("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), std::string::npos);
  EXPECT_EQ(answer.find("Sec-WebSocket-Extensions"), std::string::npos) << "no extension is negotiated";
  EXPECT_EQ(answer.find("Sec-WebSocket-Protocol"), std::string::npos);
  client.text().clear();
  client.send("bytes");
  EXPECT_EQ(client.read_bytes(5), "bytes");
  ASSERT_TRUE(eventually([&] { return server.opener.greetings().size() == 1; }));
  EXPECT_EQ(server.opener.greetings()[0].dialect, Dialect::classic);
  EXPECT_EQ(server.opener.greetings()[0].address, "127.0.0.1");
}

TEST(Handshake, TheSubprotocolChoosesTheDialect) {
  struct {
    const char* offered;
    Dialect dialect;
  } const rows[] = {
      {"Sec-WebSocket-Protocol: tertulia.v2\r\n", Dialect::v2},
      {"Sec-WebSocket-Protocol: other, tertulia.v2\r\n", Dialect::v2},
      {"Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: tertulia.v2\r\n", Dialect::v2},
      {"Sec-WebSocket-Protocol: other\r\n", Dialect::classic},
      {"Sec-WebSocket-Protocol: tertulia.v22\r\n", Dialect::classic},
      {"Sec-WebSocket-Protocol:\r\n", Dialect::classic},
      {"", Dialect::classic},
  };
  TestServer server;
  server.start();
  size_t opened = 0;
  for (const auto& row : rows) {
    TestSocket client(server.port());
    client.send(handshake(row.offered));
    const std::string answer = client.read_until("\r\n\r\n");
    EXPECT_EQ(status_of(answer), 101) << row.offered;
    EXPECT_EQ(answer.find("\r\nSec-WebSocket-Protocol: tertulia.v2\r\n") != std::string::npos,
              row.dialect == Dialect::v2)
        << row.offered;
    ASSERT_TRUE(eventually([&] { return server.opener.greetings().size() == opened + 1; }));
    EXPECT_EQ(server.opener.greetings()[opened++].dialect, row.dialect) << row.offered;
  }
}

std::string without(std::string text, std::string_view line) {
  const size_t begin = text.find(line);
  EXPECT_NE(begin, std::string::npos) << line;
  return text.erase(begin, text.find("\r\n", begin) + 2 - begin);
}

std::string with(std::string text, std::string_view from, std::string_view to) {
  const size_t begin = text.find(from);
  EXPECT_NE(begin, std::string::npos) << from;
  return text.replace(begin, from.size(), to);
}

TEST(Handshake, ABadOneIsRefusedAndTheConnectionClosed) {
  const std::string good = handshake();
  const std::string key = "dGhlIHNhbXBsZSBub25jZQ==";
  struct {
    const char* finding;
    std::string request;
    int status;
  } const rows[] = {
      {"no Upgrade", without(good, "Upgrade: websocket"), 426},
      {"an upgrade to something else", with(good, "Upgrade: websocket", "Upgrade: h2c"), 426},
      {"a prefix of websocket", with(good, "Upgrade: websocket", "Upgrade: websocke"), 426},
      {"no Connection", without(good, "Connection: Upgrade"), 400},
      {"a Connection that does not upgrade", with(good, "Connection: Upgrade", "Connection: keep-alive"), 400},
      {"no version", without(good, "Sec-WebSocket-Version"), 426},
      {"version 8", with(good, "Version: 13", "Version: 8"), 426},
      {"version 14", with(good, "Version: 13", "Version: 14"), 426},
      {"version 013", with(good, "Version: 13", "Version: 013"), 426},
      {"two versions", handshake("Sec-WebSocket-Version: 13\r\n"), 426},
      {"a list of versions", with(good, "Version: 13", "Version: 13, 8"), 426},
      {"no key", without(good, "Sec-WebSocket-Key"), 400},
      {"an empty key", with(good, key, ""), 400},
      {"a short key", with(good, key, "c2hvcnQ="), 400},
      {"a key of 17 bytes", with(good, key, "dGhlIHNhbXBsZSBub25jZSE="), 400},
      {"a key that is no base64", with(good, key, "dGhlIHNhbXBsZSBub25jZ!=="), 400},
      {"a key without its padding", with(good, key, "dGhlIHNhbXBsZSBub25jZQ"), 400},
      {"a key with loose bits at its end", with(good, key, "dGhlIHNhbXBsZSBub25jZR=="), 400},
      {"two keys", handshake("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400},
      {"POST", with(good, "GET", "POST"), 400},
      {"HEAD", with(good, "GET", "HEAD"), 400},
      {"a method in small letters", with(good, "GET", "get"), 400},
      {"HTTP/1.0", with(good, "HTTP/1.1", "HTTP/1.0"), 400},
      {"HTTP/2.0", with(good, "HTTP/1.1", "HTTP/2.0"), 505},
      {"no Host", without(good, "Host"), 400},
      {"a body", handshake("Content-Length: 5\r\n") + "hello", 400},
      {"a body that has not come", handshake("Content-Length: 5\r\n"), 400},
      {"chunks", handshake("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", 400},
      {"a frame before the answer", good + std::string("\x81\x80\x00\x00\x00\x00", 6), 400},
      {"another request behind it", good + "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"a foreign origin", handshake("Origin: https://evil.example\r\n"), 403},
      {"a null origin", handshake("Origin: null\r\n"), 403},
      {"an origin that only ends alike", handshake("Origin: https://evilchat.example\r\n"), 403},
      {"an origin that only begins alike", handshake("Origin: https://chat.example.evil\r\n"), 403},
      {"two origins", handshake("Origin: http://chat.example\r\nOrigin: http://chat.example\r\n"), 400},
      {"length and encoding", handshake("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"a bare LF", with(good, "\r\n", "\n"), 400},
      {"a folded field", handshake("X: a\r\n b\r\n"), 400},
      {"a head of 9 KiB", handshake("X: " + std::string(9000, 'x') + "\r\n"), 431},
      {"a path of 3 KiB", handshake("", "/chat?" + std::string(3000, 'x')), 414},
      {"another path", handshake("", "/chats"), 404},
      {"no HTTP at all", "\x16\x03\x01 hello", 400},
  };
  TestServer server;
  server.start();
  for (const auto& row : rows) {
    TestSocket client(server.port());
    client.send(row.request);
    // Those that leave the connection open are told to close it behind this answer.
    if (row.status == 404) client.finish_sending();
    const std::string answer = client.read_all();
    EXPECT_EQ(status_of(answer), row.status) << row.finding << "\n" << answer;
    EXPECT_TRUE(client.ended()) << row.finding;
    EXPECT_FALSE(client.was_reset()) << row.finding << ": the answer may not be read";
    EXPECT_EQ(answer.find("\nHTTP/1.1 "), std::string::npos) << row.finding << ": answered twice";
    if (row.status == 426) {
      EXPECT_NE(answer.find("\r\nSec-WebSocket-Version: 13\r\n"), std::string::npos) << row.finding;
    }
  }
  EXPECT_TRUE(server.opener.greetings().empty());
  EXPECT_TRUE(eventually([&] { return server.counts.in_all() == 0; }));
}

TEST(Handshake, ItsHeadersAreReadWithoutCaseAndInLists) {
  TestServer server;
  server.origins.allowed = {"https://other.example"};
  server.start();
  const std::string good = handshake();
  const std::string rows[] = {
      with(good, "Upgrade: websocket", "uPGRADE: WebSocket"),
      with(good, "Upgrade: websocket", "Upgrade: h2c, websocket"),
      with(good, "Connection: Upgrade", "Connection: keep-alive, upgrade"),
      with(good, "Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
      handshake("Origin: http://chat.example\r\n"),
      handshake("Origin: https://Chat.Example\r\n"),
      handshake("Origin: https://other.example\r\n"),
      handshake("Content-Length: 0\r\n"),
      handshake("", "/chat?token=x"),
  };
  for (const std::string& row : rows) {
    TestSocket client(server.port());
    client.send(row);
    EXPECT_EQ(status_of(client.read_until("\r\n\r\n")), 101) << row;
  }
}

TEST(Handshake, ThatArrivesByteByByteIsOne) {
  TestServer server;
  server.start();
  TestSocket client(server.port());
  for (char byte : handshake()) client.send({&byte, 1});
  EXPECT_EQ(status_of(client.read_until("\r\n\r\n")), 101);
}

TEST(Handshake, ADrainingNodeAnswers503AndStillServesThePage) {
  TestServer server;
  server.start();
  server.site().set_draining();
  const std::string answer = server.answer(handshake());
  EXPECT_EQ(status_of(answer), 503);
  EXPECT_NE(answer.find("\r\nRetry-After: 1\r\n"), std::string::npos);
  EXPECT_EQ(server.metrics.refused.value(), 1u);
  EXPECT_EQ(status_of(server.answer("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")), 200);
}

TEST(HttpConnection, ServesSeveralRequestsInARow) {
  static const Asset assets[] = {{"/index.html", "text/html; charset=utf-8", "\"1\"", "page"}};
  TestServer server;
  server.assets = assets;
  server.start();
  TestSocket client(server.port());
  const std::string get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  client.send(get + get + "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get);
  // The HEAD has no body: its answer is directly followed by the next.
  const auto answers = [](const std::string& text, std::string_view what) {
    int count = 0;
    for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
    return count;
  };
  const std::string text =
      client.read_until([&](const std::string& so_far) { return answers(so_far, "\r\n\r\npage") == 3; });
  EXPECT_EQ(answers(text, "HTTP/1.1 200 OK\r\n"), 4);
  EXPECT_EQ(answers(text, "Content-Length: 4\r\n"), 4);
  EXPECT_NE(text.find("\r\nX-Content-Type-Options: nosniff\r\n"), std::string::npos);
  EXPECT_FALSE(client.ended());
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  client.read_all();
  EXPECT_TRUE(client.ended());
  EXPECT_TRUE(server.answer("GET / HTTP/1.0\r\n\r\n").ends_with("page")) << "HTTP/1.0 closes by itself";
}

TEST(HttpConnection, ALargeAnswerArrivesWhole) {
  std::string page(3 << 20, 'x');
  for (size_t i = 0; i < page.size(); i += 1000) page[i] = static_cast<char>('a' + i / 1000 % 26);
  const Asset assets[] = {{"/index.html", "text/html; charset=utf-8", "\"1\"", page}};
  TestServer server;
  server.assets = assets;
  server.start();
  const std::string get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  TestSocket client(server.port());
  client.send(get + "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const std::string& text = client.read_all();
  const size_t first = text.find("\r\n\r\n") + 4;
  EXPECT_EQ(text.compare(first, page.size(), page), 0);
  EXPECT_TRUE(text.ends_with(page));
  EXPECT_GT(text.size(), 2 * page.size());
}

TEST(HttpConnection, ABodyIsNeverTakenForTheNextRequest) {
  TestServer server;
  server.start();
  for (const char* request : {"POST /images HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\n\r\n",
                              "POST /images HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n22\r\n"}) {
    const std::string answer = server.answer(std::string(request) + "GET /chat HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(status_of(answer), 404);
    EXPECT_EQ(answer.find("\nHTTP/1.1 "), std::string::npos) << answer;
  }
}

TEST(HttpConnection, AHeadThatDoesNotArriveInTimeIsEnded) {
  TestServer server;
  server.head_us = 100'000;
  server.start();
  EXPECT_EQ(status_of(server.answer("GET / HTTP/1.1\r\n")), 408);
  TestSocket silent(server.port());
  EXPECT_EQ(silent.read_all(), "");
  EXPECT_TRUE(silent.ended()) << "who says nothing is told nothing";
  TestSocket idle(server.port());
  idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(status_of(idle.read_all()), 200);
  EXPECT_TRUE(idle.ended()) << "between requests too";
  EXPECT_TRUE(eventually([&] { return server.counts.in_all() == 0; }));
}

TEST(HttpConnection, AnAddressWithTooManyIsTold429AndServedAgainWhenOneHasGone) {
  TestServer server;
  server.counts.set_per_address_max(2);
  server.start();
  TestSocket first(server.port()), second(server.port());
  first.send(handshake());
  second.send(handshake());
  EXPECT_EQ(status_of(first.read_until("\r\n\r\n")), 101);
  EXPECT_EQ(status_of(second.read_until("\r\n\r\n")), 101);
  const std::string answer = server.answer(handshake());
  EXPECT_EQ(status_of(answer), 429);
  EXPECT_NE(answer.find("\r\nRetry-After: "), std::string::npos);
  first.close();
  ASSERT_TRUE(eventually([&] { return server.counts.in_all() == 1; }));
  TestSocket third(server.port());
  third.send(handshake());
  EXPECT_EQ(status_of(third.read_until("\r\n\r\n")), 101);
}

TEST(HttpConnection, AFullNodeSays503) {
  ConnectionCounts full(1, 0);
  ConnectionCounts::Slot taken;
  ASSERT_EQ(full.take("", taken), ConnectionCounts::Verdict::admitted);
  TestServer server;
  std::vector<ConnectionCounts::Slot> slots(10'000);
  for (ConnectionCounts::Slot& slot : slots) {
    ASSERT_EQ(server.counts.take("", slot), ConnectionCounts::Verdict::admitted);
  }
  server.start();
  EXPECT_EQ(status_of(server.answer(handshake())), 503);
  slots.pop_back();
  TestSocket client(server.port());
  client.send(handshake());
  EXPECT_EQ(status_of(client.read_until("\r\n\r\n")), 101);
}

TEST(HttpConnection, BehindATrustedProxyTheForwardedClientIsCounted) {
  TestServer server;
  ASSERT_TRUE(server.proxies.add("127.0.0.0/8"));
  server.counts.set_per_address_max(1);
  server.start();
  TestSocket first(server.port());
  first.send(handshake("X-Forwarded-For: 6.6.6.6, 1.1.1.1\r\n"));
  EXPECT_EQ(status_of(first.read_until("\r\n\r\n")), 101);
  EXPECT_EQ(status_of(server.answer(handshake("X-Forwarded-For: 1.1.1.1\r\n"))), 429);
  TestSocket second(server.port());
  second.send(handshake("X-Forwarded-For: 2.2.2.2\r\nX-Forwarded-For: 3.3.3.3\r\n"));
  EXPECT_EQ(status_of(second.read_until("\r\n\r\n")), 101);
  ASSERT_TRUE(eventually([&] { return server.opener.greetings().size() == 2; }));
  EXPECT_EQ(server.opener.greetings()[0].address, "1.1.1.1");
  EXPECT_EQ(server.opener.greetings()[1].address, "3.3.3.3");
}

TEST(HttpConnection, WhoIsNoTrustedProxySpeaksForItselfOnly) {
  TestServer server;
  ASSERT_TRUE(server.proxies.add("10.0.0.0/8"));
  server.start();
  TestSocket client(server.port());
  client.send(handshake("X-Forwarded-For: 1.1.1.1\r\n"));
  EXPECT_EQ(status_of(client.read_until("\r\n\r\n")), 101);
  ASSERT_TRUE(eventually([&] { return server.opener.greetings().size() == 1; }));
  EXPECT_EQ(server.opener.greetings()[0].address, "127.0.0.1");
}

TEST(HttpConnection, AProxyHeaderNamesTheClientAndIsNeededFromTrustedProxies) {
  TestServer server;
  ASSERT_TRUE(server.proxies.add("127.0.0.1"));
  server.proxy_protocol = true;
  server.start();
  const std::string header("\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x05\x06\x07\x08\x01\x01\x01\x01\x00\x50\x00\x51", 28);
  for (size_t cut : {size_t{0}, size_t{5}, size_t{28}}) {
    TestSocket client(server.port());
    client.send(header.substr(0, cut));
    client.send(header.substr(cut) + handshake());
    EXPECT_EQ(status_of(client.read_until("\r\n\r\n")), 101) << cut;
  }
  ASSERT_TRUE(eventually([&] { return server.opener.greetings().size() == 3; }));
  EXPECT_EQ(server.opener.greetings()[0].address, "5.6.7.8");
  EXPECT_EQ(server.answer(handshake()), "") << "without the header the connection is closed";
}

TEST(HttpConnection, AnIdleWebSocketCostsAtMostAKibibyteOfThisLayer) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the allocator's counter is not the sanitizer's";
#endif
  raise_open_files_limit();
  // Both ends are in this process; 20,000 open files are what a machine can be counted on to allow.
  constexpr size_t kWarm = 200;
  const size_t count_max = std::getenv("TERTULIA_TEST_LONG") ? 9'500 : 2'000;
  TestServer server;
  server.start();
  std::vector<TestSocket> clients;
  clients.reserve(kWarm + count_max);
  const auto open = [&](size_t count) {
    const size_t before = server.opener.greetings().size();
    for (size_t i = 0; i < count; ++i) {
      clients.emplace_back(server.port());
      ASSERT_TRUE(clients.back().send(handshake()));
      ASSERT_EQ(status_of(clients.back().read_until("\r\n\r\n")), 101);
      clients.back().text() = {};
    }
    // The answer leaves a moment before the session is opened.
    ASSERT_TRUE(eventually([&] { return server.opener.greetings().size() == before + count; }));
  };
  open(kWarm);
  const size_t before = mallinfo2().uordblks;
  open(count_max);
  const size_t each = (mallinfo2().uordblks - before) / count_max;
  std::printf("%zu bytes each, the test's own user, greeting and set entry included\n", each);
  EXPECT_LE(each, 1024u);
}

}  // namespace
}  // namespace tertulia
