#include "bus/open_bus.h"

#include <utility>

#include "bus/local_bus.h"

namespace tertulia {

OpenedBus open_bus(const std::string& kind, const NatsOptions& options, const Clock& clock, Random& random) {
  if (kind == "local") return {std::make_unique<LocalBus>(), ""};
  NatsBus::Opened opened = NatsBus::open(kind, options, clock, random);
  return {std::move(opened.bus), std::move(opened.error)};
}

std::string wrong_bus(const std::string& kind) {
  if (kind == "local") return {};
  if (!kind.starts_with("nats://") && !kind.starts_with("tls://")) {
    return "is none of local, nats://HOST[:PORT],… and tls://HOST[:PORT],…";
  }
  const auto servers = parse_nats_urls(kind);
  const auto* wrong = std::get_if<std::string>(&servers);
  return wrong != nullptr ? *wrong : std::string();
}

std::string shown_bus(const std::string& kind) {
  const auto servers = parse_nats_urls(kind);
  const auto* all = std::get_if<std::vector<NatsServer>>(&servers);
  return all != nullptr ? addresses_of(*all) : std::string("local");
}

}  // namespace tertulia
