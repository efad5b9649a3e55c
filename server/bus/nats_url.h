// The servers of a NATS bus, as an operator writes them: nats://a,b:4223,c or tls://user:password@a:4222,b.
//
// What follows the first server may leave out scheme and credentials: it has those of the one before. A name without a
// password is a token. What the URL syntax wants for itself is written %XX inside credentials. Pure. Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace tertulia {

struct NatsServer {
  bool tls = false;
  std::string user, password, token;
  std::string host;  // an IPv6 address without its brackets
  uint16_t port = 4222;

  // "nats://host:port": for people and logs, without the credentials.
  std::string address() const;
};

// At least one server; or what is wrong, in words that repeat no credentials.
std::variant<std::vector<NatsServer>, std::string> parse_nats_urls(std::string_view urls);

// As NatsServer::address(), of all: for logs.
std::string addresses_of(const std::vector<NatsServer>& servers);

}  // namespace tertulia
