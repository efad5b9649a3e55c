#include "net/client_address.h"

#include <gtest/gtest.h>

namespace tertulia {
namespace {

TEST(ClientAddress, IsCountedPerSubscriber) {
  const std::pair<const char*, const char*> rows[] = {
      {"1.2.3.4", "1.2.3.4"},
      {"::ffff:1.2.3.4", "1.2.3.4"},
      {"::1", "::1"},
      {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
      {"2001:db8:1:2:ffff::", "2001:db8:1:2::/64"},
  };
  for (const auto& [text, counted] : rows) EXPECT_EQ(IpAddress::parse(text).value().counted(), counted) << text;
}

TEST(ClientAddress, WhatIsNoAddressIsNone) {
  for (std::string_view text : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "a", "1.2.3.4 ", ":::", "1.2.3.4/8",
                                "00000000000000000000000000000000000000000000000000:1"}) {
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  }
  EXPECT_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0", 8)));
}

TEST(TrustedProxies, ContainTheirNetworksAndNothingElse) {
  TrustedProxies proxies;
  for (const char* cidr : {"10.0.0.0/8", "192.168.1.7", "2001:db8::/33", "172.16.0.0/12"}) {
    EXPECT_TRUE(proxies.add(cidr)) << cidr;
  }
  const std::pair<const char*, bool> rows[] = {
      {"10.255.1.1", true},      {"11.0.0.1", false},        {"192.168.1.7", true}, {"192.168.1.8", false},
      {"2001:db8::1", true},     {"2001:db8:8000::", false}, {"172.31.9.9", true},  {"172.32.0.0", false},
      {"::ffff:10.1.1.1", true}, {"::10.1.1.1", false},
  };
  for (const auto& [text, inside] : rows) {
    EXPECT_EQ(proxies.contains(IpAddress::parse(text).value()), inside) << text;
  }
}

TEST(TrustedProxies, RefuseWhatIsNoNetwork) {
  TrustedProxies proxies;
  for (const char* cidr : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "::/129", "example"}) {
    EXPECT_FALSE(proxies.add(cidr)) << cidr;
  }
  EXPECT_TRUE(proxies.empty());
}

TEST(ForwardedClient, IsTheRightMostThatIsNoProxy) {
  TrustedProxies proxies;
  ASSERT_TRUE(proxies.add("10.0.0.0/8"));
  struct {
    const char *peer, *forwarded, *client;
  } const rows[] = {
      {"10.0.0.1", "1.1.1.1", "1.1.1.1"},
      {"10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"},  // what the client claims stands to the left
      {"10.0.0.1", "1.1.1.1, 10.0.0.2", "1.1.1.1"},
      {"10.0.0.1", "1.1.1.1,10.0.0.2 ,\t10.0.0.3", "1.1.1.1"},
      {"10.0.0.1", "", "10.0.0.1"},
      {"10.0.0.1", "10.0.0.2", "10.0.0.2"},
      {"10.0.0.1", "1.1.1.1:4567", "1.1.1.1"},
      {"10.0.0.1", "[2001:db8::1]:4567", "2001:db8::1"},
      {"10.0.0.1", "2001:db8::1", "2001:db8::1"},
      {"10.0.0.1", "unknown", "10.0.0.1"},
      {"10.0.0.1", "1.1.1.1, garbage, 10.0.0.2", "10.0.0.2"},
      {"10.0.0.1", "1.1.1.1,", "10.0.0.1"},
      {"2.2.2.2", "1.1.1.1", "2.2.2.2"},  // not trusted: not believed
  };
  for (const auto& row : rows) {
    EXPECT_EQ(forwarded_client(IpAddress::parse(row.peer).value(), row.forwarded, proxies).counted(),
              IpAddress::parse(row.client).value().counted())
        << row.peer << " | " << row.forwarded;
  }
}

std::string proxy_header(char command, char family, const std::string& rest) {
  std::string header("\r\n\r\n\0\r\nQUIT\n", 12);
  header += command;
  header += family;
  header += static_cast<char>(rest.size() >> 8);
  header += static_cast<char>(rest.size() & 255);
  return header + rest;
}

TEST(ProxyHeader, TellsTheClientOnceItIsComplete) {
  const std::string v4 = proxy_header(0x21, 0x11, std::string("\x01\x02\x03\x04\x05\x06\x07\x08\x00\x50\x00\x51", 12));
  for (size_t size = 0; size < v4.size(); ++size) {
    EXPECT_EQ(parse_proxy_header(v4.substr(0, size)).status, ProxyHeader::Status::more) << size;
  }
  const ProxyHeader header = parse_proxy_header(v4 + "GET /");
  EXPECT_EQ(header.status, ProxyHeader::Status::complete);
  EXPECT_EQ(header.size, v4.size());
  EXPECT_EQ(header.client.value().counted(), "1.2.3.4");

  std::string addresses(36, '\0');
  addresses[0] = 0x20;
  addresses[1] = 0x01;
  const ProxyHeader v6 = parse_proxy_header(proxy_header(0x21, 0x21, addresses + "extensions"));
  EXPECT_EQ(v6.status, ProxyHeader::Status::complete);
  EXPECT_EQ(v6.client.value().counted(), "2001::/64");
}

TEST(ProxyHeader, OfTheBalancerItselfNamesNoClient) {
  const ProxyHeader header = parse_proxy_header(proxy_header(0x20, 0x00, ""));
  EXPECT_EQ(header.status, ProxyHeader::Status::complete);
  EXPECT_FALSE(header.client);
}

TEST(ProxyHeader, WhatIsNoneIsMalformedAtOnce) {
  EXPECT_EQ(parse_proxy_header("G").status, ProxyHeader::Status::malformed);
  EXPECT_EQ(parse_proxy_header("PROXY TCP4 1.1.1.1").status, ProxyHeader::Status::malformed);
  EXPECT_EQ(parse_proxy_header(proxy_header(0x11, 0x11, std::string(12, 'x'))).status, ProxyHeader::Status::malformed);
  EXPECT_EQ(parse_proxy_header(proxy_header(0x22, 0x11, std::string(12, 'x'))).status, ProxyHeader::Status::malformed);
  EXPECT_EQ(parse_proxy_header(proxy_header(0x21, 0x11, std::string(11, 'x'))).status, ProxyHeader::Status::malformed);
  EXPECT_EQ(parse_proxy_header(proxy_header(0x21, 0x11, std::string(2000, 'x')).substr(0, 20)).status,
            ProxyHeader::Status::malformed);
}

}  // namespace
}  // namespace tertulia
