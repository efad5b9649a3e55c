// The bytes of WIRE's v2 that the driver needs, spelled so that reading them costs next to nothing.
//
// All names of a run have the same length, so in a message's frame the room's number and the message's index lie at
// fixed offsets, and its sequence is found from the end. The driver must cost less than the server it measures.
// Thread: any. Memory: none kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tertulia::bench {

// "bench-00012", "member-00345".
std::string room_name(uint32_t room);
std::string member_name(uint32_t member);

// A text of `bytes` (at least 12) that begins with the message's index.
std::string text_of(uint64_t index, size_t bytes);

// `uuid` differs between runs, so that a data directory may be used twice.
std::string join_request(uint32_t room, uint32_t member);
std::string text_request(uint32_t room, uint64_t index, const std::string& run, std::string_view text);
// What the server makes of a text: the bare loop is given it ready-made, so that both send the same bytes.
std::string push(uint32_t room, uint64_t index, const std::string& run, std::string_view text, uint64_t sequence,
                 int64_t now_ms);

std::string upgrade_request(std::string_view host, bool v2);
// One masked frame behind `out`.
void append_client_frame(std::string& out, uint8_t opcode, std::string_view payload, uint32_t mask);

// The head of a frame as the server sends it: unmasked and whole in one piece.
struct FrameHead {
  uint8_t opcode;
  size_t header_bytes, payload_bytes;
};
// Nothing if the head is not all there. `valid` becomes false for what no server may send here.
std::optional<FrameHead> read_head(const char* data, size_t size, bool& valid);

enum class FrameKind { message, live, answer, failure, other };
FrameKind kind_of(std::string_view payload);

struct Push {
  uint32_t room;
  uint64_t index, sequence;
};
// REQUIRES: kind_of(payload) is message. Nothing if it is not spelled as this driver's messages are.
std::optional<Push> read_push(std::string_view payload);
// All of the frame is what it should be; for samples.
bool push_is_whole(std::string_view payload, size_t text_bytes);
// Behind the first `"sequence":`.
std::optional<uint64_t> find_sequence(std::string_view payload);

}  // namespace tertulia::bench
