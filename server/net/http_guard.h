// Decides whether the head of an HTTP request may be looked at by anybody else: whatever two readers could read
// differently is refused here, never guessed at. Beast, which parses what passes, is more generous than a server with a
// proxy before it may be (Transfer-Encoding with Content-Length, HTTP/1.0 with chunks and others).
// Pure; linear in the bytes, however they arrive. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tertulia {

struct HttpHeadLimits {
  size_t head_bytes_max = 8 << 10;  // with the request line and the empty line at the end
  size_t fields_max = 100;
  size_t target_bytes_max = 2 << 10;
};

// The status to refuse with, and one sentence for whoever reads the answer. status 0: nothing is wrong.
struct HttpRefusal {
  int status = 0;
  const char* sentence = "";
  bool operator==(const HttpRefusal& other) const { return status == other.status; }
};

// Finds the end of a head while it arrives; looks at every byte once.
class HttpHeadScanner {
 public:
  // `bytes` is all that has come so far. Returns the head's size with its empty line once it is complete, else 0.
  // A refusal is final. REQUIRES: each call's bytes begin with the former call's.
  size_t scan(std::string_view bytes, const HttpHeadLimits& limits, HttpRefusal& refusal);
  void restart() { *this = HttpHeadScanner(); }
  bool request_line_complete() const { return lines_ > 0; }

 private:
  size_t seen_ = 0;
  size_t line_begin_ = 0;
  size_t lines_ = 0;
};

// Judges a complete head: from the request line to the empty line, both included.
HttpRefusal guard_http_head(std::string_view head, const HttpHeadLimits& limits);

}  // namespace tertulia
