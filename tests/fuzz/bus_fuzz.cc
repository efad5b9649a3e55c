// Any bytes as a message of the bus: what is understood is within every limit, and is spelled in the one way in which
// we would say it; so whatever a stranger puts on the bus, the shards get only what a server might have sent.
//
// Input: the message. It lies in memory of exactly its size (run this with AddressSanitizer).
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/limits.h"
#include "bus/bus_message.h"
#include "protocol/base64url.h"
#include "protocol/frames.h"
#include "protocol/utf8.h"

namespace tertulia {
namespace {

bool is_text(std::string_view text) {
  return utf8_valid(text) && text.find('\0') == std::string_view::npos;
}

void check_piece(const LogPiece& piece) {
  CHECK(!piece.entries.empty(), "a piece holds something");
  Sequence before = 0;
  for (const LogPiece::Entry& entry : piece.entries) {
    CHECK(entry.sequence > before && entry.sequence <= sequence_max, "sequences ascend");
    before = entry.sequence;
    CHECK(!entry.uuid.empty() && entry.uuid.size() <= limits::uuid_bytes_max && base64url_alphabet_only(entry.uuid),
          "a uuid is plain");
    CHECK(!entry.user_id.empty() && entry.user_id.size() <= limits::user_id_bytes_max && is_text(entry.user_id),
          "a user has an id");
    const size_t header = frame_header_bytes(entry.frame);
    CHECK(entry.frame.size() >= header && static_cast<uint8_t>(entry.frame[0]) == 0x81, "a frame is whole, and a text");
    CHECK(utf8_valid(std::string_view(entry.frame).substr(header)), "a text is UTF-8");
  }
}

void check_signal(const Signal& signal) {
  CHECK(signal.kind <= Signal::Kind::returned, "a signal's kind is known");
  CHECK(signal.user_id.size() <= limits::user_id_bytes_max && is_text(signal.user_id), "a user id is text");
  CHECK(signal.user_name.size() <= limits::name_bytes_max && is_text(signal.user_name), "a user name is text");
  CHECK(signal.sequence <= sequence_max && signal.members_count <= sequence_max, "numbers fit a client's");
}

}  // namespace
}  // namespace tertulia

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tertulia;
  const std::unique_ptr<char[]> exact(new char[size]);
  if (size > 0) std::memcpy(exact.get(), data, size);
  const std::string_view input(exact.get(), size);

  std::optional<RoomNews> news = decode_room_news(input);
  const std::optional<Heartbeat> heartbeat = decode_heartbeat(input);
  CHECK(!news || !heartbeat, "a message is of one kind");
  if (heartbeat) CHECK(encode_heartbeat(heartbeat->node) == input, "a heartbeat has one spelling");
  if (!news) return 0;
  if (const auto* piece = std::get_if<std::shared_ptr<const LogPiece>>(&*news)) check_piece(**piece);
  if (const auto* signal = std::get_if<Signal>(&*news)) check_signal(*signal);
  const Encoded again = encode_item({"plaza", std::move(*news)}, size);
  CHECK(again.left_out == 0 && again.messages.size() == 1 && again.messages[0] == input, "a message has one spelling");
  return 0;
}
