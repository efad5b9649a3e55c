#include "bus/bus_message.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "protocol/base64url.h"
#include "protocol/utf8.h"

namespace tertulia {
namespace {

enum class Kind : uint8_t { piece = 1, signal = 2, head = 3, heartbeat = 4 };

constexpr size_t head_bytes = 2;  // version and kind
constexpr size_t entries_max = 65'535;
constexpr size_t node_bytes_max = 64;

template <size_t Bytes>
void put_number(std::string& out, uint64_t number) {
  for (size_t i = Bytes; i-- > 0;) out += static_cast<char>(number >> (8 * i));
}
template <size_t Bytes>
void put_string(std::string& out, std::string_view text) {
  put_number<Bytes>(out, text.size());
  out += text;
}
template <size_t Bytes>
void put_array(std::string& out, const std::array<uint8_t, Bytes>& bytes) {
  out.append(reinterpret_cast<const char*>(bytes.data()), Bytes);
}

std::string begin(Kind kind) {
  return {static_cast<char>(bus_message_version), static_cast<char>(kind)};
}

// Takes fields off the front. Once something was missing or wrong nothing more is taken, and done() is false.
class Reader {
 public:
  explicit Reader(std::string_view rest) : rest_(rest) {}

  template <size_t Bytes>
  uint64_t number(uint64_t max) {
    uint64_t value = 0;
    for (const char c : take(Bytes)) value = value << 8 | static_cast<uint8_t>(c);
    good_ = good_ && value <= max;
    return good_ ? value : 0;
  }
  template <size_t Bytes>
  std::string_view string(size_t bytes_max) {
    const std::string_view text = take(number<Bytes>(bytes_max));
    return text;
  }
  template <size_t Bytes>
  void array(std::array<uint8_t, Bytes>& bytes) {
    const std::string_view text = take(Bytes);
    if (good_) std::copy(text.begin(), text.end(), bytes.begin());
  }
  void need(bool condition) { good_ = good_ && condition; }
  bool good() const { return good_; }
  bool done() const { return good_ && rest_.empty(); }

 private:
  std::string_view take(size_t bytes) {
    good_ = good_ && bytes <= rest_.size();
    if (!good_) return {};
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }

