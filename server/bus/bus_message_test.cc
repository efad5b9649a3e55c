#include "bus/bus_message.h"

#include <gtest/gtest.h>

#include "protocol/frames.h"

namespace tertulia {
namespace {

LogPiece::Entry entry(Sequence sequence, size_t text_bytes = 5) {
  Row row;
  row.sequence = sequence;
  row.previous.bytes.fill(static_cast<uint8_t>(sequence - 1));
  row.chain.bytes.fill(static_cast<uint8_t>(sequence));
  row.message.uuid = "uuid-" + std::to_string(sequence);
  row.message.user_id = "ana";
  row.message.user_name = "Ana";
  row.message.text = std::string(text_bytes, 'x');
  row.message.id_json = "1";
  LogPiece::Entry made{row.sequence, row.previous, row.chain, row.message.uuid, row.message.user_id, {}, {}};
  made.body.fill(static_cast<uint8_t>(sequence + 100));
  append_message(made.frame, "plaza", row);
  return made;
}

BusItem piece_of(std::vector<LogPiece::Entry> entries) {
  return {"plaza", std::make_shared<const LogPiece>(LogPiece{std::move(entries)})};
}

void expect_same(const LogPiece::Entry& a, const LogPiece::Entry& b) {
  EXPECT_EQ(a.sequence, b.sequence);
  EXPECT_EQ(a.previous, b.previous);
  EXPECT_EQ(a.chain, b.chain);
  EXPECT_EQ(a.uuid, b.uuid);
  EXPECT_EQ(a.user_id, b.user_id);
  EXPECT_EQ(a.body, b.body);
  EXPECT_EQ(a.frame, b.frame);
}

std::string the_message(const BusItem& item) {
  Encoded encoded = encode_item(item, 1 << 20);
  EXPECT_EQ(encoded.messages.size(), 1u);
  EXPECT_EQ(encoded.left_out, 0u);
  return encoded.messages.at(0);
}

std::shared_ptr<const LogPiece> piece_in(std::string_view message) {
  const std::optional<RoomNews> news = decode_room_news(message);
  EXPECT_TRUE(news);
  return news ? std::get<std::shared_ptr<const LogPiece>>(*news) : nullptr;
}

TEST(BusMessage, APieceComesBackAsItWasSent) {
  for (const size_t bytes : {0, 5, 125, 126, 3'000, 70'000}) {
    const BusItem item = piece_of({entry(7, bytes), entry(8), entry(10, bytes)});
    const auto read = piece_in(the_message(item));
    ASSERT_TRUE(read && read->entries.size() == 3) << bytes;
    const auto& sent = *std::get<std::shared_ptr<const LogPiece>>(item.what);
    for (size_t i = 0; i < 3; ++i) expect_same(read->entries[i], sent.entries[i]);
  }
}

TEST(BusMessage, SignalsHeadsAndHeartbeatsComeBackAsTheyWereSent) {
  const Signal signal{Signal::Kind::read, "ana", "Ana María", 41, 12, true};
  const auto news = decode_room_news(the_message({"plaza", signal}));
  ASSERT_TRUE(news);
  const auto& read = std::get<Signal>(*news);
  EXPECT_EQ(read.kind, signal.kind);
  EXPECT_EQ(read.user_id, signal.user_id);
  EXPECT_EQ(read.user_name, signal.user_name);
  EXPECT_EQ(read.sequence, signal.sequence);
  EXPECT_EQ(read.members_count, signal.members_count);
  EXPECT_EQ(read.came_back, signal.came_back);
  const Position head{sequence_max, chain_start("plaza")};
  const auto told = decode_room_news(the_message({"plaza", head}));
  ASSERT_TRUE(told);
  EXPECT_EQ(std::get<Position>(*told), head);
  const auto heartbeat = decode_heartbeat(encode_heartbeat("AbC_-09"));
  ASSERT_TRUE(heartbeat);
  EXPECT_EQ(heartbeat->node, "AbC_-09");
}

TEST(BusMessage, APieceTooLargeForOneMessageIsSplitByItsEntries) {
  std::vector<LogPiece::Entry> entries;
  for (Sequence i = 1; i <= 20; ++i) entries.push_back(entry(i, i == 13 ? 5'000 : 200));
  const Encoded encoded = encode_item(piece_of(entries), 2'000);
  EXPECT_EQ(encoded.left_out, 1u);
  EXPECT_GT(encoded.messages.size(), 3u);
  std::vector<Sequence> read;
  for (const std::string& message : encoded.messages) {
    EXPECT_LE(message.size(), 2'000u);
    const auto piece = piece_in(message);
    ASSERT_TRUE(piece);
    for (const auto& each : piece->entries) {
      expect_same(each, entries[each.sequence - 1]);
      read.push_back(each.sequence);
    }
  }
  std::vector<Sequence> all;
  for (Sequence i = 1; i <= 20; ++i) {
    if (i != 13) all.push_back(i);
  }
  EXPECT_EQ(read, all);
}

TEST(BusMessage, AnotherVersionOrKindIsNotUnderstood) {
  for (const std::string& good :
       {the_message(piece_of({entry(1)})), the_message({"plaza", Signal{}}), the_message({"plaza", Position{}})}) {
    EXPECT_TRUE(decode_room_news(good));
    EXPECT_FALSE(decode_heartbeat(good));
    for (int byte = 0; byte < 256; ++byte) {
      std::string other = good;
      other[0] = static_cast<char>(byte);
      EXPECT_EQ(decode_room_news(other).has_value(), byte == bus_message_version);
    }
    std::string kind = good;
    for (const char other : {'\0', '\x04', '\x05', '\xff'}) {
      kind[1] = other;
      EXPECT_FALSE(decode_room_news(kind));
    }
  }
  EXPECT_FALSE(decode_room_news(encode_heartbeat("a")));
}

TEST(BusMessage, WhatIsCutShortOrGoesOnIsNotUnderstood) {
  for (const std::string& good : {the_message(piece_of({entry(1), entry(2, 200)})), the_message({"plaza", Signal{}}),
                                  the_message({"plaza", Position{}}), encode_heartbeat("node")}) {
    const auto understood = [](const std::string& bytes) {
      // From memory of exactly that size, so that a sanitizer sees whoever reads on.
      const std::vector<char> exact(bytes.begin(), bytes.end());
      const std::string_view view(exact.data(), exact.size());
      return decode_room_news(view).has_value() || decode_heartbeat(view).has_value();
    };
    EXPECT_TRUE(understood(good));
    for (size_t bytes = 0; bytes < good.size(); ++bytes) EXPECT_FALSE(understood(good.substr(0, bytes))) << bytes;
    EXPECT_FALSE(understood(good + '\0'));
  }
}

TEST(BusMessage, WhatNoServerWouldSendIsNotUnderstood) {
  const auto refused = [](auto change) {
    LogPiece::Entry first = entry(5), second = entry(6);
    change(first, second);
    return !decode_room_news(the_message(piece_of({first, second}))).has_value();
  };
  using E = LogPiece::Entry;
  EXPECT_FALSE(refused([](E&, E&) {}));
  EXPECT_TRUE(refused([](E& a, E&) { a.sequence = 0; }));
  EXPECT_TRUE(refused([](E& a, E&) { a.sequence = 6; })) << "not ascending";
  EXPECT_TRUE(refused([](E&, E& b) { b.sequence = sequence_max + 1; }));
  EXPECT_TRUE(refused([](E& a, E&) { a.uuid = ""; }));
  EXPECT_TRUE(refused([](E& a, E&) { a.uuid = "a b"; }));
  EXPECT_TRUE(refused([](E& a, E&) { a.uuid = std::string(65, 'u'); }));
  EXPECT_TRUE(refused([](E& a, E&) { a.user_id = ""; }));
  EXPECT_TRUE(refused([](E& a, E&) { a.user_id = std::string(129, 'u'); }));
  EXPECT_TRUE(refused([](E& a, E&) { a.user_id = "\xff"; }));
  EXPECT_TRUE(refused([](E& a, E&) { a.user_id = std::string(1, '\0'); }));
  EXPECT_TRUE(refused([](E& a, E&) { a.frame = ""; }));
  EXPECT_TRUE(refused([](E& a, E&) { a.frame += "x"; })) << "longer than its header says";
  EXPECT_TRUE(refused([](E& a, E&) { a.frame += a.frame; })) << "two frames";
  EXPECT_TRUE(refused([](E& a, E&) { a.frame[0] = '\x82'; })) << "binary";
  EXPECT_TRUE(refused([](E& a, E&) { a.frame = std::string("\x88\x02\x03\xe8", 4); })) << "close";
  EXPECT_TRUE(refused([](E& a, E&) { a.frame = "\x81\x81maskx"; })) << "masked";
  EXPECT_TRUE(refused([](E& a, E&) { a.frame = "\x81\x01\xff"; })) << "no UTF-8";
  EXPECT_TRUE(refused([](E& a, E&) { a.frame = std::string("\x81\x7e\x00\x01x", 5); })) << "length not the shortest";

  const auto signal_refused = [](Signal signal) {
    return !decode_room_news(the_message({"plaza", std::move(signal)})).has_value();
  };
  EXPECT_FALSE(signal_refused({Signal::Kind::returned, "", "", 0, 0, false}));
  EXPECT_TRUE(signal_refused({static_cast<Signal::Kind>(5), "", "", 0, 0, false}));
  EXPECT_TRUE(signal_refused({Signal::Kind::joined, std::string(129, 'u'), "", 0, 0, false}));
  EXPECT_TRUE(signal_refused({Signal::Kind::joined, "u", std::string(257, 'n'), 0, 0, false}));
  EXPECT_TRUE(signal_refused({Signal::Kind::joined, "u", "\xc3", 0, 0, false}));
  EXPECT_TRUE(signal_refused({Signal::Kind::read, "u", "n", sequence_max + 1, 0, false}));
  EXPECT_TRUE(signal_refused({Signal::Kind::joined, "u", "n", 0, sequence_max + 1, false}));
  for (const std::string& node : {std::string(), std::string(65, 'n'), std::string("a b"), std::string("\xff")}) {
    EXPECT_FALSE(decode_heartbeat(encode_heartbeat(node)));
  }
}

TEST(BusMessage, ASubjectDoesNotTellTheRoomsName) {
  const std::string subject = room_subject("plaza * >.\r\n");
  EXPECT_EQ(subject.size(), 5u + 24u);
  EXPECT_TRUE(subject.starts_with("room."));
  EXPECT_EQ(subject.find_first_not_of("0123456789abcdef", 5), std::string::npos);
  EXPECT_NE(subject, room_subject("plaza"));
}

}  // namespace
}  // namespace tertulia
