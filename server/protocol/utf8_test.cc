#include "protocol/utf8.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tertulia {
namespace {

// UTF-8 as a definition rather than as an algorithm: what this writes for the code points that are characters.
std::string encoded(uint32_t point) {
  const auto c = [](uint32_t value) { return static_cast<char>(value); };
  if (point < 0x80) return {c(point)};
  if (point < 0x800) return {c(0xC0 | point >> 6), c(0x80 | (point & 63))};
  if (point < 0x10000) return {c(0xE0 | point >> 12), c(0x80 | (point >> 6 & 63)), c(0x80 | (point & 63))};
  return {c(0xF0 | point >> 18), c(0x80 | (point >> 12 & 63)), c(0x80 | (point >> 6 & 63)), c(0x80 | (point & 63))};
}

// How many bytes pass, fed one at a time, before one is refused; the size if none is.
size_t passed(std::string_view bytes) {
  Utf8Checker checker;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (!checker.feed(bytes.substr(i, 1))) return i;
  }
  return bytes.size();
}

struct Row {
  const char* what;
  std::string bytes;
  size_t passed;  // bytes before the first that proves it wrong
  bool valid;
};

TEST(Utf8, TableOfEdges) {
  using namespace std::string_literals;
  const std::vector<Row> rows = {
      {"empty", ""s, 0, true},
      {"NUL is a character", "a\0b"s, 3, true},
      {"last of one byte", "\x7F"s, 1, true},
      {"first of two bytes", "\xC2\x80"s, 2, true},
      {"last of two bytes", "\xDF\xBF"s, 2, true},
      {"first of three bytes", "\xE0\xA0\x80"s, 3, true},
      {"before the surrogates", "\xED\x9F\xBF"s, 3, true},
      {"after the surrogates", "\xEE\x80\x80"s, 3, true},
      {"noncharacters are characters here", "\xEF\xBF\xBF"s, 3, true},
      {"first of four bytes", "\xF0\x90\x80\x80"s, 4, true},
      {"the last character", "\xF4\x8F\xBF\xBF"s, 4, true},
      {"a lone continuation", "\x80"s, 0, false},
      {"a lone continuation after text", "abc\xBF"s, 3, false},
      {"overlong two bytes C0", "\xC0\x80"s, 0, false},
      {"overlong two bytes C1", "\xC1\xBF"s, 0, false},
      {"overlong three bytes", "\xE0\x9F\xBF"s, 1, false},
      {"overlong four bytes", "\xF0\x8F\xBF\xBF"s, 1, false},
      {"the first surrogate", "\xED\xA0\x80"s, 1, false},
      {"the last surrogate", "\xED\xBF\xBF"s, 1, false},
      {"a surrogate pair", "\xED\xA0\xBD\xED\xB8\x80"s, 1, false},
      {"one above the last", "\xF4\x90\x80\x80"s, 1, false},
      {"F5", "\xF5\x80\x80\x80"s, 0, false},
      {"F8, once five bytes", "\xF8\x88\x80\x80\x80"s, 0, false},
      {"FE", "\xFE"s, 0, false},
      {"FF", "\xFF"s, 0, false},
      {"two bytes cut", "\xC3"s, 1, false},
      {"three bytes cut", "\xE2\x82"s, 2, false},
      {"four bytes cut", "\xF0\x9F\x98"s, 3, false},
      {"a letter for a continuation", "\xE2\x82"s + "a", 2, false},
      {"a start for a continuation", "\xC3\xC3\xA9"s, 1, false},
      {"the fourth byte is wrong", "\xF0\x9F\x98\xFF"s, 3, false},
      {"Autobahn 6.4.1", "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90\x80\x80\x65"s, 12, false},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(passed(row.bytes), row.passed) << row.what;
    EXPECT_EQ(utf8_valid(row.bytes), row.valid) << row.what;
    // The same after and before other text, long enough for every fast path.
    for (const std::string& around : {"1234567"s, "12345678"s, "a long enough text of plain ASCII"s, "añ€😀b"s}) {
      EXPECT_EQ(utf8_valid(around + row.bytes + around), row.valid) << row.what;
      const bool refused = row.passed < row.bytes.size();
      EXPECT_EQ(passed(around + row.bytes), around.size() + row.passed) << row.what;
      Utf8Checker whole;
      EXPECT_EQ(whole.feed(around + row.bytes), !refused) << row.what;
    }
  }
}

