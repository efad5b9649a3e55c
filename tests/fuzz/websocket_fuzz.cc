// Whatever bytes a client sends, and however they are cut, the WebSocket reader says the same, within its limits, and
// reads nothing beside them (every piece lies in memory of exactly its size; run this with AddressSanitizer).
//
// Input: one byte of options, two bytes from which the cuts are drawn, then the bytes of the connection.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "protocol/utf8.h"
#include "protocol/websocket.h"
#include "protocol/websocket_recorder.h"

namespace {

using Lines = std::vector<std::string>;

[[noreturn]] void broken(const std::string& what, const Lines& whole, const Lines& pieces) {
  const auto print = [](const char* name, const Lines& lines) {
    std::fprintf(stderr, "%s:\n", name);
    for (const std::string& line : lines) std::fprintf(stderr, "  [%zu] %.200s\n", line.size(), line.c_str());
  };
  std::fprintf(stderr, "websocket_fuzz: %s\n", what.c_str());
  print("whole", whole);
  print("in pieces", pieces);
  std::abort();
}

tertulia::WebSocketLimits limits_from(uint8_t options) {
  tertulia::WebSocketLimits limits;
  limits.binary_allowed = (options & 1) != 0;
  if ((options & 2) == 0) {
    // So small that short inputs reach them.
    limits.message_bytes_max = 40;
    limits.skipped_bytes_max = 100;
    limits.fragments_max = 4;
    limits.fragment_charge_bytes = 4;
  }
  return limits;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const tertulia::WebSocketLimits limits = limits_from(data[0]);
  const bool stops = (data[0] & 4) != 0;
  tertulia::SeededRandom random(static_cast<uint64_t>(data[1]) << 8 | data[2]);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 3, size - 3);

  std::string fault;
  const Lines whole = tertulia::websocket_lines(
      limits, bytes, [] { return size_t{0}; }, {}, &fault);
  if (!fault.empty()) broken(fault, whole, {});
  const uint64_t piece_bytes_max = 1 + random.below(20);
  const Lines pieces = tertulia::websocket_lines(
      limits, bytes, [&] { return 1 + random.below(piece_bytes_max); }, [&] { return !stops || random.below(2) == 0; },
      &fault);
  if (!fault.empty()) broken(fault, whole, pieces);
  if (whole != pieces) broken("the cuts change what is heard", whole, pieces);

  for (const std::string& line : whole) {
    const std::string_view view(line);
    if (view.starts_with("text ")) {
      if (!tertulia::utf8_valid(view.substr(5))) broken("a text that is not UTF-8 was delivered", whole, pieces);
      if (view.size() - 5 > limits.message_bytes_max) broken("a text above its limit was delivered", whole, pieces);
    } else if (view.starts_with("binary ")) {
      if (!limits.binary_allowed) broken("a binary message was delivered", whole, pieces);
      if (view.size() - 7 > limits.message_bytes_max) broken("a message above its limit was delivered", whole, pieces);
    } else if (view.starts_with("ping ") || view.starts_with("pong ")) {
      if (view.size() - 5 > 125) broken("a control frame above 125 bytes was delivered", whole, pieces);
    }
  }
  return 0;
}
