// An HTTP request as the sites see it, and their answer to it.
// Pure. Thread: any.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/http_guard.h"
#include "protocol/request.h"

namespace tertulia {

struct HttpRequest {
  std::string method;
  std::string path;                                         // without the query; as it was sent, nothing decoded
  std::vector<std::pair<std::string, std::string>> fields;  // names in small letters
  bool keep_alive = false;
  bool has_body = false;  // Content-Length above 0, or chunks
  bool http_1_0 = false;
  bool bytes_behind = false;  // something follows the head (a body, or another request)

  // The first field of that name (in small letters); empty if there is none.
  std::string_view field(std::string_view name) const;
  size_t count(std::string_view name) const;
  // Whether a comma-separated list (over all fields of that name) contains the token, compared without case.
  bool lists(std::string_view name, std::string_view token) const;
};

struct HttpAnswer {
  int status = 200;
  std::string_view content_type = "text/plain; charset=utf-8";
  std::string fields;     // further header lines, each with CR LF
  std::string text;       // the body, unless `body` is set
  std::string_view body;  // outlives the answer: an embedded asset
  bool close = false;

  // status 101 only: the connection becomes a session of this dialect.
  Dialect dialect = Dialect::classic;
};

// One sentence as the answer.
HttpAnswer plain_answer(int status, std::string sentence, std::string fields = {});

// REQUIRES: guard_http_head found nothing wrong with `head`. What Beast refuses nevertheless becomes a refusal.
HttpRefusal parse_http_head(std::string_view head, HttpRequest& request);

// The head of the answer, with its empty line. `keep_alive` is what becomes of the connection; `date` is for Date.
std::string answer_head(const HttpAnswer& answer, bool keep_alive, std::string_view date);

std::string_view http_reason(int status);

}  // namespace tertulia
