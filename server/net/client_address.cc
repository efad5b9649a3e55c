#include "net/client_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace tertulia {

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  char buffer[INET6_ADDRSTRLEN];
  if (text.size() >= sizeof buffer) return std::nullopt;
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = 0;
  if (std::strlen(buffer) != text.size()) return std::nullopt;
  uint8_t bytes[16];
  if (inet_pton(AF_INET, buffer, bytes) == 1) return from_bytes(true, bytes);
  if (inet_pton(AF_INET6, buffer, bytes) == 1) return from_bytes(false, bytes);
  return std::nullopt;
}

std::optional<IpAddress> IpAddress::from(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    return from_bytes(true, reinterpret_cast<const uint8_t*>(&reinterpret_cast<const sockaddr_in&>(address).sin_addr));
  }
  if (address.ss_family == AF_INET6) {
    return from_bytes(false,
                      reinterpret_cast<const uint8_t*>(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr));
  }
  return std::nullopt;
}

IpAddress IpAddress::from_bytes(bool v4, const uint8_t* bytes) {
  static constexpr uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  IpAddress address;
  if (!v4 && std::equal(mapped, mapped + 12, bytes)) return from_bytes(true, bytes + 12);
  address.v4_ = v4;
  std::copy_n(bytes, v4 ? 4 : 16, address.bytes_.begin());
  return address;
}

std::string IpAddress::counted() const {
  char text[INET6_ADDRSTRLEN];
  if (v4_) {
    inet_ntop(AF_INET, bytes_.data(), text, sizeof text);
    return text;
  }
  std::array<uint8_t, 16> network = bytes_;
  // Loopback stays itself: its /64 reads like "any address".
  const bool loopback = std::all_of(bytes_.begin(), bytes_.end() - 1, [](uint8_t b) { return b == 0; });
  if (!loopback) std::fill(network.begin() + 8, network.end(), 0);
  inet_ntop(AF_INET6, network.data(), text, sizeof text);
  return loopback ? std::string(text) : std::string(text) + "/64";
}

bool IpAddress::in_network(const IpAddress& network, unsigned bits) const {
  if (v4_ != network.v4_) return false;
  const unsigned whole = bits / 8;
  if (!std::equal(bytes_.begin(), bytes_.begin() + whole, network.bytes_.begin())) return false;
  const unsigned rest = bits % 8;
  return rest == 0 || ((bytes_[whole] ^ network.bytes_[whole]) >> (8 - rest)) == 0;
}

bool TrustedProxies::add(std::string_view cidr) {
  const size_t slash = cidr.find('/');
  const std::optional<IpAddress> address = IpAddress::parse(cidr.substr(0, slash));
  if (!address) return false;
  const unsigned bits_max = address->v4() ? 32 : 128;
  unsigned bits = bits_max;
  if (slash != std::string_view::npos) {
    const std::string_view digits = cidr.substr(slash + 1);
    if (digits.empty() || digits.size() > 3) return false;
    bits = 0;
    for (char c : digits) {
      if (c < '0' || c > '9') return false;
      bits = bits * 10 + static_cast<unsigned>(c - '0');
    }
    if (bits > bits_max) return false;
  }
  networks_.emplace_back(*address, bits);
  return true;
}

bool TrustedProxies::contains(const IpAddress& address) const {
  return std::any_of(networks_.begin(), networks_.end(),
                     [&](const auto& network) { return address.in_network(network.first, network.second); });
}

IpAddress forwarded_client(const IpAddress& peer, std::string_view forwarded_for, const TrustedProxies& proxies) {
  IpAddress client = peer;
  while (proxies.contains(client) && !forwarded_for.empty()) {
    const size_t comma = forwarded_for.rfind(',');
    std::string_view item = comma == std::string_view::npos ? forwarded_for : forwarded_for.substr(comma + 1);
    forwarded_for = comma == std::string_view::npos ? std::string_view() : forwarded_for.substr(0, comma);
    while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
    while (!item.empty() && (item.back() == ' ' || item.back() == '\t')) item.remove_suffix(1);
    // Some proxies add the port: 1.2.3.4:567, [::1]:567.
    if (item.starts_with('[')) {
      item = item.substr(1, item.find(']') - 1);
    } else if (std::count(item.begin(), item.end(), ':') == 1) {
      item = item.substr(0, item.find(':'));
    }
    const std::optional<IpAddress> next = IpAddress::parse(item);
    if (!next) break;
    client = *next;
  }
  return client;
}

ProxyHeader parse_proxy_header(std::string_view bytes) {
  static constexpr std::string_view signature("\r\n\r\n\0\r\nQUIT\n", 12);
  ProxyHeader header;
  const auto malformed = [&] {
    header.status = ProxyHeader::Status::malformed;
    return header;
  };
  const size_t compared = std::min(bytes.size(), signature.size());
  if (bytes.substr(0, compared) != signature.substr(0, compared)) return malformed();
  if (bytes.size() < 16) return header;
  const auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t version = at(12) >> 4, command = at(12) & 15, family = at(13) >> 4;
  const size_t length = static_cast<size_t>(at(14)) << 8 | at(15);
  if (version != 2 || command > 1 || 16 + length > kProxyHeaderBytesMax) return malformed();
  if (bytes.size() < 16 + length) return header;
  header.size = 16 + length;
  if (command == 1 && (family == 1 || family == 2)) {
    if (length < (family == 1 ? 12u : 36u)) return malformed();
    header.client = IpAddress::from_bytes(family == 1, reinterpret_cast<const uint8_t*>(bytes.data() + 16));
  }
  header.status = ProxyHeader::Status::complete;
  return header;
}

}  // namespace tertulia
