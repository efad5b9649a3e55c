#include "protocol/websocket.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "protocol/utf8.h"

namespace tertulia {
namespace {

constexpr size_t kHeaderBytesMax = 14;
constexpr uint64_t kControlBytesMax = 125;
constexpr uint64_t kHighBits = 0x8080808080808080;

bool is_control(Opcode opcode) {
  return static_cast<uint8_t>(opcode) >= 8;
}

uint64_t big_endian(const uint8_t* bytes, size_t count) {
  uint64_t value = 0;
  for (size_t i = 0; i < count; ++i) value = value << 8 | bytes[i];
  return value;
}

// mask as it must be applied to payload bytes from offset on.
uint32_t rotated(uint32_t mask, uint64_t offset) {
  const int bits = static_cast<int>(offset % 4) * 8;
  return std::endian::native == std::endian::little ? std::rotr(mask, bits) : std::rotl(mask, bits);
}

// Removes the mask (in memory order) in place. True if the plain bytes are all ASCII: this costs nothing here and saves
// most messages the check as UTF-8.
bool unmask(char* data, size_t size, uint32_t mask) {
  const uint64_t wide = static_cast<uint64_t>(mask) << 32 | mask;
  uint64_t seen = 0;
  const auto word = [&] {
    uint64_t value;
    std::memcpy(&value, data, 8);
    value ^= wide;
    std::memcpy(data, &value, 8);
    seen |= value;
    data += 8;
  };
  for (; size >= 32; size -= 32) {
    word();
    word();
    word();
    word();
  }
  for (; size >= 8; size -= 8) word();
  if (size != 0) {
    uint64_t value = 0;
    std::memcpy(&value, data, size);
    value ^= wide;
    std::memcpy(data, &value, size);
    // The bytes behind size are mask, not data.
    for (size_t i = 0; i < size; ++i) seen |= static_cast<uint8_t>(data[i]);
  }
  return (seen & kHighBits) == 0;
}

// RFC 6455 7.4 and IANA's registry: the codes that may stand in a close frame.
bool close_code_allowed(uint64_t code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

bool deliver(Opcode kind, std::string_view payload, WebSocketReader::Handler& handler) {
  const bool go_on = !payload.empty() || handler.on_empty_frame();
  return handler.on_message(kind, payload) && go_on;
}

}  // namespace

struct WebSocketReader::Header {
  uint64_t payload_bytes = 0;
  uint32_t mask = 0;  // in memory order
  Opcode opcode = Opcode::continuation;
  bool last = false;
  bool too_large = false;  // with it the message is above message_bytes_max: read on, but keep nothing
  uint8_t header_bytes = 0;
};

struct WebSocketReader::Partial {
  // A frame whose header is complete and whose payload is not.
  Header frame;
  uint64_t frame_taken_bytes = 0;
  std::string control;  // what has come of a control frame's payload

  // The message.
  uint64_t payload_bytes = 0;  // the sum of its headers so far, so also what is yet to come
  std::string held;            // empty while skipping
  uint32_t fragments = 0;
  Opcode kind = Opcode::text;
  bool in_message = false;
  bool skipping = false;
  bool in_frame = false;
  Utf8Checker utf8;

