// Speaks HTTP on one accepted socket until it is closed or becomes a WebSocket: reads heads in a bounded buffer, has
// them guarded and parsed, asks the site, writes the answer, and hands an upgraded socket to the shard's opener.
//
// Requests with a body are answered and the connection closed, so that nothing behind a head is ever taken for a
// request by mistake. A head has head_us from the connection's beginning, or from the answer before it.
// Thread: the loop's. Memory: up to 8 KiB and a fixed rest while a head is on its way; nothing of it after an upgrade.
// Ends: by itself; with the loop at the latest.
#pragma once

#include <unordered_set>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/client_address.h"
#include "net/connection_counts.h"
#include "net/event_loop.h"
#include "net/http_message.h"
#include "node/transport.h"

namespace tertulia {

class HttpConnection;

// What is served. Thread: any, also several at once.
class HttpSite {
 public:
  virtual ~HttpSite() = default;
  // Status 101 makes the connection a session; it is given only to requests that http_upgrade() or the like has
  // accepted.
  virtual HttpAnswer answer(const HttpRequest& request) = 0;
};

// What the connections of one shard have in common, and who they are.
// Thread: its loop's; made and destroyed while the loop is not running. Everything referred to outlives it.
class HttpService {
 public:
  struct Parts {
    EventLoop& loop;
    HttpSite& site;
    SessionOpener* opener;  // null: the site answers no 101
    ConnectionCounts& counts;
    const TrustedProxies& proxies;
    const Clock& clock;
    Log& log;
    ShardMetrics& metrics;
    bool proxy_protocol = false;  // trusted proxies begin with a PROXY header; others never
    int64_t head_us = 10'000'000;
    HttpHeadLimits limits = {};
  };

  explicit HttpService(Parts parts) : parts_(parts) {}
  // Closes what still speaks HTTP. WebSockets are their sessions'.
  ~HttpService();
  HttpService(const HttpService&) = delete;
  HttpService& operator=(const HttpService&) = delete;

  // Serves a connection. `fd` is non-blocking and becomes the connection's; a slot that is not counted by address
  // belongs to a trusted proxy and is counted as soon as it is known for whom it speaks.
  void serve(int fd, const IpAddress& peer, ConnectionCounts::Slot slot);
  // Tells a connection that there is no place for it (429 or 503), and closes it. `slot` is where refused ones count.
  void refuse(int fd, int status, ConnectionCounts::Slot slot);

  const Parts& parts() const { return parts_; }

 private:
  friend class HttpConnection;

  const Parts parts_;
  std::unordered_set<HttpConnection*> open_;
};

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string http_date(int64_t unix_ms);

}  // namespace tertulia
