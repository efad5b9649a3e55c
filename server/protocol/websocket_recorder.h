// For tests and fuzz targets only: what a WebSocketReader says about some bytes, as lines of text that can be compared
// however the bytes were cut.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/websocket.h"

namespace tertulia {

// Writes down everything. keeps_going, if set, is asked after each line whether the handler returns true.
class WebSocketRecorder final : public WebSocketReader::Handler {
 public:
  bool on_message(Opcode kind, std::string_view payload) override {
    return add((kind == Opcode::text     ? "text "
                : kind == Opcode::binary ? "binary "
                                         : "neither ") +
               std::string(payload));
  }
  bool on_too_large(uint64_t bytes) override { return add("too large " + std::to_string(bytes)); }
  bool on_ping(std::string_view payload) override { return add("ping " + std::string(payload)); }
  bool on_pong(std::string_view payload) override { return add("pong " + std::string(payload)); }
  bool on_empty_frame() override { return add("empty"); }
  void on_close(CloseCode code, std::string_view reason) override {
    add("close " + std::to_string(static_cast<int>(code)) + " " + std::string(reason));
  }

  std::vector<std::string> lines;
  std::function<bool()> keeps_going;

 private:
  bool add(std::string line) {
    lines.push_back(std::move(line));
    return !keeps_going || keeps_going();
  }
};

// Feeds bytes to a fresh reader, in pieces of the sizes that next_piece_bytes says (0: all that is left). Each piece
// lies alone in memory of its own size, so that AddressSanitizer sees any read beside it. What a stopped reader left is
// fed again, in a new piece. The last line tells how it ended: "more", "more, mid message", or "failed" and the close
// code; nothing after a close.
inline std::vector<std::string> websocket_lines(const WebSocketLimits& limits, std::string_view bytes,
                                                const std::function<size_t()>& next_piece_bytes,
                                                std::function<bool()> keeps_going = {}, std::string* broken = nullptr) {
  const auto note = [&](const char* what) {
    if (broken != nullptr) *broken = what;
  };
  WebSocketReader reader(limits);
  WebSocketRecorder recorder;
  recorder.keeps_going = std::move(keeps_going);
  size_t position = 0;
  while (position < bytes.size()) {
    size_t size = next_piece_bytes();
    if (size == 0 || size > bytes.size() - position) size = bytes.size() - position;
    const std::unique_ptr<char[]> piece(new char[size]);
    std::copy_n(bytes.data() + position, size, piece.get());
    const WebSocketReader::Fed fed = reader.feed(piece.get(), size, recorder);
    if (fed.consumed > size) note("consumed more than was there");
    position += fed.consumed;
    if (reader.mid_message() != (reader.held_bytes() != 0)) note("held and mid_message disagree");
    // Twice what arrived while it grows, and what holds the state itself.
    if (reader.held_bytes() > 2 * position + 512) note("holds more than arrived");
    if (fed.status == WebSocketReader::Status::more && fed.consumed != size) note("more, but not everything was taken");
    if (fed.status == WebSocketReader::Status::closed || fed.status == WebSocketReader::Status::failed) {
      if (reader.held_bytes() != 0) note("holds memory after its end");
      if (fed.status == WebSocketReader::Status::failed) {
        recorder.lines.push_back("failed " + std::to_string(static_cast<int>(reader.fail_code())));
        if (reader.fail_reason().empty() || reader.fail_reason().size() > 123) note("a fail_reason that fits no close");
      }
      return recorder.lines;
    }
  }
  recorder.lines.push_back(reader.mid_message() ? "more, mid message" : "more");
  return recorder.lines;
}

}  // namespace tertulia
