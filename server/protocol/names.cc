#include "protocol/names.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "base/limits.h"

namespace tertulia {
namespace {

using limits::name_bytes_max;
using limits::name_code_points_max;

struct Free {
  void operator()(utf8proc_uint8_t* bytes) const { std::free(bytes); }  // utf8proc allocates with malloc
};

// Turns the text that it stands in around, or breaks the line: makes a name read as another.
bool is_control(utf8proc_int32_t c) {
  if (c < 0x20 || (c >= 0x7F && c < 0xA0)) return true;        // C0, DEL, C1
  if (c == 0x2028 || c == 0x2029) return true;                 // line and paragraph separator
  if (c == 0x061C || c == 0x200E || c == 0x200F) return true;  // bidi marks
  if (c >= 0x202A && c <= 0x202E) return true;                 // bidi embeddings and overrides
  return c >= 0x2066 && c <= 0x206F;                           // bidi isolates and their forerunners
}

// Takes no room: two names that differ only by it look alike. (Folding drops these and all other ignorable characters
// too, but somebody who writes one means to deceive, or has copied it unaware: better told.)
bool is_zero_width(utf8proc_int32_t c) {
  return c == 0x00AD || c == 0x034F || c == 0x180E || (c >= 0x200B && c <= 0x200D) || (c >= 0x2060 && c <= 0x2065) ||
         c == 0xFEFF;
}

bool allowed(std::string_view name, bool zero_width_allowed) {
  if (name.empty() || name.size() > name_bytes_max) return false;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(name.data());
  utf8proc_ssize_t left = static_cast<utf8proc_ssize_t>(name.size());
  size_t code_points = 0;
  while (left > 0) {
    utf8proc_int32_t c = -1;
    const utf8proc_ssize_t used = utf8proc_iterate(bytes, left, &c);
    if (used <= 0) return false;
    if (++code_points > name_code_points_max || is_control(c)) return false;
    if (!zero_width_allowed && is_zero_width(c)) return false;
    bytes += used;
    left -= used;
  }
  return true;
}

// Unicode's White_Space, as far as it survives NFKC and is no control.
bool is_white_space(utf8proc_int32_t c) {
  return c == 0x20 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

std::string_view trimmed(std::string_view text) {
  size_t begin = text.size();
  size_t end = 0;
  for (size_t i = 0; i < text.size();) {
    utf8proc_int32_t c = -1;
    const utf8proc_ssize_t used = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + i,
                                                   static_cast<utf8proc_ssize_t>(text.size() - i), &c);
    if (used <= 0) break;  // never: what utf8proc wrote is valid
    const size_t next = i + static_cast<size_t>(used);
    if (!is_white_space(c)) {
      if (begin > i) begin = i;
      end = next;
    }
    i = next;
  }
  return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

}  // namespace

bool room_name_valid(std::string_view name) {
  return allowed(name, true);
}

std::optional<std::string> fold_user_name(std::string_view name) {
  if (!allowed(name, false)) return std::nullopt;
  // Most names are plain ASCII, which folds by lower case alone.
  bool ascii = true;
  for (char c : name) ascii = ascii && static_cast<uint8_t>(c) < 0x80;
  std::string folded;
  if (ascii) {
    folded = name;
    for (char& c : folded)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  } else {
    utf8proc_uint8_t* made = nullptr;
    const utf8proc_ssize_t bytes = utf8proc_map(
        reinterpret_cast<const utf8proc_uint8_t*>(name.data()), static_cast<utf8proc_ssize_t>(name.size()), &made,
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD |
                                       UTF8PROC_IGNORE));
    const std::unique_ptr<utf8proc_uint8_t, Free> owned(made);
    if (bytes < 0) return std::nullopt;
    folded.assign(reinterpret_cast<const char*>(made), static_cast<size_t>(bytes));
  }
  const std::string_view kept = trimmed(folded);
  if (kept.empty()) return std::nullopt;
  return std::string(kept);
}

}  // namespace tertulia
