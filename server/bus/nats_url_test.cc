#include "bus/nats_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tertulia {
namespace {

std::vector<NatsServer> good(std::string_view urls) {
  auto parsed = parse_nats_urls(urls);
  if (const auto* wrong = std::get_if<std::string>(&parsed)) {
    ADD_FAILURE() << urls << ": " << *wrong;
    return std::vector<NatsServer>(9);
  }
  return std::get<0>(std::move(parsed));
}

TEST(NatsUrl, WhatIsLeftOutIsThatOfTheServerBefore) {
  EXPECT_EQ(addresses_of(good("nats://a,b:4223, c")), "nats://a:4222, nats://b:4223, nats://c:4222");
  EXPECT_EQ(addresses_of(good("nats://a:1/,tls://b,c")), "nats://a:1, tls://b:4222, tls://c:4222");
  const auto servers = good("tls://ana:secret@a,b,nats://t0ken@[::1]:7,[fe80::1],nats://d");
  ASSERT_EQ(servers.size(), 5u);
  for (const size_t i : {0, 1}) {
    EXPECT_TRUE(servers[i].tls);
    EXPECT_EQ(servers[i].user, "ana");
    EXPECT_EQ(servers[i].password, "secret");
  }
  for (const size_t i : {2, 3}) {
    EXPECT_EQ(servers[i].token, "t0ken");
    EXPECT_EQ(servers[i].user + servers[i].password, "");
  }
  EXPECT_EQ(servers[2].address(), "nats://[::1]:7");
  EXPECT_EQ(servers[4].token, "");
}

TEST(NatsUrl, CredentialsMayHoldAnyCharacter) {
  const auto servers = good("nats://a%2Cb:p%40%3a%25@x@h");
  EXPECT_EQ(servers.at(0).user, "a,b");
  EXPECT_EQ(servers.at(0).password, "p@:%@x");
  EXPECT_EQ(servers.at(0).host, "h");
}

TEST(NatsUrl, WhatIsWrongIsSaidWithoutTheCredentials) {
  for (const char* urls : {"",
                           "a",
                           "nats:/a",
                           "http://a",
                           "nats://",
                           "nats://a,,b",
                           "nats://a,",
                           "nats://secret:%@a",
                           "nats://secret:%0@a",
                           "nats://secret:%00@a",
                           "nats://:secret@a",
                           "nats://secret@",
                           "nats://secret@a:",
                           "nats://secret@a:0",
                           "nats://secret@a:65536",
                           "nats://secret@a:1x",
                           "nats://secret@a b",
                           "nats://secret@a/b",
                           "nats://secret@[::1",
                           "nats://secret@[::1]x",
                           "nats://secret@[::1]:",
                           "nats://secret@[x]",
                           "nats://secret@a:1:2"}) {
    const auto parsed = parse_nats_urls(urls);
    const auto* wrong = std::get_if<std::string>(&parsed);
    ASSERT_NE(wrong, nullptr) << urls;
    EXPECT_THAT(*wrong, testing::HasSubstr("nats://HOST[:PORT]"));
    EXPECT_THAT(*wrong, testing::Not(testing::HasSubstr("secret"))) << urls;
  }
}

}  // namespace
}  // namespace tertulia
