#include "protocol/names.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <string>

namespace tertulia {
namespace {

std::string utf8(utf8proc_int32_t c) {
  utf8proc_uint8_t bytes[4];
  const auto size = utf8proc_encode_char(c, bytes);
  return std::string(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
}

TEST(Names, WhatARoomAndAUserMayBeCalled) {
  struct Case {
    const char* what;
    std::string name;
    bool room;
    bool user;
  };
  const std::string e_acute = "\xC3\xA9";
  const std::string tea = "\xF0\x9F\x8D\xB5";
  std::string four_by_64, e_by_64;
  for (int i = 0; i < 64; ++i) four_by_64 += tea, e_by_64 += e_acute;
  const Case cases[] = {
      {"a word", "room", true, true},
      {"one character", "a", true, true},
      {"a wildcard", ">", true, true},
      {"a star", "*", true, true},
      {"a path", "../", true, true},
      {"dots", "a.b.c", true, true},
      {"inner spaces", "a room of one's own", true, true},
      {"outer spaces", " a ", true, true},
      {"only a space: a room's name is bytes, a user's folds to nothing", " ", true, false},
      {"markup", "<script>alert(1)</script>", true, true},
      {"quotes", "\"'`\\", true, true},
      {"64 characters of four bytes, 256 bytes", four_by_64, true, true},
      {"64 characters of two bytes", e_by_64, true, true},
      {"65 characters", std::string(65, 'a'), false, false},
      {"64 characters and one more of two bytes", std::string(64, 'a') + e_acute, false, false},
      {"257 bytes", four_by_64 + "a", false, false},
      {"empty", "", false, false},
      {"NUL", std::string("a\0b", 3), false, false},
      {"only NUL", std::string("\0", 1), false, false},
      {"tab", "a\tb", false, false},
      {"new line", "a\n", false, false},
      {"carriage return", "\ra", false, false},
      {"escape", "\x1B[31m", false, false},
      {"DEL", "a\x7F", false, false},
      {"C1 control", "a\xC2\x85", false, false},
      {"last C1 control", "a\xC2\x9F", false, false},
      {"no-break space, just above C1",
       "a\xC2\xA0"
       "b",
       true, true},
      {"line separator", "a" + utf8(0x2028), false, false},
      {"paragraph separator", "a" + utf8(0x2029), false, false},
      {"left-to-right mark", "a" + utf8(0x200E), false, false},
      {"right-to-left mark", "a" + utf8(0x200F), false, false},
      {"arabic letter mark", "a" + utf8(0x061C), false, false},
      {"right-to-left override", "a" + utf8(0x202E) + "b", false, false},
      {"left-to-right embedding", "a" + utf8(0x202A) + "b", false, false},
      {"first isolate", "a" + utf8(0x2066) + "b", false, false},
      {"pop isolate", "a" + utf8(0x2069) + "b", false, false},
      {"zero-width space", "a" + utf8(0x200B) + "b", true, false},
      {"zero-width non-joiner", "a" + utf8(0x200C) + "b", true, false},
      {"zero-width joiner", "a" + utf8(0x200D) + "b", true, false},
      {"word joiner", "a" + utf8(0x2060) + "b", true, false},
      {"invisible plus", "a" + utf8(0x2064) + "b", true, false},
      {"byte order mark", utf8(0xFEFF) + "a", true, false},
      {"soft hyphen", "a" + utf8(0xAD) + "b", true, false},
      {"grapheme joiner", "a" + utf8(0x034F) + "b", true, false},
      {"Mongolian vowel separator", "a" + utf8(0x180E) + "b", true, false},
      {"only a filler that nobody sees", utf8(0x3164), true, false},
      {"only a variation selector", utf8(0xFE0F), true, false},
      {"right-to-left letters", "\xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D", true, true},
      {"cut character", "a\xC3", false, false},
      {"overlong", "a\xC0\xAF", false, false},
      {"surrogate", "a\xED\xA0\x80", false, false},
      {"beyond Unicode", "a\xF4\x90\x80\x80", false, false},
      {"stray continuation", "\x80", false, false},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(room_name_valid(c.name), c.room) << c.what;
    EXPECT_EQ(fold_user_name(c.name).has_value(), c.user) << c.what;
  }
}

TEST(Names, LookAlikesFoldToOneName) {
  const std::string full_width = "\xEF\xBC\xA1\xEF\xBD\x8C\xEF\xBD\x89\xEF\xBD\x83\xEF\xBD\x85";
  for (const std::string& name : {std::string("Alice"), std::string("alice"), std::string("ALICE"),
                                  std::string("alice "), std::string("  Alice"), full_width, "Alice" + utf8(0x3000),
                                  utf8(0x2003) + "alice", "alice" + utf8(0xFE0F), "al" + utf8(0x3164) + "ice"})
    EXPECT_EQ(fold_user_name(name), "alice") << name;
  for (const std::string& name : {std::string("alic\xC3\xA9"), std::string("al ice"), std::string("alice1")})
    EXPECT_NE(fold_user_name(name), "alice") << name;
}

// A claim is looked up by the folded name, and a member list is paged by it: folding it again must not move it.
TEST(Names, FoldingIsStableForEveryCharacter) {
  int folded_count = 0;
  for (utf8proc_int32_t c = 1; c < 0xE1000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    if (c == 0x40000) c = 0xE0000;  // nothing is assigned between, nor behind but for private use
    for (const std::string& name : {utf8(c), "a" + utf8(c) + "b"}) {
      const std::optional<std::string> once = fold_user_name(name);
      if (!once || once->size() > 256) continue;
      ++folded_count;
      const std::optional<std::string> twice = fold_user_name(*once);
      ASSERT_TRUE(twice.has_value()) << std::hex << c;
      ASSERT_EQ(*twice, *once) << std::hex << c;
    }
  }
  EXPECT_GT(folded_count, 400'000);
}

}  // namespace
}  // namespace tertulia