TEST(Utf8, EveryCodePointIsValidButSurrogates) {
  for (uint32_t point = 0; point <= 0x1FFFFF; ++point) {
    const bool character = point <= 0x10FFFF && !(point >= 0xD800 && point <= 0xDFFF);
    ASSERT_EQ(utf8_valid(encoded(point)), character) << std::hex << point;
  }
}

TEST(Utf8, EveryStringOfTwoBytesAgreesWithTheDefinition) {
  std::vector<bool> two(65536, false);
  for (uint32_t a = 0; a < 0x80; ++a) {
    for (uint32_t b = 0; b < 0x80; ++b) two[a << 8 | b] = true;
  }
  for (uint32_t point = 0x80; point < 0x800; ++point) {
    const std::string bytes = encoded(point);
    two[static_cast<uint32_t>(static_cast<uint8_t>(bytes[0])) << 8 | static_cast<uint8_t>(bytes[1])] = true;
  }
  for (uint32_t value = 0; value < 65536; ++value) {
    const std::string bytes = {static_cast<char>(value >> 8), static_cast<char>(value)};
    ASSERT_EQ(utf8_valid(bytes), two[value]) << std::hex << value;
  }
}

// That begin with no ASCII; the fourth byte of a longer character could only be 80..BF, and the table has those.
TEST(Utf8, EveryStringOfThreeBytesAgreesWithTheDefinition) {
  std::vector<bool> three(1 << 24, false);
  const auto mark = [&](const std::string& bytes) {
    uint32_t value = 0;
    for (char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
    three[value] = true;
  };
  for (uint32_t point = 0x800; point < 0x10000; ++point) {
    if (point < 0xD800 || point > 0xDFFF) mark(encoded(point));
  }
  for (uint32_t point = 0; point < 0x800; ++point) {
    for (uint32_t other = 0; other < (point < 0x80 ? 0x800u : 0x80u); ++other) {
      const std::string pair = encoded(point) + encoded(other);
      if (pair.size() == 3) mark(pair);
      if (pair.size() != 2) continue;
      for (uint32_t third = 0; third < 0x80; ++third) mark(pair + static_cast<char>(third));
    }
  }
  std::string bytes(3, '\0');
  for (uint32_t value = 0x800000; value < 1 << 24; ++value) {
    bytes[0] = static_cast<char>(value >> 16);
    bytes[1] = static_cast<char>(value >> 8);
    bytes[2] = static_cast<char>(value);
    ASSERT_EQ(utf8_valid(bytes), three[value]) << std::hex << value;
  }
}

TEST(Utf8, CutAnywhereTheAnswerIsTheSame) {
  const std::string text = "Hola, ¿qué tal? κόσμε \xED\x9F\xBF 漢字 😀😀 plain ASCII to the end, 16 and more";
  for (size_t first = 0; first <= text.size(); ++first) {
    for (size_t second = first; second <= text.size(); ++second) {
      Utf8Checker checker;
      ASSERT_TRUE(checker.feed(text.substr(0, first)));
      ASSERT_TRUE(checker.feed(text.substr(first, second - first)));
      ASSERT_TRUE(checker.feed(text.substr(second)));
      ASSERT_TRUE(checker.complete());
    }
    // Complete exactly at the edges of characters.
    Utf8Checker checker;
    ASSERT_TRUE(checker.feed(text.substr(0, first)));
    const bool edge = first == text.size() || (static_cast<uint8_t>(text[first]) & 0xC0) != 0x80;
    ASSERT_EQ(checker.complete(), edge) << first;
  }
}

}  // namespace
}  // namespace tertulia
