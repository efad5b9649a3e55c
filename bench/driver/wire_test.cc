#include "driver/wire.h"

#include <gtest/gtest.h>

#include <string>
#include <variant>

#include "protocol/frames.h"
#include "protocol/request.h"
#include "protocol/websocket.h"

namespace tertulia::bench {
namespace {

// A message of the driver as the server's own encoder sends it, without the frame's head.
std::string as_the_server_sends(uint32_t room, uint64_t index, uint64_t sequence, const std::string& text) {
  Row row;
  row.sequence = sequence;
  row.message.user_id = "~" + std::string(22, 'u');
  row.message.user_name = member_name(7);
  row.message.uuid = "r-1";
  row.message.text = text;
  row.message.sent_at_ms = 1'700'000'000'000;
  row.message.id_json = std::to_string(index);
  std::string frame;
  append_message(frame, room_name(room), row);
  return frame.substr(frame_header_bytes(frame));
}

TEST(Wire, WhatTheServerSendsIsReadWithoutParsing) {
  const std::string payload = as_the_server_sends(42, 1234567, 987654321, text_of(1234567, 200));
  ASSERT_EQ(kind_of(payload), FrameKind::message);
  const auto read = read_push(payload);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->room, 42u);
  EXPECT_EQ(read->index, 1234567u);
  EXPECT_EQ(read->sequence, 987654321u);
  EXPECT_TRUE(push_is_whole(payload, 200));
}

TEST(Wire, ADamagedMessageIsNotWhole) {
  const std::string payload = as_the_server_sends(42, 17, 5, text_of(17, 200));
  EXPECT_FALSE(push_is_whole(payload, 201));
  for (const char* part : {"answered", R"("ack":true)", R"("sequence":5)"}) {
    std::string damaged = payload;
    damaged[damaged.find(part) + std::string_view(part).size() - 1] = '6';
    EXPECT_FALSE(push_is_whole(damaged, 200)) << part;
  }
  EXPECT_FALSE(read_push(payload.substr(0, payload.size() - 1)));
  EXPECT_FALSE(read_push(payload.substr(0, 100)));
}

TEST(Wire, TheBareLoopIsGivenTheSameBytesButForTheirContent) {
  const std::string text = text_of(17, 200);
  Row row;
  row.sequence = 5;
  row.message = {};
  const std::string theirs = push(42, 17, "r", text, 5, 1'700'000'000'000);
  const auto read = read_push(theirs);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->index, 17u);
  EXPECT_TRUE(push_is_whole(theirs, 200));
  // The server's of the same message, but for its uuid and date.
  const std::string ours = as_the_server_sends(42, 17, 5, text);
  const size_t uuid = std::string("r-0000000017").size() - std::string("r-1").size();
  EXPECT_EQ(theirs.size(), ours.size() + uuid + std::string("2020-01-01T00:00:00.000Z").size());
}

TEST(Wire, OtherFramesAreTold) {
  std::string live, answer, failure, heartbeat;
  append_live(live, room_name(1), 77);
  append_text_answer(answer, "1", {}, false);
  append_error(failure, Dialect::v2, "1", Code::not_a_member, "no");
  append_heartbeat(heartbeat);
  const auto kind = [](const std::string& frame) {
    return kind_of(std::string_view(frame).substr(frame_header_bytes(frame)));
  };
  EXPECT_EQ(kind(live), FrameKind::live);
  EXPECT_EQ(find_sequence(live), 77u);
  EXPECT_EQ(kind(answer), FrameKind::answer);
  EXPECT_EQ(kind(failure), FrameKind::failure);
  EXPECT_EQ(kind(heartbeat), FrameKind::other);
}

// Keeps the last message a reader has found.
struct Found : WebSocketReader::Handler {
  std::string payload;
  bool on_message(Opcode, std::string_view whole) override {
    payload = whole;
    return true;
  }
  bool on_too_large(uint64_t) override { return true; }
  bool on_ping(std::string_view) override { return true; }
  bool on_pong(std::string_view) override { return true; }
  bool on_empty_frame() override { return true; }
  void on_close(CloseCode, std::string_view) override {}
};

TEST(Wire, TheServerUnderstandsWhatTheDriverSends) {
  for (const size_t bytes : {12, 200, 60'000}) {
    std::string frame;
    append_client_frame(frame, 1, text_request(3, 17, "r", text_of(17, bytes)), 0xA1B2C3D4);
    const WebSocketLimits limits;
    WebSocketReader reader(limits);
    Found found;
    EXPECT_EQ(reader.feed(frame.data(), frame.size(), found).status, WebSocketReader::Status::more);
    const auto request = parse_request(Dialect::v2, found.payload);
    ASSERT_TRUE(std::holds_alternative<Request>(request)) << bytes;
    EXPECT_EQ(std::get<Request>(request).room_name, "bench-00003");
    EXPECT_EQ(std::get<Request>(request).text, text_of(17, bytes));
  }
  EXPECT_TRUE(std::holds_alternative<Request>(parse_request(Dialect::v2, join_request(3, 17))));
}

TEST(Wire, HeadsOfEveryLengthAreRead) {
  for (const size_t bytes : {0, 125, 126, 65'535, 65'536}) {
    std::string frame;
    append_frame(frame, Opcode::text, std::string(bytes, 'x'));
    bool valid = false;
    const auto head = read_head(frame.data(), frame.size(), valid);
    ASSERT_TRUE(head && valid);
    EXPECT_EQ(head->payload_bytes, bytes);
    EXPECT_EQ(head->header_bytes + bytes, frame.size());
    EXPECT_FALSE(read_head(frame.data(), 1, valid));
  }
  bool valid = true;
  std::string masked;
  append_client_frame(masked, 1, "x", 1);
  read_head(masked.data(), masked.size(), valid);
  EXPECT_FALSE(valid);
}

}  // namespace
}  // namespace tertulia::bench
