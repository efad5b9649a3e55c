#include "protocol/position.h"

#include <gtest/gtest.h>

#include <string>

#include "base/random.h"
#include "protocol/base64url.h"

namespace tertulia {
namespace {

TEST(Position, IsReadBackAsItWasWritten) {
  SeededRandom random(7);
  for (Sequence sequence :
       {Sequence{0}, Sequence{1}, Sequence{9}, Sequence{10}, Sequence{4'294'967'296}, sequence_max}) {
    for (int i = 0; i < 200; ++i) {
      Position position;
      position.sequence = sequence;
      random.fill(position.chain.bytes);
      const std::string text = position_text(position);
      EXPECT_EQ(parse_position(text), position) << text;
    }
  }
}

TEST(Position, HasOneSpellingOnly) {
  const std::string chain = "AAAA-_zZ09AAAAA-";
  ASSERT_TRUE(parse_position("7-" + chain));
  EXPECT_EQ(position_text(*parse_position("7-" + chain)), "7-" + chain);
  struct Case {
    const char* what;
    std::string text;
  };
  const Case cases[] = {
      {"empty", ""},
      {"no chain", "7"},
      {"no chain behind the dash", "7-"},
      {"no sequence", "-" + chain},
      {"chain alone", chain},
      {"no dash", "7" + chain},
      {"another mark", "7:" + chain},
      {"negative", "-1-" + chain},
      {"plus", "+1-" + chain},
      {"space before", " 1-" + chain},
      {"space behind", "1-" + chain + " "},
      {"space within", "1 -" + chain},
      {"leading zero", "01-" + chain},
      {"two zeros", "00-" + chain},
      {"fraction", "1.5-" + chain},
      {"exponent", "1e3-" + chain},
      {"hexadecimal", "0x7-" + chain},
      {"2^53", "9007199254740992-" + chain},
      {"2^63", "9223372036854775808-" + chain},
      {"2^64 + 7", "18446744073709551623-" + chain},
      {"a hundred digits", std::string(100, '9') + "-" + chain},
      {"short chain", "7-AAAAAAAAAAAAAAA"},
      {"long chain", "7-AAAAAAAAAAAAAAAAA"},
      {"plus in the chain", "7-AAAAAAAAAAAAAAA+"},
      {"slash in the chain", "7-AAAAAAAAAAAAAAA/"},
      {"padding", "7-AAAAAAAAAAAAAAA="},
      {"NUL in the chain", std::string("7-AAAAAAAAAAAAAAA\0", 18)},
      {"no ASCII in the chain", "7-AAAAAAAAAAAAAA\xC3\xA9"},
      {"an id of another system", "507f1f77bcf86cd799439011"},
      {"two positions", "7-" + chain + "7-" + chain},
  };
  for (const Case& c : cases) EXPECT_FALSE(parse_position(c.text)) << c.what;
}

TEST(Base64url, WritesEveryLengthAndReadsItBack) {
  const char* const expected[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"};
  const std::string source = "foobar";
  for (size_t n = 0; n <= source.size(); ++n) {
    const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(source.data()), n);
    std::string text;
    append_base64url(text, bytes);
    EXPECT_EQ(text, expected[n]);
    std::string back(n, '?');
    EXPECT_TRUE(decode_base64url(text, {reinterpret_cast<uint8_t*>(back.data()), n}));
    EXPECT_EQ(back, source.substr(0, n));
  }
}

TEST(Base64url, RefusesASecondSpellingOfTheSameBytes) {
  uint8_t one[1], two[2];
  EXPECT_TRUE(decode_base64url("Zg", one));
  EXPECT_FALSE(decode_base64url("Zh", one));
  EXPECT_FALSE(decode_base64url("Zg==", one));
  EXPECT_TRUE(decode_base64url("Zm8", two));
  EXPECT_FALSE(decode_base64url("Zm9", two));
  EXPECT_FALSE(decode_base64url("Zm8", one));
  EXPECT_FALSE(decode_base64url("Z", one));
}

}  // namespace
}  // namespace tertulia
