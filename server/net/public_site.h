// What the public port serves: the WebSocket endpoint, the page, and one sentence for everything else.
// Thread: any; only `draining` changes after construction. Memory: fixed. Ends: after all connections.
#pragma once

#include <atomic>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/assets.h"
#include "net/http_connection.h"

namespace tertulia {

// Whether a page of this origin may speak with the server: its own (Origin's host and port are those of Host; the
// scheme is ignored, since TLS ends at a proxy), or one of the list, spelled as browsers do ("https://chat.example").
// An empty origin is no browser's and is allowed unless one is required; "null" never is. "*" allows every other one.
struct OriginPolicy {
  std::vector<std::string> allowed;  // besides the own
  bool required = false;
};
bool origin_allowed(std::string_view origin, std::string_view host, const OriginPolicy& policy);

// Judges a WebSocket handshake (RFC 6455, 4.2.1) and answers it: 101, or what is wrong with it. Of subprotocols only
// tertulia.v2 is known, of extensions none.
HttpAnswer answer_upgrade(const HttpRequest& request, const OriginPolicy& policy);

class PublicSite final : public HttpSite {
 public:
  PublicSite(OriginPolicy policy, std::span<const Asset> assets) : policy_(std::move(policy)), assets_(assets) {}

  HttpAnswer answer(const HttpRequest& request) override;

  // From now on upgrades are answered 503; the page is still served.
  void set_draining() { draining_.store(true, std::memory_order_relaxed); }

 private:
  HttpAnswer answer_asset(const HttpRequest& request, const Asset& asset) const;

  const OriginPolicy policy_;
  const std::span<const Asset> assets_;
  std::atomic<bool> draining_ = false;
};

}  // namespace tertulia
