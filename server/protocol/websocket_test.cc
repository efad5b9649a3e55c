#include "protocol/websocket.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/random.h"
#include "protocol/utf8.h"
#include "protocol/websocket_recorder.h"

namespace tertulia {
namespace {

using namespace std::string_literals;
using Lines = std::vector<std::string>;
using Status = WebSocketReader::Status;

constexpr int kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10, kContinuation = 0;

std::string big_endian(uint64_t value, int count) {
  std::string bytes;
  for (int i = count - 1; i >= 0; --i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

// A frame as a client may or may not write it.
struct Spelling {
  bool fin = true;
  int rsv = 0;
  bool masked = true;
  int length_bytes = -1;                // 0, 2 or 8: this form whatever the length; -1: the minimal one
  std::optional<uint64_t> length = {};  // announced instead of the payload's
  uint32_t mask = 0x9137F2C5;
};

std::string frame(int opcode, std::string_view payload, const Spelling& spelling = {}) {
  const uint64_t length = spelling.length.value_or(payload.size());
  int length_bytes = spelling.length_bytes;
  if (length_bytes < 0) length_bytes = length < 126 ? 0 : length < 65536 ? 2 : 8;
  std::string bytes;
  bytes += static_cast<char>((spelling.fin ? 0x80 : 0) | spelling.rsv << 4 | opcode);
  const uint64_t short_length = length_bytes == 0 ? length : length_bytes == 2 ? 126 : 127;
  bytes += static_cast<char>((spelling.masked ? 0x80 : 0) | short_length);
  if (length_bytes != 0) bytes += big_endian(length, length_bytes);
  const std::string mask = big_endian(spelling.mask, 4);
  if (spelling.masked) bytes += mask;
  for (size_t i = 0; i < payload.size(); ++i) {
    bytes += spelling.masked ? static_cast<char>(payload[i] ^ mask[i % 4]) : payload[i];
  }
  return bytes;
}

std::string begin(int opcode, std::string_view payload) {
  return frame(opcode, payload, {.fin = false});
}
std::string middle(std::string_view payload) {
  return begin(kContinuation, payload);
}
std::string last(std::string_view payload) {
  return frame(kContinuation, payload);
}
std::string text(std::string_view payload) {
  return frame(kText, payload);
}
std::string close(int code, std::string_view reason) {
  return frame(kClose, big_endian(static_cast<uint64_t>(code), 2) + std::string(reason));
}
std::string header_only(int opcode, uint64_t length, bool fin = true) {
  return frame(opcode, "", {.fin = fin, .length = length});
}

Lines whole(const WebSocketLimits& limits, std::string_view bytes) {
  std::string broken;
  Lines lines = websocket_lines(
      limits, bytes, [] { return size_t{0}; }, {}, &broken);
  EXPECT_EQ(broken, "");
  return lines;
}

// The same lines whole, a byte at a time, and cut in two at every byte.
void expect_lines(const WebSocketLimits& limits, const std::string& bytes, const Lines& expected,
                  const std::string& what) {
  std::string broken;
  EXPECT_EQ(whole(limits, bytes), expected) << what;
  EXPECT_EQ(websocket_lines(
                limits, bytes, [] { return size_t{1}; }, {}, &broken),
            expected)
      << what << ", bytewise";
  for (size_t cut = 1; cut < bytes.size() && bytes.size() < 1000; ++cut) {
    bool first = true;
    const auto piece = [&] { return std::exchange(first, false) ? cut : 0; };
    ASSERT_EQ(websocket_lines(limits, bytes, piece, {}, &broken), expected) << what << ", cut at " << cut;
  }
  EXPECT_EQ(broken, "") << what;
}

WebSocketLimits small_limits() {
  WebSocketLimits limits;
  limits.message_bytes_max = 300;
  limits.skipped_bytes_max = 1000;
  limits.fragments_max = 4;
  limits.fragment_charge_bytes = 20;
  return limits;
}

struct Row {
  const char* what;
  std::string bytes;
  Lines lines;
};

TEST(WebSocketReader, WhatIsRightIsHeard) {
  const std::string long_text(60000, 'x');
  const std::string spanish = "¿Qué tal, señor? 😀";
  const std::vector<Row> rows = {
      {"nothing", "", {"more"}},
      {"a text", text("hello"), {"text hello", "more"}},
      {"a text in UTF-8", text(spanish), {"text " + spanish, "more"}},
      {"a text with NUL", text("a\0b"s), {"text a\0b"s, "more"}},
      {"two texts", text("one") + text("two"), {"text one", "text two", "more"}},
      {"125 bytes", text(std::string(125, 'a')), {"text " + std::string(125, 'a'), "more"}},
      {"126 bytes", text(std::string(126, 'a')), {"text " + std::string(126, 'a'), "more"}},
      {"127 bytes", text(std::string(127, 'a')), {"text " + std::string(127, 'a'), "more"}},
      {"60000 bytes", text(long_text), {"text " + long_text, "more"}},
      {"mask zero", frame(kText, "plain", {.mask = 0}), {"text plain", "more"}},
      {"an empty text", text(""), {"empty", "text ", "more"}},
      {"ping", frame(kPing, "p"), {"ping p", "more"}},
      {"ping without payload", frame(kPing, ""), {"ping ", "more"}},
      {"ping of 125 bytes, of any bytes",
       frame(kPing, std::string(125, '\xFF')),
       {"ping " + std::string(125, '\xFF'), "more"}},
      {"pong", frame(kPong, "q"), {"pong q", "more"}},
      {"two fragments", begin(kText, "he") + last("llo"), {"text hello", "more"}},
      {"three fragments, a character cut twice",
       begin(kText, "\xE2") + middle("\x82") + last("\xAC"),
       {"text €", "more"}},
      {"empty fragments", begin(kText, "") + middle("a") + middle("") + last(""), {"empty", "empty", "text a", "more"}},
      {"nothing but empty fragments", begin(kText, "") + last(""), {"empty", "empty", "text ", "more"}},
      {"controls between fragments",
       begin(kText, "a\xC3") + frame(kPing, "1") + frame(kPong, "2") + last("\xA9z"),
       {"ping 1", "pong 2", "text aéz", "more"}},
      {"a fragmented message, then another",
       begin(kText, "a") + last("b") + text("c") + begin(kText, "d") + last("e"),
       {"text ab", "text c", "text de", "more"}},
      {"a header begun", text("hello").substr(0, 1), {"more, mid message"}},
      {"a payload begun", text("hello").substr(0, 8), {"more, mid message"}},
      {"a message begun", begin(kText, "a"), {"more, mid message"}},
      {"a ping begun", frame(kPing, "abc").substr(0, 7), {"more, mid message"}},
      {"a ping begun inside a message", begin(kText, "a") + frame(kPing, "abc").substr(0, 7), {"more, mid message"}},
      {"close", frame(kClose, ""), {"close 1005 "}},
      {"close with a code", close(1000, ""), {"close 1000 "}},
      {"close with a reason", close(4999, "adiós"), {"close 4999 adiós"}},
      {"close with the longest reason", close(1001, std::string(123, 'r')), {"close 1001 " + std::string(123, 'r')}},
      {"close inside a message", begin(kText, "a") + close(1000, "x"), {"close 1000 x"}},
      {"after a close nothing is read", close(1000, "x") + text("a") + "\xFF\xFF", {"close 1000 x"}},
  };
  for (const Row& row : rows) expect_lines({}, row.bytes, row.lines, row.what);
}

TEST(WebSocketReader, WhatBreaksTheProtocolFailsWith1002) {
  std::vector<Row> rows = {
      {"unmasked text", frame(kText, "hello", {.masked = false}), {"failed 1002"}},
      {"unmasked empty text", frame(kText, "", {.masked = false}), {"failed 1002"}},
      {"unmasked ping", frame(kPing, "", {.masked = false}), {"failed 1002"}},
      {"unmasked close", frame(kClose, "\x03\xE8", {.masked = false}), {"failed 1002"}},
      {"unmasked continuation", begin(kText, "a") + frame(kContinuation, "b", {.masked = false}), {"failed 1002"}},
      {"125 bytes in 16 bits", frame(kText, std::string(125, 'a'), {.length_bytes = 2}), {"failed 1002"}},
      {"0 bytes in 16 bits", frame(kText, "", {.length_bytes = 2}), {"failed 1002"}},
      {"125 bytes in 64 bits", frame(kText, std::string(125, 'a'), {.length_bytes = 8}), {"failed 1002"}},
      {"65535 bytes in 64 bits", frame(kText, "", {.length_bytes = 8, .length = 65535}), {"failed 1002"}},
      {"continuation in 64 bits",
       begin(kText, "") + frame(kContinuation, "a", {.length_bytes = 8}),
       {"empty", "failed 1002"}},
      {"top bit of the length", header_only(kText, uint64_t{1} << 63), {"failed 1002"}},
      {"all bits of the length", header_only(kText, ~uint64_t{0}), {"failed 1002"}},
      {"top bit and a small length", header_only(kText, uint64_t{1} << 63 | 5), {"failed 1002"}},
      {"ping of 126 bytes", frame(kPing, std::string(126, 'a')), {"failed 1002"}},
      {"pong of 126 bytes", frame(kPong, std::string(126, 'a')), {"failed 1002"}},
      {"close of 126 bytes", close(1000, std::string(124, 'a')), {"failed 1002"}},
      {"ping of 70000 bytes", header_only(kPing, 70000), {"failed 1002"}},
      {"ping of 5 bytes in 16 bits", frame(kPing, "hello", {.length_bytes = 2}), {"failed 1002"}},
      {"fragmented ping", begin(kPing, "a"), {"failed 1002"}},
      {"fragmented pong", begin(kPong, "a"), {"failed 1002"}},
      {"fragmented close", begin(kClose, "\x03\xE8"), {"failed 1002"}},
      {"fragmented ping inside a message", begin(kText, "a") + begin(kPing, "a"), {"failed 1002"}},
      {"continuation without a message", last("a"), {"failed 1002"}},
      {"continuation without a message, not last", middle("a"), {"failed 1002"}},
      {"continuation after a whole message", text("a") + last("b"), {"text a", "failed 1002"}},
      {"continuation after a fragmented message",
       begin(kText, "a") + last("b") + last("c"),
       {"text ab", "failed 1002"}},
      {"text inside a message", begin(kText, "a") + text("b"), {"failed 1002"}},
      {"binary inside a message", begin(kText, "a") + frame(kBinary, "b"), {"failed 1002"}},
      {"text begun inside a message", begin(kText, "a") + begin(kText, "b"), {"failed 1002"}},
      {"close of one byte", frame(kClose, "\x03"), {"failed 1002"}},
  };
  for (int rsv = 1; rsv < 8; ++rsv) {
    for (int opcode : {kText, kBinary, kClose, kPing, kPong, kContinuation}) {
      rows.push_back({"reserved bits", frame(opcode, "\x03\xE8", {.rsv = rsv}), {"failed 1002"}});
      rows.push_back({"reserved bits later", begin(kText, "a") + frame(opcode, "", {.rsv = rsv}), {"failed 1002"}});
    }
  }
  for (int opcode : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15}) {
    for (bool fin : {true, false}) {
      rows.push_back({"unknown opcode", frame(opcode, "a", {.fin = fin}), {"failed 1002"}});
      rows.push_back({"unknown opcode later", begin(kText, "a") + frame(opcode, "", {.fin = fin}), {"failed 1002"}});
    }
  }
  for (const Row& row : rows) expect_lines({}, row.bytes, row.lines, row.what);
}

TEST(WebSocketReader, EveryCloseCodeIsJudged) {
  for (int code = 0; code < 65536; ++code) {
    const bool allowed =
        (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code < 5000);
    const Lines expected = {allowed ? "close " + std::to_string(code) + " why" : "failed 1002"};
    ASSERT_EQ(whole({}, close(code, "why")), expected);
  }
  for (int code : {0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535}) {
    expect_lines({}, close(code, "why"), {"failed 1002"}, std::to_string(code));
    // Proven wrong by the code alone: the reason need not come.
    EXPECT_EQ(whole({}, close(code, "why").substr(0, 8)), Lines{"failed 1002"});
  }
}

TEST(WebSocketReader, InvalidUtf8FailsWith1007AtOnce) {
  const std::string good = "κόσμε", bad = "\xF4\x90\x80\x80";
  const std::vector<Row> rows = {
      {"in a whole text", text(good + bad + "a"), {"failed 1007"}},
      {"a text that ends inside a character", text("a\xC3"), {"failed 1007"}},
      {"a surrogate", text("\xED\xA0\x80"), {"failed 1007"}},
      {"overlong", text("\xC0\xAF"), {"failed 1007"}},
      {"over fragments", begin(kText, "a\xE2\x82") + last("a"), {"failed 1007"}},
      {"ASCII inside a character over fragments",
       begin(kText, "\xE2\x82") + middle("a") + last("\xAC"),
       {"failed 1007"}},
      {"the last fragment ends inside a character", begin(kText, "a") + last("\xE2\x82"), {"failed 1007"}},
      {"an empty last fragment ends inside a character", begin(kText, "a\xE2") + last(""), {"failed 1007"}},
      {"in a fragment that is not the last", begin(kText, good) + middle(bad), {"failed 1007"}},
      {"after good texts and a ping",
       text(good) + begin(kText, "\xCE") + frame(kPing, "p") + middle("\xCE"),
       {"text " + good, "ping p", "failed 1007"}},
      {"in a close reason", close(1000, "a\xFFz"), {"failed 1007"}},
      {"a close reason that ends inside a character", close(1000, "a\xC3"), {"failed 1007"}},
      {"pings and pongs are only bytes", frame(kPing, bad) + frame(kPong, bad), {"ping " + bad, "pong " + bad, "more"}},
  };
  for (const Row& row : rows) expect_lines({}, row.bytes, row.lines, row.what);

  // Inside an unfinished frame: exactly at the byte that proves it (F4 may go on, F4 90 may not).
  const auto unfinished = [&](const std::string& start, size_t payload_bytes) {
    return start + frame(kText, (good + bad + good).substr(0, payload_bytes), {.length = 100});
  };
  EXPECT_EQ(whole({}, unfinished("", good.size() + 1)), Lines{"more, mid message"});
  EXPECT_EQ(whole({}, unfinished("", good.size() + 2)), Lines{"failed 1007"});
  const std::string reason = close(1000, "aé\xF4\x90zzzz");
  EXPECT_EQ(whole({}, reason.substr(0, 6 + 2 + 4)), Lines{"more, mid message"});
  EXPECT_EQ(whole({}, reason.substr(0, 6 + 2 + 5)), Lines{"failed 1007"});
}

TEST(WebSocketReader, BinaryFailsWith1003UnlessAllowed) {
  expect_lines({}, frame(kBinary, "a"), {"failed 1003"}, "whole");
  expect_lines({}, begin(kBinary, "a"), {"failed 1003"}, "fragmented");
  EXPECT_EQ(whole({}, "\x82"), Lines{"failed 1003"}) << "the first byte proves it";
  WebSocketLimits limits = small_limits();
  limits.binary_allowed = true;
  expect_lines(limits, frame(kBinary, "\xFF\xFE"), {"binary \xFF\xFE", "more"}, "any bytes");
  expect_lines(limits, begin(kBinary, "\xE2") + last("\xFF"), {"binary \xE2\xFF", "more"}, "fragmented, any bytes");
  expect_lines(limits, frame(kBinary, ""), {"empty", "binary ", "more"}, "empty");
  expect_lines(limits, begin(kBinary, "a") + last("b") + text("\xFF"), {"binary ab", "failed 1007"}, "then a text");
  expect_lines(limits, frame(kBinary, std::string(300, 'b')), {"binary " + std::string(300, 'b'), "more"},
               "at the limit");
  expect_lines(limits, header_only(kBinary, 301), {"failed 1009"}, "above the limit, from the header alone");
  expect_lines(limits, header_only(kBinary, 281, false), {"failed 1009"}, "a first fragment is charged too");
  expect_lines(limits, begin(kBinary, std::string(250, 'b')) + header_only(kContinuation, 11), {"failed 1009"},
               "above the limit with its charges");
}

TEST(WebSocketReader, AnOverlongTextIsSkippedAndReported) {
  const WebSocketLimits limits = small_limits();
  const auto long_text = [](size_t bytes) { return std::string(bytes, 'x'); };
  const std::vector<Row> rows = {
      {"at the limit", text(long_text(300)), {"text " + long_text(300), "more"}},
      {"one above", text(long_text(301)) + text("next"), {"too large 301", "text next", "more"}},
      {"at the limit of skipping", text(long_text(1000)) + text("next"), {"too large 1000", "text next", "more"}},
      {"above that, from the header alone", header_only(kText, 1001), {"failed 1009"}},
      {"far above, from the header alone", header_only(kText, (uint64_t{1} << 63) - 1), {"failed 1009"}},
      {"as fragments",
       begin(kText, long_text(200)) + last(long_text(101)) + text("next"),
       {"too large 301", "text next", "more"}},
      {"first fragment too large already",
       begin(kText, long_text(301)) + frame(kPing, "") + last("a"),
       {"ping ", "too large 302", "more"}},
      {"each fragment is charged, as much as fits",
       begin(kText, long_text(200)) + last(long_text(60)),
       {"text " + long_text(260), "more"}},
      {"each fragment is charged, one byte more",
       begin(kText, long_text(200)) + last(long_text(61)),
       {"too large 261", "more"}},
      {"the sum above the limit of skipping, from the header alone",
       begin(kText, long_text(400)) + middle(long_text(600)) + header_only(kContinuation, 1),
       {"failed 1009"}},
      {"a sum that would wrap",
       begin(kText, long_text(2)) + header_only(kContinuation, (uint64_t{1} << 63) - 1),
       {"failed 1009"}},
      {"not UTF-8 while skipping", text(long_text(310) + "\xFF" + long_text(10)), {"failed 1007"}},
      {"ends inside a character while skipping", text(long_text(310) + "\xE2\x82"), {"failed 1007"}},
      {"cut characters while skipping",
       begin(kText, long_text(310) + "\xE2") + middle("\x82") + last("\xAC"),
       {"too large 313", "more"}},
      {"not UTF-8 before skipping began, cut there",
       begin(kText, long_text(10) + "\xE2") + last(long_text(400)),
       {"failed 1007"}},
      {"empty fragments while skipping",
       begin(kText, long_text(301)) + middle("") + last(""),
       {"empty", "too large 301", "more"}},
      {"as many fragments as are allowed",
       begin(kText, "a") + middle("b") + middle("c") + last("d"),
       {"text abcd", "more"}},
      {"one fragment more", begin(kText, "a") + middle("b") + middle("c") + middle("d") + last("e"), {"failed 1009"}},
      {"one fragment more, by its first byte",
       begin(kText, "a") + middle("b") + middle("c") + middle("d") + "\x80"s,
       {"failed 1009"}},
      {"pings are no fragments",
       begin(kText, "a") + frame(kPing, "") + middle("b") + frame(kPing, "") + middle("c") + frame(kPing, "") +
           last("d"),
       {"ping ", "ping ", "ping ", "text abcd", "more"}},
      {"too many fragments while skipping",
       begin(kText, long_text(301)) + middle("") + middle("") + middle("") + last(""),
       {"empty", "empty", "empty", "failed 1009"}},
      {"an over-long text, closed midway", begin(kText, long_text(301)) + close(1000, ""), {"close 1000 "}},
  };
  for (const Row& row : rows) expect_lines(limits, row.bytes, row.lines, row.what);
}

TEST(WebSocketReader, TheDefaultLimitsAreThePublishedOnes) {
  const std::string at_limit(64 << 10, 'x');
  EXPECT_EQ(whole({}, text(at_limit)), (Lines{"text " + at_limit, "more"}));
  EXPECT_EQ(whole({}, text(at_limit + "x") + text("next")), (Lines{"too large 65537", "text next", "more"}));
  const std::string largest(16 << 20, 'x');
  EXPECT_EQ(whole({}, text(largest) + text("next")), (Lines{"too large 16777216", "text next", "more"}));
  EXPECT_EQ(whole({}, header_only(kText, (16 << 20) + 1)), Lines{"failed 1009"});
  std::string fragments = begin(kText, "a");
  for (int i = 0; i < 62; ++i) fragments += middle("a");
  EXPECT_EQ(whole({}, fragments + last("a")), (Lines{"text " + std::string(64, 'a'), "more"}));
  EXPECT_EQ(whole({}, fragments + middle("a") + last("a")), Lines{"failed 1009"});
}

// The published suite compares no content above 64 KiB.
TEST(WebSocketReader, LargeContentArrivesUnchangedWithRaisedLimits) {
  WebSocketLimits limits;
  limits.message_bytes_max = limits.skipped_bytes_max = 32 << 20;
  limits.fragments_max = 1 << 16;
  limits.binary_allowed = true;
  SeededRandom random(20240607);
  std::string bytes((1 << 20) + 13, '\0');
  for (char& c : bytes) c = static_cast<char>(random.below(256));
  std::string characters;
  while (characters.size() < 1 << 20) characters += random.below(2) ? "漢😀é" : "plain text and more of it";
  for (const auto& [kind, payload] : {std::pair(kBinary, bytes), std::pair(kText, characters)}) {
    const Lines expected = {(kind == kText ? "text " : "binary ") + payload, "more"};
    for (size_t piece : {size_t{0}, size_t{1}, size_t{4093}, size_t{65536}}) {
      const auto piece_bytes = [&] { return piece; };
      EXPECT_TRUE(websocket_lines(limits, frame(kind, payload), piece_bytes) == expected) << kind << " by " << piece;
    }
    std::string fragments = begin(kind, payload.substr(0, 3));
    size_t at = 3;
    while (payload.size() - at > 40000) {
      const size_t size = random.below(40000);
      fragments += middle(payload.substr(at, size));
      at += size;
    }
    fragments += last(payload.substr(at));
    std::string broken;
    Lines lines = websocket_lines(
        limits, fragments, [&] { return 1 + random.below(9000); }, {}, &broken);
    std::erase(lines, "empty");
    EXPECT_TRUE(lines == expected) << kind << " in fragments";
    EXPECT_EQ(broken, "");
  }
}

TEST(WebSocketReader, AStoppedReaderGoesOnBehindThatFrame) {
  const std::string bytes = text("one") + frame(kPing, "p") + begin(kText, "tw") + middle("") + frame(kPong, "q") +
                            last("o") + text("") + text(std::string(400, 'x')) + text("end") + close(1000, "bye");
  const WebSocketLimits limits = small_limits();
  const Lines expected = {"text one", "ping p", "empty",         "pong q",   "text two",
                          "empty",    "text ",  "too large 400", "text end", "close 1000 bye"};
  for (size_t piece : {size_t{0}, size_t{1}, size_t{7}, size_t{50}}) {
    EXPECT_EQ(websocket_lines(
                  limits, bytes, [&] { return piece; }, [] { return false; }),
              expected)
        << piece;
  }

  // One by one: stopped stands directly behind the frame, and the bytes behind it were not changed.
  std::string data = bytes;
  WebSocketReader reader(limits);
  WebSocketRecorder recorder;
  recorder.keeps_going = [] { return false; };
  auto fed = reader.feed(data.data(), data.size(), recorder);
  EXPECT_EQ(fed.status, Status::stopped);
  EXPECT_EQ(fed.consumed, text("one").size());
  EXPECT_EQ(data.substr(fed.consumed), bytes.substr(fed.consumed));
  EXPECT_FALSE(reader.mid_message());
  size_t position = fed.consumed;
  fed = reader.feed(data.data() + position, frame(kPing, "p").size(), recorder);
  EXPECT_EQ(fed.status, Status::stopped) << "also when nothing was left";
  EXPECT_EQ(fed.consumed, frame(kPing, "p").size());
  position += fed.consumed;
  fed = reader.feed(data.data() + position, data.size() - position, recorder);
  EXPECT_EQ(fed.consumed, (begin(kText, "tw") + middle("")).size()) << "an empty fragment may stop it too";
  EXPECT_TRUE(reader.mid_message());
  EXPECT_EQ(recorder.lines, (Lines{"text one", "ping p", "empty"}));
}

TEST(WebSocketReader, WhoStopsAtAnEmptyMessageStillGetsIt) {
  const WebSocketLimits limits;
  WebSocketReader reader(limits);
  WebSocketRecorder recorder;
  recorder.keeps_going = [&] { return recorder.lines.back() != "empty"; };
  std::string bytes = text("") + text("next");
  const auto fed = reader.feed(bytes.data(), bytes.size(), recorder);
  EXPECT_EQ(fed.status, Status::stopped);
  EXPECT_EQ(fed.consumed, text("").size());
  EXPECT_EQ(recorder.lines, (Lines{"empty", "text "}));
}

TEST(WebSocketReader, BetweenMessagesNothingIsHeldAlsoInsideTheHandler) {
  EXPECT_LE(sizeof(WebSocketReader), 64u);
  WebSocketLimits limits;
  WebSocketReader reader(limits);
  WebSocketRecorder recorder;
  bool held_in_handler = false;
  recorder.keeps_going = [&] {
    held_in_handler |= reader.mid_message();
    return true;
  };
  std::string bytes = text("a") + begin(kText, "b") + last("c") + frame(kPing, "p") + text(std::string(70000, 'x'));
  for (char& byte : bytes) reader.feed(&byte, 1, recorder);
  EXPECT_EQ(recorder.lines.size(), 4u);
  EXPECT_FALSE(held_in_handler);
  EXPECT_FALSE(reader.mid_message());
  EXPECT_EQ(reader.held_bytes(), 0u);

  WebSocketReader moved(std::move(reader));
  std::string more = text("moved");
  EXPECT_EQ(moved.feed(more.data(), more.size(), recorder).status, Status::more);
  EXPECT_EQ(recorder.lines.back(), "text moved");
}

TEST(WebSocketReader, AHeaderThatPromisesMuchAllocatesNothingAhead) {
  WebSocketLimits limits;
  limits.message_bytes_max = limits.skipped_bytes_max = uint64_t{1} << 40;
  WebSocketRecorder recorder;
  WebSocketReader patient(limits);
  std::string bytes = frame(kText, std::string(1000, 'x'), {.length = uint64_t{1} << 39});
  ASSERT_EQ(patient.feed(bytes.data(), bytes.size(), recorder).status, Status::more);
  EXPECT_TRUE(patient.mid_message());
  EXPECT_GE(patient.held_bytes(), 1000u);
  EXPECT_LE(patient.held_bytes(), 3000u);

  // What can only be skipped is given up at once, and none of it kept.
  const WebSocketLimits small;
  WebSocketReader skipping(small);
  bytes = begin(kText, std::string(60000, 'x')) + frame(kContinuation, std::string(9000, 'x'), {.length = 1 << 20});
  ASSERT_EQ(skipping.feed(bytes.data(), bytes.size(), recorder).status, Status::more);
  EXPECT_TRUE(skipping.mid_message());
  EXPECT_LE(skipping.held_bytes(), 1024u);
}

// --- A second opinion: a parser that is as plain as possible, works on all bytes at once and shares nothing. ---

// Characters by arithmetic; what an unfinished last character may become is found by trying.
bool naive_utf8(const std::string& bytes, bool may_be_cut) {
  size_t i = 0;
  while (i < bytes.size()) {
    const auto byte = [&](size_t at) { return static_cast<uint8_t>(bytes[at]); };
    const int count = byte(i) < 0x80 ? 1 : byte(i) >> 5 == 6 ? 2 : byte(i) >> 4 == 14 ? 3 : byte(i) >> 3 == 30 ? 4 : 0;
    if (count == 0) return false;
    if (i + static_cast<size_t>(count) > bytes.size()) {
      if (!may_be_cut) return false;
      for (char next : {'\x80', '\x8F', '\x90', '\x9F', '\xA0', '\xBF'}) {
        if (naive_utf8(bytes.substr(i) + next, true)) return true;
      }
      return false;
    }
    uint32_t point = count == 1 ? byte(i) : byte(i) & (0xFFu >> (count + 1));
    for (int j = 1; j < count; ++j) {
      if (byte(i + static_cast<size_t>(j)) >> 6 != 2) return false;
      point = point << 6 | (byte(i + static_cast<size_t>(j)) & 63u);
    }
    const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < least[count] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return false;
    i += static_cast<size_t>(count);
  }
  return true;
}

Lines naive_lines(const WebSocketLimits& limits, const std::string& bytes) {
  Lines lines;
  std::string message;
  int kind = 0;  // 0: in no message
  bool too_large = false;
  uint64_t fragments = 0;
  size_t i = 0;
  const auto end = [&](const std::string& line) {
    lines.push_back(line);
    return lines;
  };
  while (i < bytes.size()) {
    const size_t left = bytes.size() - i;
    const auto at = [&](size_t offset) { return static_cast<uint8_t>(bytes[i + offset]); };
    const int opcode = at(0) % 16, rsv = at(0) / 16 % 8;
    const bool fin = at(0) >= 128, control = opcode >= 8;
    if (rsv != 0 || (opcode > 2 && opcode < 8) || opcode > 10 || (control && !fin)) return end("failed 1002");
    if (!control && (opcode == 0) != (kind != 0)) return end("failed 1002");
    if (opcode == kBinary && !limits.binary_allowed) return end("failed 1003");
    if (opcode == 0 && fragments >= limits.fragments_max) return end("failed 1009");
    if (left < 2) return end("more, mid message");
    if (at(1) < 128 || (control && at(1) - 128 > 125) || (opcode == kClose && at(1) == 129)) return end("failed 1002");
    uint64_t length = at(1) - 128;
    size_t header = 2;
    if (length == 127 && left > 2 && at(2) >= 128) return end("failed 1002");
    if (length >= 126) {
      const size_t extra = length == 126 ? 2 : 8;
      if (left < 2 + extra) return end("more, mid message");
      length = 0;
      for (size_t j = 0; j < extra; ++j) length = length * 256 + at(2 + j);
      if (extra == 2 ? length < 126 : length < 65536) return end("failed 1002");
      header += extra;
    }
    if (!control) {
      const int in_kind = opcode == 0 ? kind : opcode;
      const double sum = static_cast<double>(message.size()) + static_cast<double>(length);
      const double charge =
          opcode == 0 || !fin ? static_cast<double>(fragments + 1) * limits.fragment_charge_bytes : 0.0;
      const bool over = sum + charge > static_cast<double>(limits.message_bytes_max);
      if (in_kind == kBinary && over) return end("failed 1009");
      if (sum > static_cast<double>(std::max(limits.message_bytes_max, limits.skipped_bytes_max))) {
        return end("failed 1009");
      }
      if (left >= header + 4) {
        too_large |= over;
        kind = in_kind;
        ++fragments;
      }
    }
    if (left < header + 4) return end("more, mid message");
    std::string payload;
    for (size_t j = 0; j < length && header + 4 + j < left; ++j)
      payload += static_cast<char>(at(header + 4 + j) ^ at(header + j % 4));
    const bool complete = payload.size() == length;
    if (control) {
      if (opcode == kClose && payload.size() >= 2) {
        const int code = static_cast<uint8_t>(payload[0]) * 256 + static_cast<uint8_t>(payload[1]);
        const bool allowed =
            code >= 1000 && code < 5000 && !(code >= 1004 && code <= 1006) && !(code >= 1015 && code < 3000);
        if (!allowed) return end("failed 1002");
        if (!naive_utf8(payload.substr(2), !complete)) return end("failed 1007");
        if (complete) return end("close " + std::to_string(code) + " " + payload.substr(2));
      }
      if (!complete) return end("more, mid message");
      if (opcode == kClose) return end("close 1005 ");
      lines.push_back((opcode == kPing ? "ping " : "pong ") + payload);
    } else {
      message += payload;
      if (kind == kText && !naive_utf8(message, !(complete && fin))) return end("failed 1007");
      if (!complete) return end("more, mid message");
      if (length == 0 && (!fin || message.empty())) lines.push_back("empty");
      if (fin) {
        if (too_large) {
          lines.push_back("too large " + std::to_string(message.size()));
        } else {
          lines.push_back((kind == kText ? "text " : "binary ") + message);
        }
        message.clear();
        kind = 0;
        fragments = 0;
        too_large = false;
      }
    }
    i += header + 4 + length;
  }
  return end(kind != 0 ? "more, mid message" : "more");
}

// Frames as an honest, a clumsy and a hostile client would send them.
class Clients {
 public:
  explicit Clients(Random& random) : random_(random) {}

  std::string stream() {
    std::string bytes;
    bool in_message = false;
    const uint64_t frames = 1 + random_.below(8);
    for (uint64_t i = 0; i < frames; ++i) {
      const bool control = random_.below(4) == 0;
      Spelling spelling;
      spelling.mask = random_.below(4) == 0 ? 0 : static_cast<uint32_t>(random_.next());
      int opcode = in_message ? kContinuation : random_.below(4) == 0 ? kBinary : kText;
      if (control) opcode = random_.below(12) == 0 ? kClose : random_.below(2) == 0 ? kPing : kPong;
      if (!control) spelling.fin = random_.below(2) == 0;
      std::string payload = control ? characters(random_.below(20)) : characters(sizes());
      if (opcode == kClose && random_.below(4) != 0) {
        payload = big_endian(random_.below(2) == 0 ? 1000 : random_.below(6000), 2) + payload;
      }
      if (!control) in_message = !spelling.fin;
      if (rarely()) spelling.rsv = static_cast<int>(random_.below(8));
      if (rarely()) opcode = static_cast<int>(random_.below(16));
      if (rarely()) spelling.masked = false;
      if (rarely()) spelling.fin = !spelling.fin;
      if (rarely()) spelling.length_bytes = 2 << 2 * random_.below(2);
      if (rarely()) spelling.length = random_.next() >> random_.below(64);
      if (spelling.length && spelling.length_bytes == 2) *spelling.length &= 0xFFFF;
      if (rarely() && !payload.empty()) payload[random_.below(payload.size())] ^= static_cast<char>(random_.next());
      if (rarely() && !payload.empty()) payload.resize(random_.below(payload.size()));
      bytes += frame(opcode, payload, spelling);
    }
    if (random_.below(3) == 0) bytes.resize(random_.below(bytes.size() + 1));
    if (random_.below(8) == 0 && !bytes.empty())
      bytes[random_.below(bytes.size())] ^= static_cast<char>(random_.next());
    return bytes;
  }

 private:
  bool rarely() { return random_.below(60) == 0; }
  uint64_t sizes() { return random_.below(3) == 0 ? random_.below(600) : random_.below(40); }
  std::string characters(uint64_t count) {
    static const std::string kinds[] = {"a", "é", "€", "😀", "\xED\x9F\xBF", "\xF4\x8F\xBF\xBF", "\x7F", "\xC2\x80"};
    const bool ascii = random_.below(2) == 0;
    std::string text_made;
    while (text_made.size() < count) text_made += ascii ? "a" : kinds[random_.below(std::size(kinds))];
    // A fragment may well end inside a character; a whole message then is wrong, as it should be now and then.
    if (random_.below(20) == 0) text_made.resize(count);
    return text_made;
  }

  Random& random_;
};

TEST(WebSocketReader, AgreesWithANaiveParserOnRandomStreams) {
  const char* asked = std::getenv("TERTULIA_SEED");
  const uint64_t seed = asked != nullptr ? std::strtoull(asked, nullptr, 10) : std::random_device()();
  std::cout << "seed " << seed << " (repeat with TERTULIA_SEED)" << std::endl;
  SeededRandom random(seed);
  Clients clients(random);
  WebSocketLimits with_binary = small_limits();
  with_binary.binary_allowed = true;
  std::vector<uint64_t> endings(6, 0);
  for (int round = 0; round < 20000; ++round) {
    const WebSocketLimits limits = random.below(4) != 0 ? with_binary : small_limits();
    const std::string bytes = clients.stream();
    const Lines expected = naive_lines(limits, bytes);
    ASSERT_EQ(whole(limits, bytes), expected) << "seed " << seed << " round " << round;
    std::string broken;
    const uint64_t pieces_max = 1 + random.below(100);
    const auto pieces = [&] { return 1 + random.below(pieces_max); };
    const auto stops = [&] { return random.below(3) != 0; };
    ASSERT_EQ(websocket_lines(limits, bytes, pieces, stops, &broken), expected)
        << "seed " << seed << " round " << round;
    ASSERT_EQ(broken, "") << "seed " << seed << " round " << round;
    const std::string& ending = expected.back();
    const char* known[] = {"more", "close", "failed 1002", "failed 1003", "failed 1007", "failed 1009"};
    for (size_t i = 0; i < std::size(known); ++i) endings[i] += ending.starts_with(known[i]);
  }
  // The streams are worth reading: every ending came up often.
  for (uint64_t count : endings) EXPECT_GT(count, 100u);
}

TEST(WebSocketWriter, HeadersAreMinimalUnmaskedAndWhole) {
  struct {
    uint64_t bytes;
    std::string header;
  } rows[] = {{0, "\x81\x00"s},
              {125, "\x81\x7D"s},
              {126, "\x81\x7E\x00\x7E"s},
              {65535, "\x81\x7E\xFF\xFF"s},
              {65536, "\x81\x7F\x00\x00\x00\x00\x00\x01\x00\x00"s},
              {uint64_t{1} << 40, "\x81\x7F\x00\x00\x01\x00\x00\x00\x00\x00"s}};
  for (const auto& row : rows) {
    std::string out = "before";
    append_frame_header(out, Opcode::text, row.bytes);
    EXPECT_EQ(out, "before" + row.header) << row.bytes;
  }
  std::string out;
  append_frame(out, Opcode::ping, "abc");
  append_frame(out, Opcode::pong, "");
  append_frame(out, Opcode::binary, std::string(200, 'b'));
  EXPECT_EQ(out, "\x89\x03"s + "abc" + "\x8A\x00"s + "\x82\x7E\x00\xC8"s + std::string(200, 'b'));
}

TEST(WebSocketWriter, ACloseReasonIsCutAtACharactersEdge) {
  const auto written = [](CloseCode code, std::string_view reason) {
    std::string out;
    append_close_frame(out, code, reason);
    return out;
  };
  EXPECT_EQ(written(CloseCode::normal, ""), "\x88\x02\x03\xE8"s);
  EXPECT_EQ(written(CloseCode::idle, "adiós"), "\x88\x08\x0F\xA8"s + "adiós");
  EXPECT_EQ(written(CloseCode::no_code, "never said"), "\x88\x00"s);
  const std::string full(123, 'x');
  EXPECT_EQ(written(CloseCode::restart, full), "\x88\x7D\x03\xF4"s + full);
  EXPECT_EQ(written(CloseCode::restart, full + "y"), "\x88\x7D\x03\xF4"s + full);
  for (const std::string& character : {"é"s, "€"s, "😀"s}) {
    for (size_t before = 118; before <= 123; ++before) {
      const std::string reason = std::string(before, 'x') + character + "and more";
      const std::string frame_made = written(CloseCode::restart, reason);
      ASSERT_LE(frame_made.size(), 2u + 125u);
      const std::string kept = frame_made.substr(4);
      EXPECT_TRUE(utf8_valid(kept)) << character << before;
      EXPECT_TRUE(reason.starts_with(kept));
      EXPECT_GT(kept.size() + character.size(), 123u) << "no more than one character too short";
    }
  }
}

TEST(Handshake, TheAnswerIsTheOneOfTheStandard) {
  EXPECT_EQ(handshake_accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(Handshake, OnlyAKeyOf16BytesInCanonicalBase64IsValid) {
  for (const char* key : {"dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA==", "/////////////////////w==",
                          "+++++++++++++++++++++g==", "x3JJHMbDL1EzLkh9GBhXDw=="}) {
    EXPECT_TRUE(handshake_key_valid(key)) << key;
  }
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t value = 0; value < 64; ++value) {
    // The last six bits carry two bits of the sixteenth byte, then four that must be zero.
    EXPECT_EQ(handshake_key_valid("dGhlIHNhbXBsZSBub25jZ"s + alphabet[value] + "=="), value % 16 == 0) << value;
  }
  for (const std::string& key :
       {""s, "=="s, "dGhlIHNhbXBsZSBub25jZQ="s, "dGhlIHNhbXBsZSBub25jZQ"s, "dGhlIHNhbXBsZSBub25jZQ==="s,
        "dGhlIHNhbXBsZSBub25jZR=="s, "dGhlIHNhbXBsZSBub25jZQ= "s, " GhlIHNhbXBsZSBub25jZQ=="s,
        "dGhlIHNhbXBsZSBub25jZ==="s, "dGhlIHNhbXBsZSBub25-ZQ=="s, "dGhlIHNhbXBsZSBub25_ZQ=="s,
        "dGhlIHNhbXBsZSBub25jZ\0=="s, "dGhlIHNhbXBsZSBub25jZQ==\n"s, "dGhlIHNhbXBsZSBub25jZWFi"s,
        "dGhlIHNhbXBsZSBub25jZWE="s, std::string(24, '=')}) {
    EXPECT_FALSE(handshake_key_valid(key)) << key;
  }
}

}  // namespace
}  // namespace tertulia
