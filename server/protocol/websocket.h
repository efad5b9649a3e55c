// RFC 6455 after the handshake: reads a client's frames and writes the server's.
//
// The reader is fed whatever arrived, in pieces of any size, and works in place: it removes the mask in the caller's
// buffer and hands out views into it. It keeps bytes of its own only for a message that is not yet complete.
// Memory: with no message begun, a few dozen bytes and no allocation; an incomplete message holds what really arrived
// of it (at most twice that while it grows), never what a header promised. Thread: one. Ends: with its connection; not
// from inside a handler.
//
// Everything wrong is noticed at the first byte that proves it, in the order of the bytes: however the bytes were cut,
// the handler hears the same and the connection fails with the same code.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "protocol/codes.h"

namespace tertulia {

enum class Opcode : uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

struct WebSocketLimits {
  uint64_t message_bytes_max = 64 << 10;  // a larger text is read to its end without being kept
  uint64_t skipped_bytes_max = 16 << 20;  // beyond this the connection fails with 1009 from the header alone
  uint32_t fragments_max = 64;            // one more fails with 1009
  // Each frame of a fragmented message counts this much towards message_bytes_max, besides its payload.
  uint32_t fragment_charge_bytes = 128;
  // Else a binary frame fails the connection with 1003. A binary message above message_bytes_max fails with 1009.
  bool binary_allowed = false;
};

class WebSocketReader {
 public:
  // What the reader found. A method that returns false stops the reader behind that frame.
  // Views last until the method returns.
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual bool on_message(Opcode kind, std::string_view payload) = 0;
    // A text above message_bytes_max and up to skipped_bytes_max has been read (and checked as UTF-8) to its end.
    virtual bool on_too_large(uint64_t bytes) = 0;
    virtual bool on_ping(std::string_view payload) = 0;
    virtual bool on_pong(std::string_view payload) = 0;
    // An empty data frame that is not the end of a message, or an empty message: nothing honest sends many.
    // (An empty message is also given to on_message, directly after this and whatever this returned.)
    virtual bool on_empty_frame() { return true; }
    // The peer's close; no_code if it had none. Nothing follows.
    virtual void on_close(CloseCode code, std::string_view reason) = 0;
  };

  enum class Status : uint8_t {
    more,     // everything was taken
    stopped,  // a handler said stop; [consumed, size) was not looked at
    closed,   // on_close was called
    failed,   // the peer broke the protocol: close with fail_code()
  };
  struct Fed {
    Status status;
    size_t consumed;
  };

  // limits is kept by reference. REQUIRES: it outlives the reader.
  explicit WebSocketReader(const WebSocketLimits& limits);
  ~WebSocketReader();
  WebSocketReader(WebSocketReader&&) noexcept;
  WebSocketReader& operator=(WebSocketReader&&) = delete;

  // Calls handler for everything that data completes. The bytes of data are changed.
  // After closed and failed nothing is held any more. REQUIRES: no earlier call answered closed or failed.
  Fed feed(char* data, size_t size, Handler& handler);

  // After failed: what to close with, and a short sentence for the log and the close frame.
  CloseCode fail_code() const;
  std::string_view fail_reason() const;

  // A frame or a fragmented message has begun and not ended.
  bool mid_message() const;
  // Bytes held for an incomplete message (capacity, for accounting).
  size_t held_bytes() const;

 private:
  struct Header;   // one frame's, understood
  struct Partial;  // only while a frame or a message is incomplete
  enum class Step : uint8_t { go_on, starved, stop, closed, failed };

  Step read_header(const char* data, size_t size, size_t& position, Header& header);
  Step parse_header(const uint8_t* bytes, size_t size, Header& header);
  Step check_size(Header& header);
  Step begin_frame(const Header& header, char* payload, size_t arrived_bytes, size_t& taken_bytes, Handler& handler);
  Step take_payload(char* payload, size_t arrived_bytes, size_t& taken_bytes, Handler& handler);
  Step take_control(std::string_view piece, bool whole, Handler& handler);
  Step take_data(std::string_view piece, bool ascii, bool whole, Handler& handler);
  Step check_close(std::string_view payload, bool whole);
  Step control_frame(Opcode opcode, std::string_view payload, Handler& handler);
  Step fail(CloseCode code, const char* reason);
  Partial& partial();

  const WebSocketLimits* limits_;
  std::unique_ptr<Partial> partial_;
  const char* fail_reason_ = "";
  CloseCode fail_code_ = CloseCode::normal;
  bool ended_ = false;
};

// A server's frames: never masked, never fragmented, lengths minimal.
void append_frame_header(std::string& out, Opcode opcode, uint64_t payload_bytes);
void append_frame(std::string& out, Opcode opcode, std::string_view payload);
// The reason is cut to 123 bytes at a character's edge; no_code makes a close without code and reason.
void append_close_frame(std::string& out, CloseCode code, std::string_view reason);

// The handshake's answer to Sec-WebSocket-Key. REQUIRES: key was checked with handshake_key_valid.
std::string handshake_accept(std::string_view key);
// 24 characters of canonical base64 that decode to 16 bytes.
bool handshake_key_valid(std::string_view key);

}  // namespace tertulia