  // A header of which only the beginning has come.
  uint8_t head_bytes = 0;
  std::array<uint8_t, kHeaderBytesMax> head;
};

WebSocketReader::WebSocketReader(const WebSocketLimits& limits) : limits_(&limits) {}
WebSocketReader::~WebSocketReader() = default;
WebSocketReader::WebSocketReader(WebSocketReader&&) noexcept = default;

CloseCode WebSocketReader::fail_code() const {
  return fail_code_;
}
std::string_view WebSocketReader::fail_reason() const {
  return fail_reason_;
}
bool WebSocketReader::mid_message() const {
  return partial_ != nullptr;
}

size_t WebSocketReader::held_bytes() const {
  return partial_ ? sizeof(Partial) + partial_->held.capacity() + partial_->control.capacity() : 0;
}

WebSocketReader::Partial& WebSocketReader::partial() {
  if (!partial_) partial_ = std::make_unique<Partial>();
  return *partial_;
}

WebSocketReader::Step WebSocketReader::fail(CloseCode code, const char* reason) {
  fail_code_ = code;
  fail_reason_ = reason;
  return Step::failed;
}

WebSocketReader::Fed WebSocketReader::feed(char* data, size_t size, Handler& handler) {
  CHECK(!ended_, "a reader is not fed after closed or failed");
  size_t position = 0;
  while (position < size) {
    Step step;
    size_t taken_bytes = 0;
    if (partial_ && partial_->in_frame) {
      step = take_payload(data + position, size - position, taken_bytes, handler);
    } else {
      Header header;
      step = read_header(data, size, position, header);
      if (step == Step::go_on) step = begin_frame(header, data + position, size - position, taken_bytes, handler);
    }
    position += taken_bytes;
    switch (step) {
      case Step::go_on: continue;
      case Step::starved: return {Status::more, size};
      case Step::stop: return {Status::stopped, position};
      case Step::closed:
      case Step::failed:
        ended_ = true;
        partial_.reset();
        return {step == Step::closed ? Status::closed : Status::failed, position};
    }
  }
  return {Status::more, size};
}

// Moves position behind the header if it is complete.
WebSocketReader::Step WebSocketReader::read_header(const char* data, size_t size, size_t& position, Header& header) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(data) + position;
  const size_t arrived_bytes = size - position;
  if (!partial_ || partial_->head_bytes == 0) {
    const Step step = parse_header(bytes, arrived_bytes, header);
    if (step == Step::go_on) position += header.header_bytes;
    if (step != Step::starved) return step;
    Partial& part = partial();
    std::memcpy(part.head.data(), bytes, arrived_bytes);
    part.head_bytes = static_cast<uint8_t>(arrived_bytes);
    return step;
  }

