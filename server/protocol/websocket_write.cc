// The writing half of websocket.h: a server's frames and the handshake's answer.
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "protocol/websocket.h"

namespace tertulia {
namespace {

constexpr size_t kCloseReasonBytesMax = 123;
constexpr size_t kKeyCharacters = 24;

void append_big_endian(std::string& out, uint64_t value, int count) {
  for (int shift = (count - 1) * 8; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift & 0xFF));
}

}  // namespace

void append_frame_header(std::string& out, Opcode opcode, uint64_t payload_bytes) {
  out.push_back(static_cast<char>(0x80 | static_cast<uint8_t>(opcode)));
  if (payload_bytes < 126) {
    out.push_back(static_cast<char>(payload_bytes));
  } else if (payload_bytes < 65536) {
    out.push_back(126);
    append_big_endian(out, payload_bytes, 2);
  } else {
    out.push_back(127);
    append_big_endian(out, payload_bytes, 8);
  }
}

void append_frame(std::string& out, Opcode opcode, std::string_view payload) {
  append_frame_header(out, opcode, payload.size());
  out.append(payload);
}

void append_close_frame(std::string& out, CloseCode code, std::string_view reason) {
  if (code == CloseCode::no_code) {
    append_frame_header(out, Opcode::close, 0);
    return;
  }
  if (reason.size() > kCloseReasonBytesMax) {
    size_t cut = kCloseReasonBytesMax;
    while (cut > 0 && (static_cast<uint8_t>(reason[cut]) & 0xC0) == 0x80) --cut;
    reason = reason.substr(0, cut);
  }
  append_frame_header(out, Opcode::close, 2 + reason.size());
  append_big_endian(out, static_cast<uint16_t>(code), 2);
  out.append(reason);
}

bool handshake_key_valid(std::string_view key) {
  if (key.size() != kKeyCharacters || !key.ends_with("==")) return false;
  const auto in_alphabet = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  };
  if (!std::all_of(key.begin(), key.end() - 2, in_alphabet)) return false;
  // 16 bytes leave four unused bits in the last character; only these four have them zero.
  return std::string_view("AQgw").find(key[21]) != std::string_view::npos;
}

std::string handshake_accept(std::string_view key) {
  CHECK(handshake_key_valid(key), "the key was checked before it is answered");
  std::string both(key);
  both += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455 1.3
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
  SHA1(reinterpret_cast<const unsigned char*>(both.data()), both.size(), digest.data());
  std::array<unsigned char, 29> encoded;  // 28 characters and a NUL
  const int characters = EVP_EncodeBlock(encoded.data(), digest.data(), static_cast<int>(digest.size()));
  return {reinterpret_cast<const char*>(encoded.data()), static_cast<size_t>(characters)};
}

}  // namespace tertulia
