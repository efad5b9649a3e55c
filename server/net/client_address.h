// Whose a connection is: addresses as limits count them, proxies that may speak for others, and how these say for whom.
// Pure. Thread: any.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tertulia {

// IPv4 (also written inside IPv6, as ::ffff:1.2.3.4) or IPv6.
class IpAddress {
 public:
  static std::optional<IpAddress> parse(std::string_view text);
  static std::optional<IpAddress> from(const sockaddr_storage& address);
  static IpAddress from_bytes(bool v4, const uint8_t* bytes);

  // As limits count it: IPv4 as it is; of IPv6 the /64, which is what one subscriber is given.
  std::string counted() const;
  bool in_network(const IpAddress& network, unsigned bits) const;
  bool v4() const { return v4_; }

 private:
  bool v4_ = true;
  std::array<uint8_t, 16> bytes_{};
};

// The networks whose word about the client's address is believed.
class TrustedProxies {
 public:
  // Adds "10.0.0.0/8" or a single address. Returns false and changes nothing if it is neither.
  [[nodiscard]] bool add(std::string_view cidr);
  bool contains(const IpAddress& address) const;
  bool empty() const { return networks_.empty(); }

 private:
  std::vector<std::pair<IpAddress, unsigned>> networks_;
};

// The client of a request that `peer` has brought: the right-most address in X-Forwarded-For (all its values joined
// with commas) that is no trusted proxy; the peer itself if it is not trusted. What cannot be read ends the search at
// the last proxy whose word was good.
IpAddress forwarded_client(const IpAddress& peer, std::string_view forwarded_for, const TrustedProxies& proxies);

// PROXY protocol, version 2: what a balancer writes before the client's first byte.
struct ProxyHeader {
  enum class Status : uint8_t { more, malformed, complete };
  Status status = Status::more;
  size_t size = 0;                  // of the header, once complete
  std::optional<IpAddress> client;  // none: the balancer speaks for itself, or of no IP address
};
ProxyHeader parse_proxy_header(std::string_view bytes);
// The longest header taken; addresses need 52 bytes, the rest are extensions that nobody here reads.
inline constexpr size_t kProxyHeaderBytesMax = 1024;

}  // namespace tertulia
