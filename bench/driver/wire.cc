#include "driver/wire.h"

#include <charconv>
#include <cstring>

namespace tertulia::bench {
namespace {

using std::literals::operator""sv;

constexpr size_t user_id_bytes = 23, room_digits = 5, index_digits = 10, chain_bytes = 16;
constexpr auto push_begin = R"({"jsonrpc":"2.0","method":"textMessage","params":{"userId":")"sv;
constexpr auto live_begin = R"({"jsonrpc":"2.0","method":"live",)"sv;
constexpr auto result_begin = R"({"jsonrpc":"2.0","result":)"sv;
constexpr auto error_begin = R"({"jsonrpc":"2.0","error":)"sv;
constexpr auto room_key = R"(","roomName":"bench-)"sv;
constexpr auto name_key = R"(","userName":"member-)"sv;
constexpr auto text_key = R"(","text":")"sv;

constexpr size_t room_at = push_begin.size() + user_id_bytes + room_key.size();
constexpr size_t index_at = room_at + room_digits + name_key.size() + room_digits + text_key.size();
// From the end: "…,"_id":"123-chain"}
constexpr size_t behind_sequence = 1 + chain_bytes + 2;

std::string padded(uint64_t number, size_t digits) {
  std::string text = std::to_string(number);
  return text.size() >= digits ? text : std::string(digits - text.size(), '0') + text;
}

template <class Number>
bool read_digits(const char* at, size_t digits, Number& number) {
  number = 0;
  for (size_t i = 0; i < digits; ++i) {
    if (at[i] < '0' || at[i] > '9') return false;
    number = number * 10 + static_cast<Number>(at[i] - '0');
  }
  return true;
}

std::string uuid_of(const std::string& run, uint64_t index) {
  return run + "-" + padded(index, index_digits);
}

}  // namespace

std::string room_name(uint32_t room) {
  return "bench-" + padded(room, room_digits);
}

std::string member_name(uint32_t member) {
  return "member-" + padded(member, room_digits);
}

std::string text_of(uint64_t index, size_t bytes) {
  std::string text = padded(index, index_digits) + ' ';
  while (text.size() < bytes) text += "so said one and another answered "sv.substr(0, bytes - text.size());
  return text;
}

std::string join_request(uint32_t room, uint32_t member) {
  return R"({"jsonrpc":"2.0","method":"joinRoom","params":{"roomName":")" + room_name(room) + R"(","userName":")" +
         member_name(member) + R"(","limit":0},"id":)" + std::to_string(room) + "}";
}

std::string text_request(uint32_t room, uint64_t index, const std::string& run, std::string_view text) {
  std::string out = R"({"jsonrpc":"2.0","method":"textMessage","params":{"roomName":")" + room_name(room);
  out += R"(","text":")";
  out += text;
  out += R"(","uuid":")" + uuid_of(run, index) + R"(","date":"2020-01-01T00:00:00.000Z"},"id":)";
  return out + std::to_string(index) + "}";
}

std::string push(uint32_t room, uint64_t index, const std::string& run, std::string_view text, uint64_t sequence,
                 int64_t now_ms) {
  std::string out(push_begin);
  out += "~bare-bare-bare-bare-ba";
  out += room_key;
  out += padded(room, room_digits);
  out += name_key;
  out += padded(0, room_digits);
  out += text_key;
  out += text;
  out += R"(","ack":true,"uuid":")" + uuid_of(run, index) + R"(","date":"2020-01-01T00:00:00.000Z","sentAt":)";
  out += std::to_string(now_ms) + R"(},"id":)" + std::to_string(index) + R"(,"sequence":)" + std::to_string(sequence);
  return out + R"(,"_id":")" + std::to_string(sequence) + R"(-barebarebarebare"})";
}

std::string upgrade_request(std::string_view host, bool v2) {
  std::string out = "GET /chat HTTP/1.1\r\nHost: ";
  out += host;
  out +=
      "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  if (v2) out += "Sec-WebSocket-Protocol: tertulia.v2\r\n";
  return out + "\r\n";
}

void append_client_frame(std::string& out, uint8_t opcode, std::string_view payload, uint32_t mask) {
  out += static_cast<char>(0x80 | opcode);
  const uint64_t size = payload.size();
  const int length_bytes = size < 126 ? 0 : size <= 0xFFFF ? 2 : 8;
  out += static_cast<char>(0x80 | (length_bytes == 0 ? size : length_bytes == 2 ? 126 : 127));
  for (int i = length_bytes - 1; i >= 0; --i) out += static_cast<char>(size >> (8 * i));
  char key[4];
  std::memcpy(key, &mask, sizeof key);
  out.append(key, sizeof key);
  const size_t begin = out.size();
  out += payload;
  for (size_t i = 0; i < size; ++i) out[begin + i] = static_cast<char>(out[begin + i] ^ key[i % 4]);
}

std::optional<FrameHead> read_head(const char* data, size_t size, bool& valid) {
  if (size < 2) return std::nullopt;
  const auto first = static_cast<uint8_t>(data[0]), second = static_cast<uint8_t>(data[1]);
  valid = (first & 0xF0) == 0x80 && (second & 0x80) == 0;
  const size_t length_bytes = second < 126 ? 0 : second == 126 ? 2 : 8;
  if (size < 2 + length_bytes) return std::nullopt;
  uint64_t length = second;
  if (length_bytes > 0) {
    length = 0;
    for (size_t i = 0; i < length_bytes; ++i) length = length << 8 | static_cast<uint8_t>(data[2 + i]);
  }
  valid = valid && length <= (16u << 20);
  return FrameHead{static_cast<uint8_t>(first & 0x0F), 2 + length_bytes, length};
}

FrameKind kind_of(std::string_view payload) {
  if (payload.starts_with(push_begin)) return FrameKind::message;
  if (payload.starts_with(result_begin)) return FrameKind::answer;
  if (payload.starts_with(live_begin)) return FrameKind::live;
  if (payload.starts_with(error_begin)) return FrameKind::failure;
  return FrameKind::other;
}

std::optional<Push> read_push(std::string_view payload) {
  if (payload.size() < index_at + index_digits + behind_sequence + 1) return std::nullopt;
  Push push{};
  if (!read_digits(payload.data() + room_at, room_digits, push.room) ||
      !read_digits(payload.data() + index_at, index_digits, push.index)) {
    return std::nullopt;
  }
  const char* at = payload.data() + payload.size() - behind_sequence;
  if (*at != '-') return std::nullopt;
  const char* const end = at;
  while (at[-1] >= '0' && at[-1] <= '9') --at;
  if (at[-1] != '"' || !read_digits(at, static_cast<size_t>(end - at), push.sequence)) return std::nullopt;
  return push;
}

bool push_is_whole(std::string_view payload, size_t text_bytes) {
  const std::optional<Push> push = read_push(payload);
  if (!push || find_sequence(payload) != push->sequence) return false;
  const std::string text = text_of(push->index, text_bytes);
  const std::string behind = R"(","ack":true,"uuid":")";
  return payload.substr(index_at, text.size()) == text &&
         payload.substr(index_at + text.size(), behind.size()) == behind && payload.ends_with("\"}");
}

std::optional<uint64_t> find_sequence(std::string_view payload) {
  constexpr auto key = R"("sequence":)"sv;
  const size_t at = payload.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  uint64_t number = 0;
  const char* const begin = payload.data() + at + key.size();
  const auto [end, error] = std::from_chars(begin, payload.data() + payload.size(), number);
  if (error != std::errc() || end == begin) return std::nullopt;
  return number;
}

}  // namespace tertulia::bench