  Partial& part = *partial_;
  const size_t had_bytes = part.head_bytes;
  const size_t more_bytes = std::min(arrived_bytes, kHeaderBytesMax - had_bytes);
  std::memcpy(part.head.data() + had_bytes, bytes, more_bytes);
  const Step step = parse_header(part.head.data(), had_bytes + more_bytes, header);
  if (step == Step::starved) {
    part.head_bytes = static_cast<uint8_t>(had_bytes + more_bytes);
  } else if (step == Step::go_on) {
    position += header.header_bytes - had_bytes;
    part.head_bytes = 0;
    if (!part.in_message) partial_.reset();
  }
  return step;
}

// Understands as much as has come, byte after byte, so that what is wrong fails as early as it can and in one order.
WebSocketReader::Step WebSocketReader::parse_header(const uint8_t* bytes, size_t size, Header& header) {
  const bool in_message = partial_ && partial_->in_message;
  if (size < 1) return Step::starved;
  header.last = (bytes[0] & 0x80) != 0;
  header.opcode = static_cast<Opcode>(bytes[0] & 0x0F);
  if ((bytes[0] & 0x70) != 0) return fail(CloseCode::protocol_error, "a reserved bit is set");
  switch (header.opcode) {
    case Opcode::continuation:
      if (!in_message) return fail(CloseCode::protocol_error, "a continuation without a message");
      if (partial_->fragments >= limits_->fragments_max) return fail(CloseCode::too_big, "too many fragments");
      break;
    case Opcode::text:
    case Opcode::binary:
      if (in_message) return fail(CloseCode::protocol_error, "a message inside a fragmented message");
      if (header.opcode == Opcode::binary && !limits_->binary_allowed) {
        return fail(CloseCode::unsupported_data, "binary messages are not taken");
      }
      break;
    case Opcode::close:
    case Opcode::ping:
    case Opcode::pong:
      if (!header.last) return fail(CloseCode::protocol_error, "a fragmented control frame");
      break;
    default: return fail(CloseCode::protocol_error, "an unknown opcode");
  }

  if (size < 2) return Step::starved;
  if ((bytes[1] & 0x80) == 0) return fail(CloseCode::protocol_error, "a frame without a mask");
  const uint8_t short_length = bytes[1] & 0x7F;
  if (is_control(header.opcode)) {
    if (short_length > kControlBytesMax) return fail(CloseCode::protocol_error, "a control frame above 125 bytes");
    if (header.opcode == Opcode::close && short_length == 1) {
      return fail(CloseCode::protocol_error, "a close frame of one byte");
    }
  }

  size_t used_bytes = 2;
  header.payload_bytes = short_length;
  if (short_length >= 126) {
    const size_t length_bytes = short_length == 126 ? 2 : 8;
    if (size > 2 && length_bytes == 8 && (bytes[2] & 0x80) != 0) {
      return fail(CloseCode::protocol_error, "a length with its top bit set");
    }
    used_bytes += length_bytes;
    if (size < used_bytes) return Step::starved;
    header.payload_bytes = big_endian(bytes + 2, length_bytes);
    if (header.payload_bytes < (length_bytes == 2 ? 126u : 65536u)) {
      return fail(CloseCode::protocol_error, "a length that is not minimal");
    }
  }
  if (!is_control(header.opcode)) {
    if (const Step step = check_size(header); step != Step::go_on) return step;
  }

  if (size < used_bytes + 4) return Step::starved;
  std::memcpy(&header.mask, bytes + used_bytes, 4);
  header.header_bytes = static_cast<uint8_t>(used_bytes + 4);
  return Step::go_on;
}

// Does the message with this frame still fit? Sets too_large if it can only be skipped.
WebSocketReader::Step WebSocketReader::check_size(Header& header) {
  const bool goes_on = header.opcode == Opcode::continuation;
  const bool text = (goes_on ? partial_->kind : header.opcode) == Opcode::text;
  const uint64_t before_bytes = goes_on ? partial_->payload_bytes : 0;
  const uint64_t bytes_max =
      text ? std::max(limits_->message_bytes_max, limits_->skipped_bytes_max) : limits_->message_bytes_max;
  if (before_bytes > bytes_max || header.payload_bytes > bytes_max - before_bytes)
    return fail(CloseCode::too_big, "the message is too large");

  uint64_t charge_bytes = 0;
  if (goes_on || !header.last) {
    const uint64_t fragments = goes_on ? uint64_t{partial_->fragments} + 1 : 1;
    charge_bytes = fragments * limits_->fragment_charge_bytes;
  }
  const uint64_t sum_bytes = before_bytes + header.payload_bytes;
  header.too_large = sum_bytes > limits_->message_bytes_max || charge_bytes > limits_->message_bytes_max - sum_bytes;
  if (header.too_large && !text) return fail(CloseCode::too_big, "the message is too large");
  return Step::go_on;
}

WebSocketReader::Step WebSocketReader::begin_frame(const Header& header, char* payload, size_t arrived_bytes,
                                                   size_t& taken_bytes, Handler& handler) {
  const bool whole = header.payload_bytes <= arrived_bytes;
  const size_t payload_bytes = whole ? static_cast<size_t>(header.payload_bytes) : arrived_bytes;
  const std::string_view view(payload, payload_bytes);

  // What nearly every frame is: whole, and all of its message. Nothing is copied or allocated.
  if (whole && is_control(header.opcode)) {
    unmask(payload, payload_bytes, header.mask);
    taken_bytes = payload_bytes;
    return control_frame(header.opcode, view, handler);
  }
  if (whole && header.last && header.opcode != Opcode::continuation && !header.too_large) {
    const bool ascii = unmask(payload, payload_bytes, header.mask);
    taken_bytes = payload_bytes;
    if (header.opcode == Opcode::text && !ascii && !utf8_valid(view)) {
      return fail(CloseCode::invalid_utf8, "a text that is not UTF-8");
    }
    return deliver(header.opcode, view, handler) ? Step::go_on : Step::stop;
  }

  Partial& part = partial();
  part.frame = header;
  part.frame_taken_bytes = 0;
  part.in_frame = true;
  if (!is_control(header.opcode)) {
    if (header.opcode != Opcode::continuation) part.kind = header.opcode;
    part.in_message = true;
    part.payload_bytes += header.payload_bytes;
    part.fragments += 1;
    if (header.too_large && !part.skipping) {
      part.skipping = true;
      std::string().swap(part.held);
    }
  }
  return take_payload(payload, arrived_bytes, taken_bytes, handler);
}

WebSocketReader::Step WebSocketReader::take_payload(char* payload, size_t arrived_bytes, size_t& taken_bytes,
                                                    Handler& handler) {
  Partial& part = *partial_;
  const uint64_t left_bytes = part.frame.payload_bytes - part.frame_taken_bytes;
  const bool whole = left_bytes <= arrived_bytes;
  taken_bytes = whole ? static_cast<size_t>(left_bytes) : arrived_bytes;
  const bool ascii = unmask(payload, taken_bytes, rotated(part.frame.mask, part.frame_taken_bytes));
  part.frame_taken_bytes += taken_bytes;
  if (whole) part.in_frame = false;
  const std::string_view piece(payload, taken_bytes);
  return is_control(part.frame.opcode) ? take_control(piece, whole, handler) : take_data(piece, ascii, whole, handler);
}

WebSocketReader::Step WebSocketReader::take_control(std::string_view piece, bool whole, Handler& handler) {
  const Opcode opcode = partial_->frame.opcode;
  partial_->control.append(piece);
  if (!whole) return opcode == Opcode::close ? check_close(partial_->control, false) : Step::go_on;
  const std::string payload = std::exchange(partial_->control, std::string());
  if (!partial_->in_message) partial_.reset();
  return control_frame(opcode, payload, handler);
}

WebSocketReader::Step WebSocketReader::take_data(std::string_view piece, bool ascii, bool whole, Handler& handler) {
  Partial& part = *partial_;
  const bool text = part.kind == Opcode::text;
  if (text && !(ascii && part.utf8.complete()) && !part.utf8.feed(piece)) {
    return fail(CloseCode::invalid_utf8, "a text that is not UTF-8");
  }
  if (!part.skipping) part.held.append(piece);
  if (!whole) return Step::go_on;
  if (!part.frame.last) {
    return part.frame.payload_bytes != 0 || handler.on_empty_frame() ? Step::go_on : Step::stop;
  }
  if (text && !part.utf8.complete()) return fail(CloseCode::invalid_utf8, "a text that ends inside a character");
  // Taken out first: while the handler has it, the reader is between messages already.
  const std::unique_ptr<Partial> done = std::move(partial_);
  const bool go_on =
      done->skipping ? handler.on_too_large(done->payload_bytes) : deliver(done->kind, done->held, handler);
  return go_on ? Step::go_on : Step::stop;
}

// Also looks at the beginning of a payload, so that what is wrong in it need not wait for its end.
WebSocketReader::Step WebSocketReader::check_close(std::string_view payload, bool whole) {
  if (payload.size() < 2) return Step::go_on;
  if (!close_code_allowed(big_endian(reinterpret_cast<const uint8_t*>(payload.data()), 2))) {
    return fail(CloseCode::protocol_error, "a close code that must not be sent");
  }
  Utf8Checker reason;
  if (!reason.feed(payload.substr(2)) || (whole && !reason.complete())) {
    return fail(CloseCode::invalid_utf8, "a close reason that is not UTF-8");
  }
  return Step::go_on;
}

WebSocketReader::Step WebSocketReader::control_frame(Opcode opcode, std::string_view payload, Handler& handler) {
  if (opcode == Opcode::ping) return handler.on_ping(payload) ? Step::go_on : Step::stop;
  if (opcode == Opcode::pong) return handler.on_pong(payload) ? Step::go_on : Step::stop;
  if (const Step step = check_close(payload, true); step != Step::go_on) return step;
  if (payload.empty()) {
    handler.on_close(CloseCode::no_code, {});
  } else {
    const uint64_t code = big_endian(reinterpret_cast<const uint8_t*>(payload.data()), 2);
    handler.on_close(static_cast<CloseCode>(code), payload.substr(2));
  }
  return Step::closed;
}

}  // namespace tertulia
