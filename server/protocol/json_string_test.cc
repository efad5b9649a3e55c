#include <gtest/gtest.h>

#include <string>

#include "protocol/json_reader.h"

namespace tertulia {
namespace {

std::string spelled(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

// What JSON asks for, one byte at a time.
std::string escape_of(uint8_t byte) {
  const std::string quoted = spelled(std::string(1, static_cast<char>(byte)));
  return quoted.substr(1, quoted.size() - 2);
}

TEST(JsonString, EachByteThatNeedsItIsEscapedAndNoOther) {
  EXPECT_EQ(escape_of('"'), "\\\"");
  EXPECT_EQ(escape_of('\\'), "\\\\");
  EXPECT_EQ(escape_of('\n'), "\\n");
  EXPECT_EQ(escape_of(0x1F), "\\u001f");
  EXPECT_EQ(escape_of(0), "\\u0000");
  for (int byte = 0x20; byte < 0x100; ++byte) {
    if (byte == '"' || byte == '\\') continue;
    EXPECT_EQ(escape_of(static_cast<uint8_t>(byte)), std::string(1, static_cast<char>(byte)));
  }
}

TEST(JsonString, AByteIsSpelledTheSameWhereverItStands) {
  // Plain bytes are looked at eight at a time: neighbours and places must make no difference.
  for (int byte = 0; byte < 0x100; ++byte) {
    for (size_t length = 1; length <= 20; ++length) {
      for (size_t at = 0; at < length; ++at) {
        for (const char filling : {'a', '\x20', '\x21', '\x23', '\x5B', '\x5D', '\x7F', '\xC3'}) {
          std::string text(length, filling);
          text[at] = static_cast<char>(byte);
          const std::string expected = '"' + std::string(at, filling) + escape_of(static_cast<uint8_t>(byte)) +
                                       std::string(length - at - 1, filling) + '"';
          ASSERT_EQ(spelled(text), expected) << byte << " at " << at << " of " << length;
        }
      }
    }
  }
}

}  // namespace
}  // namespace tertulia
