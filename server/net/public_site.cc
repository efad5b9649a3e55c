#include "net/public_site.h"

#include <algorithm>

#include "protocol/websocket.h"

namespace tertulia {

namespace {

constexpr std::string_view kSubprotocol = "tertulia.v2";

// Everything comes from this server, and a script can come from nowhere else.
constexpr std::string_view kPageFields =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    // The names of files stay the same from version to version: always ask, mostly hear 304.
    "Cache-Control: no-cache\r\n";

constexpr std::string_view kUpgradeFields = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
// The RFC wants the version we speak in every refusal of another one.
constexpr const char* kUpgradeRequired = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";

std::string small_letters(std::string_view text) {
  std::string small(text);
  for (char& c : small) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return small;
}

std::string_view without_suffix(std::string_view text, std::string_view suffix) {
  return text.ends_with(suffix) ? text.substr(0, text.size() - suffix.size()) : text;
}

bool etag_listed(std::string_view list, std::string_view etag) {
  return list == "*" || list.find(etag) != std::string_view::npos;
}

}  // namespace

bool origin_allowed(std::string_view origin, std::string_view host, const OriginPolicy& policy) {
  if (origin.empty()) return !policy.required;
  const std::string small = small_letters(origin);
  if (small == "null") return false;
  for (const std::string& other : policy.allowed) {
    if (other == "*" || small_letters(other) == small) return true;
  }
  // A browser leaves out the scheme's own port, in Origin and in Host; a proxy may have written it into Host.
  std::string_view own = small, port;
  if (own.starts_with("https://")) {
    own.remove_prefix(8);
    port = ":443";
  } else if (own.starts_with("http://")) {
    own.remove_prefix(7);
    port = ":80";
  } else {
    return false;
  }
  const std::string small_host = small_letters(host);
  return !own.empty() && without_suffix(own, port) == without_suffix(small_host, port);
}

HttpAnswer answer_upgrade(const HttpRequest& request, const OriginPolicy& policy) {
  // Whatever is refused here ends the connection: what comes behind may be frames, and is no request.
  const auto refused = [](int status, const char* sentence, const char* fields = "") {
    HttpAnswer answer = plain_answer(status, sentence, fields);
    answer.close = true;
    return answer;
  };
  const bool wants_upgrade = request.count("upgrade") > 0;
  if (request.method != "GET") {
    return wants_upgrade ? refused(400, "A WebSocket begins with GET.")
                         : refused(405, "This is a WebSocket endpoint; it takes GET only.", "Allow: GET\r\n");
  }
  if (!wants_upgrade || !request.lists("upgrade", "websocket")) {
    return refused(426, "This is a WebSocket endpoint; connect with a WebSocket client.", kUpgradeRequired);
  }
  if (request.http_1_0) return refused(400, "A WebSocket needs HTTP/1.1.");
  if (!request.lists("connection", "upgrade")) return refused(400, "Connection does not name Upgrade.");
  if (request.has_body || request.bytes_behind) {
    return refused(400, "Nothing may follow the request before it is answered.");
  }
  if (request.count("sec-websocket-version") != 1 || request.field("sec-websocket-version") != "13") {
    return refused(426, "The WebSocket version spoken here is 13.", kUpgradeRequired);
  }
  if (request.count("sec-websocket-key") != 1 || !handshake_key_valid(request.field("sec-websocket-key"))) {
    return refused(400, "Sec-WebSocket-Key is not 16 bytes in base64.");
  }
  if (request.count("origin") > 1) return refused(400, "There is more than one Origin.");
  if (!origin_allowed(request.field("origin"), request.field("host"), policy)) {
    return refused(403, "Pages of this origin may not connect; the server's --allowed-origins decides.");
  }
  HttpAnswer answer;
  answer.status = 101;
  answer.fields = kUpgradeFields;
  answer.fields += "Sec-WebSocket-Accept: " + handshake_accept(request.field("sec-websocket-key")) + "\r\n";
  if (request.lists("sec-websocket-protocol", kSubprotocol)) {
    answer.dialect = Dialect::v2;
    answer.fields += "Sec-WebSocket-Protocol: ";
    answer.fields += kSubprotocol;
    answer.fields += "\r\n";
  }
  return answer;
}

HttpAnswer PublicSite::answer(const HttpRequest& request) {
  if (request.path == "/chat") {
    HttpAnswer answer = answer_upgrade(request, policy_);
    if (answer.status == 101 && draining_.load(std::memory_order_relaxed)) {
      answer = plain_answer(503, "This node is leaving; another one, or this one after its restart, will serve you.",
                            "Retry-After: 1\r\n");
      answer.close = true;
    }
    return answer;
  }
  const std::string_view path = request.path == "/" ? std::string_view("/index.html") : request.path;
  for (const Asset& asset : assets_) {
    if (asset.path == path) return answer_asset(request, asset);
  }
  if (request.path == "/") {
    return plain_answer(200, "Tertulia serves a chat at /chat. This build has no page.", std::string(kPageFields));
  }
  if (path == "/images" || path.starts_with("/images/") || path == "/files" || path.starts_with("/files/")) {
    return plain_answer(404, "This server keeps no images and files.");
  }
  return plain_answer(404, "There is nothing here.");
}

HttpAnswer PublicSite::answer_asset(const HttpRequest& request, const Asset& asset) const {
  if (request.method != "GET" && request.method != "HEAD") {
    return plain_answer(405, "This can only be read.", "Allow: GET, HEAD\r\n");
  }
  HttpAnswer answer;
  answer.fields = kPageFields;
  answer.fields += "ETag: ";
  answer.fields += asset.etag;
  answer.fields += "\r\n";
  if (etag_listed(request.field("if-none-match"), asset.etag)) {
    answer.status = 304;
    return answer;
  }
  answer.content_type = asset.content_type;
  answer.body = asset.body;
  return answer;
}

}  // namespace tertulia
