#include "bus/nats_url.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace tertulia {
namespace {

constexpr std::string_view plain_scheme = "nats://", tls_scheme = "tls://";

std::optional<std::string> decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    uint8_t byte = 0;
    if (i + 2 >= text.size()) return std::nullopt;
    const char* const digits = text.data() + i + 1;
    if (const auto [end, error] = std::from_chars(digits, digits + 2, byte, 16);
        error != std::errc() || end != digits + 2 || byte == 0) {
      return std::nullopt;
    }
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

bool is_host(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_';
  });
}

// Fills user, password or token. Empty, or what is wrong.
std::string read_credentials(std::string_view text, NatsServer& server) {
  const size_t colon = text.find(':');
  const auto name = decoded(text.substr(0, colon));
  const auto password = decoded(colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1));
  if (!name || !password || name->empty()) return "has credentials that cannot be read; write % itself as %25";
  server.user = server.password = server.token = {};
  if (colon == std::string_view::npos) {
    server.token = *name;
  } else {
    server.user = *name;
    server.password = *password;
  }
  return {};
}

// `server` holds scheme and credentials of the one before. Empty, or what is wrong.
std::string read_server(std::string_view text, bool first, NatsServer& server) {
  const bool tls = text.starts_with(tls_scheme), plain = text.starts_with(plain_scheme);
  if (first && !tls && !plain) return "begins neither with nats:// nor with tls://";
  if (tls || plain) {
    server = NatsServer{};
    server.tls = tls;
    text.remove_prefix((tls ? tls_scheme : plain_scheme).size());
  }
  if (const size_t at = text.rfind('@'); at != std::string_view::npos) {
    if (std::string wrong = read_credentials(text.substr(0, at), server); !wrong.empty()) return wrong;
    text.remove_prefix(at + 1);
  }
  if (text.ends_with('/')) text.remove_suffix(1);
  std::string_view port;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return "has no ] behind its address";
    server.host = text.substr(1, end - 1);
    if (server.host.find_first_not_of("0123456789abcdefABCDEF:.") != std::string::npos || server.host.size() < 2) {
      return "names no host";
    }
    text.remove_prefix(end + 1);
    if (!text.empty() && text.front() != ':') return "names no host";
    port = text.empty() ? text : text.substr(1);
    if (!text.empty() && port.empty()) return "has no port behind its colon";
  } else {
    const size_t colon = std::min(text.find(':'), text.size());
    if (!is_host(text.substr(0, colon))) return "names no host";
    server.host = text.substr(0, colon);
    if (colon + 1 == text.size()) return "has no port behind its colon";
    if (colon < text.size()) port = text.substr(colon + 1);
  }
  server.port = 4222;
  if (!port.empty()) {
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), server.port);
    if (error != std::errc() || end != port.data() + port.size() || server.port == 0) {
      return "has a port that is none of 1 to 65535";
    }
  }
  return {};
}

}  // namespace

std::string NatsServer::address() const {
  const bool v6 = host.find(':') != std::string::npos;
  return std::string(tls ? tls_scheme : plain_scheme) + (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::variant<std::vector<NatsServer>, std::string> parse_nats_urls(std::string_view urls) {
  std::vector<NatsServer> servers;
  NatsServer server;
  for (size_t number = 1;; ++number) {
    const size_t comma = std::min(urls.find(','), urls.size());
    std::string_view item = urls.substr(0, comma);
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    if (const std::string wrong = read_server(item, number == 1, server); !wrong.empty()) {
      return "server " + std::to_string(number) + " of the list " + wrong +
             "; write nats://HOST[:PORT],… or tls://USER:PASSWORD@HOST[:PORT],…";
    }
    servers.push_back(server);
    if (comma == urls.size()) return servers;
    urls.remove_prefix(comma + 1);
  }
}

std::string addresses_of(const std::vector<NatsServer>& servers) {
  std::string text;
  for (const NatsServer& server : servers) text += (text.empty() ? "" : ", ") + server.address();
  return text;
}

}  // namespace tertulia
