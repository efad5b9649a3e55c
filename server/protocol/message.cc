#include "protocol/message.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "protocol/digest.h"

namespace tertulia {
namespace {

void append_number(std::string& out, int64_t value) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

// A field says its length first, so no two messages have the same form, whatever they contain.
void append_field(std::string& out, std::string_view bytes) {
  append_number(out, static_cast<int64_t>(bytes.size()));
  out += ':';
  out += bytes;
  out += ',';
}

void append_field(std::string& out, int64_t value) {
  char digits[24];
  append_field(out, std::string_view(digits, std::to_chars(digits, digits + sizeof digits, value).ptr));
}

Chain first_bytes(const Sha256& digest) {
  Chain chain;
  std::copy_n(digest.begin(), chain.bytes.size(), chain.bytes.begin());
  return chain;
}

}  // namespace

std::string_view method_name(MessageKind kind) {
  switch (kind) {
    case MessageKind::text: return "textMessage";
    case MessageKind::image: return "imageMessage";
    case MessageKind::file: return "fileMessage";
  }
  CHECK(false, "a message is text, image or file");
}

bool same_body(const Message& a, const Message& b) {
  if (a.kind != b.kind || a.user_id != b.user_id) return false;
  switch (a.kind) {
    case MessageKind::text: return a.text == b.text;
    case MessageKind::image: return a.sha256_hex == b.sha256_hex;
    case MessageKind::file: return a.sha256_hex == b.sha256_hex && a.file_name == b.file_name;
  }
  CHECK(false, "a message is text, image or file");
}

Chain chain_start(std::string_view room) {
  return first_bytes(sha256({"tertulia:", room}));
}

void append_chain_form(std::string& out, const Message& message) {
  append_field(out, method_name(message.kind));
  append_field(out, message.uuid);
  append_field(out, message.user_id);
  append_field(out, message.user_name);
  append_field(out, message.date);
  append_field(out, message.sent_at_ms);
  if (message.kind == MessageKind::text) {
    append_field(out, message.text);
  } else {
    append_field(out, message.kind == MessageKind::file ? std::string_view(message.file_name) : std::string_view());
    append_field(out, message.content_type);
    append_field(out, static_cast<int64_t>(message.size_bytes));
    append_field(out, message.sha256_hex);
  }
}

Chain chain_next(const Chain& previous, Sequence sequence, const Message& message) {
  // Kept per thread, so that hashing a message allocates nothing. Bounded by the largest message.
  thread_local std::string form;
  form.clear();
  append_field(form, static_cast<int64_t>(sequence));
  append_chain_form(form, message);
  return first_bytes(
      sha256({std::string_view(reinterpret_cast<const char*>(previous.bytes.data()), previous.bytes.size()), form}));
}

}  // namespace tertulia