  std::string_view rest_;
  bool good_ = true;
};

// The fields behind version and kind; nothing if these are others.
std::optional<Reader> open(std::string_view message, Kind kind) {
  if (message.size() < head_bytes || static_cast<uint8_t>(message[0]) != bus_message_version ||
      static_cast<uint8_t>(message[1]) != static_cast<uint8_t>(kind)) {
    return std::nullopt;
  }
  return Reader(message.substr(head_bytes));
}

bool plain_text(std::string_view text) {
  return utf8_valid(text) && text.find('\0') == std::string_view::npos;
}

// One whole text frame of a server, which is sent to members as it is.
bool whole_text_frame(std::string_view frame) {
  if (frame.size() < 2 || static_cast<uint8_t>(frame[0]) != 0x81) return false;
  const uint8_t first = static_cast<uint8_t>(frame[1]);
  const size_t extended = first < 126 ? 0 : first == 126 ? 2 : first == 127 ? 8 : SIZE_MAX;
  if (extended == SIZE_MAX || frame.size() < 2 + extended) return false;
  uint64_t length = extended == 0 ? first : 0;
  for (size_t i = 0; i < extended; ++i) length = length << 8 | static_cast<uint8_t>(frame[2 + i]);
  const bool shortest = extended == 0 || (extended == 2 ? length > 125 : length > 0xFFFF);
  return shortest && length == frame.size() - 2 - extended && utf8_valid(frame.substr(2 + extended));
}

size_t entry_bytes(const LogPiece::Entry& entry) {
  return 8 + 12 + 12 + 1 + entry.uuid.size() + 1 + entry.user_id.size() + 16 + 4 + entry.frame.size();
}

void put_entry(std::string& out, const LogPiece::Entry& entry) {
  put_number<8>(out, entry.sequence);
  put_array(out, entry.previous.bytes);
  put_array(out, entry.chain.bytes);
  put_string<1>(out, entry.uuid);
  put_string<1>(out, entry.user_id);
  put_array(out, entry.body);
  put_string<4>(out, entry.frame);
}

void encode_piece(const LogPiece& piece, size_t bytes_max, Encoded& encoded) {
  constexpr size_t before = head_bytes + 2;
  for (size_t at = 0; at < piece.entries.size();) {
    size_t bytes = before, end = at;
    while (end < piece.entries.size() && end - at < entries_max) {
      const size_t more = entry_bytes(piece.entries[end]);
      if (bytes + more > bytes_max) break;
      bytes += more;
      ++end;
    }
    if (end == at) {
      ++encoded.left_out;
      ++at;
      continue;
    }
    std::string message = begin(Kind::piece);
    message.reserve(bytes);
    put_number<2>(message, end - at);
    for (; at < end; ++at) put_entry(message, piece.entries[at]);
    encoded.messages.push_back(std::move(message));
  }
}

void encode_signal(const Signal& signal, std::string& out) {
  put_number<1>(out, static_cast<uint8_t>(signal.kind));
  put_string<1>(out, signal.user_id);
  put_string<2>(out, signal.user_name);
  put_number<8>(out, signal.sequence);
  put_number<8>(out, signal.members_count);
  put_number<1>(out, signal.came_back ? 1 : 0);
}

std::optional<RoomNews> decode_piece(Reader in) {
  auto piece = std::make_shared<LogPiece>();
  const uint64_t count = in.number<2>(entries_max);
  in.need(count > 0);
  Sequence before = 0;
  for (uint64_t i = 0; i < count && in.good(); ++i) {
    LogPiece::Entry entry;
    entry.sequence = in.number<8>(sequence_max);
    in.need(entry.sequence > before);
    before = entry.sequence;
    in.array(entry.previous.bytes);
    in.array(entry.chain.bytes);
    entry.uuid = in.string<1>(limits::uuid_bytes_max);
    in.need(!entry.uuid.empty() && base64url_alphabet_only(entry.uuid));
    entry.user_id = in.string<1>(limits::user_id_bytes_max);
    in.need(!entry.user_id.empty() && plain_text(entry.user_id));
    in.array(entry.body);
    entry.frame = in.string<4>(UINT32_MAX);
    in.need(whole_text_frame(entry.frame));
    if (in.good()) piece->entries.push_back(std::move(entry));
  }
  if (!in.done()) return std::nullopt;
  return std::shared_ptr<const LogPiece>(std::move(piece));
}

std::optional<RoomNews> decode_signal(Reader in) {
  Signal signal;
  signal.kind = static_cast<Signal::Kind>(in.number<1>(static_cast<uint8_t>(Signal::Kind::returned)));
  signal.user_id = in.string<1>(limits::user_id_bytes_max);
  signal.user_name = in.string<2>(limits::name_bytes_max);
  in.need(plain_text(signal.user_id) && plain_text(signal.user_name));
  signal.sequence = in.number<8>(sequence_max);
  signal.members_count = in.number<8>(sequence_max);
  signal.came_back = in.number<1>(1) == 1;
  if (!in.done()) return std::nullopt;
  return signal;
}

std::optional<RoomNews> decode_head(Reader in) {
  Position head;
  head.sequence = in.number<8>(sequence_max);
  in.array(head.chain.bytes);
  if (!in.done()) return std::nullopt;
  return head;
}

}  // namespace

Encoded encode_item(const BusItem& item, size_t bytes_max) {
  Encoded encoded;
  if (const auto* piece = std::get_if<std::shared_ptr<const LogPiece>>(&item.what)) {
    encode_piece(**piece, bytes_max, encoded);
    return encoded;
  }
  std::string message;
  if (const auto* signal = std::get_if<Signal>(&item.what)) {
    message = begin(Kind::signal);
    encode_signal(*signal, message);
  } else {
    const Position& head = std::get<Position>(item.what);
    message = begin(Kind::head);
    put_number<8>(message, head.sequence);
    put_array(message, head.chain.bytes);
  }
  if (message.size() <= bytes_max) {
    encoded.messages.push_back(std::move(message));
  } else {
    encoded.left_out = 1;
  }
  return encoded;
}

std::string encode_heartbeat(std::string_view node) {
  std::string message = begin(Kind::heartbeat);
  put_string<1>(message, node);
  return message;
}

std::optional<RoomNews> decode_room_news(std::string_view message) {
  if (const auto piece = open(message, Kind::piece)) return decode_piece(*piece);
  if (const auto signal = open(message, Kind::signal)) return decode_signal(*signal);
  if (const auto head = open(message, Kind::head)) return decode_head(*head);
  return std::nullopt;
}

std::optional<Heartbeat> decode_heartbeat(std::string_view message) {
  std::optional<Reader> in = open(message, Kind::heartbeat);
  if (!in) return std::nullopt;
  Heartbeat heartbeat{std::string(in->string<1>(node_bytes_max))};
  if (!in->done() || heartbeat.node.empty() || !base64url_alphabet_only(heartbeat.node)) return std::nullopt;
  return heartbeat;
}

std::string room_subject(std::string_view room) {
  constexpr char digits[] = "0123456789abcdef";
  std::string subject = "room.";
  for (const uint8_t byte : chain_start(room).bytes) {
    subject += digits[byte >> 4];
    subject += digits[byte & 15];
  }
  return subject;
}

}  // namespace tertulia
