// The internal port: for the operator, the balancer and Prometheus, never for the public.
//
//   GET /healthz   200 while the process lives and its accepting thread runs
//   GET /readyz    200 while new connections are welcome, else 503. It does not depend on the store or the bus: an
//                  outage of either must not take all nodes out of the balancer at once. The lines behind the first
//                  say what store and bus lack
//   GET /metrics   Prometheus' text format
//   POST /drain    202: the node begins to leave, as on SIGTERM
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "net/http_connection.h"

namespace tertulia {

// Thread: that of its one service. Ends: after its connections.
class InternalSite final : public HttpSite {
 public:
  struct Doors {
    std::function<bool()> ready;
    std::function<std::string()> trouble;  // what does not work just now, a line each; empty: nothing
    std::function<std::string()> metrics;
    std::function<void()> drain;  // may be called again
  };
  explicit InternalSite(Doors doors) : doors_(std::move(doors)) {}

  HttpAnswer answer(const HttpRequest& request) override;

 private:
  const Doors doors_;
};

// `tertulia drain`: asks the node whose internal port this is to leave, and blocks until it has answered (10 s at
// most). Returns an empty string, or what went wrong and what to do.
[[nodiscard]] std::string ask_to_drain(std::string_view internal_listen);

}  // namespace tertulia
