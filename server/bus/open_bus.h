// Opens a bus by its name.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/random.h"
#include "bus/bus.h"
#include "bus/nats_bus.h"

namespace tertulia {

struct OpenedBus {
  std::unique_ptr<Bus> bus;  // nothing: `error` says what and what to do
  std::string error;
};

// kind: "local", or the servers of NATS (nats_url.h). Waits for no server. The bus ends with the pointer.
[[nodiscard]] OpenedBus open_bus(const std::string& kind, const NatsOptions& options, const Clock& clock,
                                 Random& random);

// What is wrong with the name, empty if nothing; repeats no credentials.
std::string wrong_bus(const std::string& kind);
// The name for logs: without credentials.
std::string shown_bus(const std::string& kind);

}  // namespace tertulia
