#include "protocol/frames.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>
#include <vector>

#include "base/random.h"

namespace tertulia {
namespace {

namespace json = boost::json;

// Takes the one frame that `write` appends apart: a text frame, whole, unmasked, its length in the shortest form.
template <class Write>
std::string payload(Write write) {
  std::string out = "before";
  write(out);
  EXPECT_EQ(out.substr(0, 6), "before") << "a frame is put behind what is there";
  const std::string frame = out.substr(6);
  EXPECT_EQ(static_cast<uint8_t>(frame[0]), 0x81);
  const size_t header = frame_header_bytes(frame);
  uint64_t length = static_cast<uint8_t>(frame[1]);
  if (length >= 126) {
    length = 0;
    for (size_t i = 2; i < header; ++i) length = length << 8 | static_cast<uint8_t>(frame[i]);
    EXPECT_GE(length, header == 4 ? 126u : 65536u);
  }
  EXPECT_EQ(length, frame.size() - header);
  std::string again;
  write(again);
  EXPECT_EQ(again, frame) << "the same arguments give the same bytes";
  std::string text = frame.substr(header);
  json::error_code ec;
  json::parse(text, ec);
  EXPECT_FALSE(ec) << text;
  return text;
}

Row text_row() {
  Row row;
  row.sequence = 42;
  row.message.uuid = "a-1";
  row.message.user_id = "~u";
  row.message.user_name = "Ana";
  row.message.date = "now";
  row.message.sent_at_ms = 1772389800123;
  row.message.text = "Good evening";
  row.message.id_json = "7";
  return row;
}

TEST(Frames, AMessageIsLaidOutAsTheWireSays) {
  Row row = text_row();
  const auto frame = [&] { return payload([&](std::string& out) { append_message(out, "r", row); }); };
  EXPECT_EQ(frame(),
            R"({"jsonrpc":"2.0","method":"textMessage","params":{"userId":"~u","roomName":"r","userName":"Ana",)"
            R"("text":"Good evening","ack":true,"uuid":"a-1","date":"now","sentAt":1772389800123},"id":7,)"
            R"("sequence":42,"_id":"42-AAAAAAAAAAAAAAAA"})");
  row.message.id_json = R"("a\"b")";
  row.chain.bytes.fill(0xFF);
  EXPECT_EQ(frame(),
            R"({"jsonrpc":"2.0","method":"textMessage","params":{"userId":"~u","roomName":"r","userName":"Ana",)"
            R"("text":"Good evening","ack":true,"uuid":"a-1","date":"now","sentAt":1772389800123},"id":"a\"b",)"
            R"("sequence":42,"_id":"42-________________"})");
  row.message.kind = MessageKind::image;
  row.message.id_json = "-1";
  row.message.size_bytes = 68;
  row.message.content_type = "image/png";
  row.message.sha256_hex = "92b2";
  EXPECT_EQ(frame(),
            R"({"jsonrpc":"2.0","method":"imageMessage","params":{"userId":"~u","roomName":"r","userName":"Ana",)"
            R"("base64ImgString":"","ack":true,"uuid":"a-1","date":"now","sentAt":1772389800123,)"
            R"("size":68,"contentType":"image/png","sha256":"92b2"},"id":-1,)"
            R"("sequence":42,"_id":"42-________________"})");
  row.message.kind = MessageKind::file;
  row.message.file_name = "../\"men\xC3\xBA\".pdf";
  EXPECT_EQ(frame(),
            R"({"jsonrpc":"2.0","method":"fileMessage","params":{"userId":"~u","roomName":"r","userName":"Ana",)"
            "\"fileName\":\"../\\\"men\xC3\xBA\\\".pdf\","
            R"("fileContents":"","ack":true,"uuid":"a-1","date":"now","sentAt":1772389800123,)"
            R"("size":68,"contentType":"image/png","sha256":"92b2"},"id":-1,)"
            R"("sequence":42,"_id":"42-________________"})");
}

TEST(Frames, ForeignTextCannotLeaveItsString) {
  Row row = text_row();
  const std::string nasty = R"(","x":{"}]\u0022)"
                            "\x01\x1F\b\f\n\r\t\x7F\xE2\x80\xA8\xF0\x9F\x8D\xB5\\";
  row.message.text = row.message.user_name = row.message.user_id = row.message.date = nasty;
  const json::value read = json::parse(payload([&](std::string& out) { append_message(out, nasty, row); }));
  for (const char* field : {"text", "userName", "userId", "date", "roomName"})
    EXPECT_EQ(read.at("params").at(field).as_string(), nasty) << field;
  EXPECT_EQ(read.at("params").as_object().size(), 8u);
  EXPECT_EQ(read.as_object().size(), 6u);
}

TEST(Frames, OnlyWhatJsonMakesOneEscapeIsEscaped) {
  Row row = text_row();
  row.message.text = "/\"\\\b\f\n\r\t\x01\x1F\x7F<>&\xC3\xA9\xE2\x80\xA8";
  const std::string frame = payload([&](std::string& out) { append_message(out, "r", row); });
  const std::string expected = "\"text\":\"/\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7F<>&\xC3\xA9\xE2\x80\xA8\",\"ack\"";
  EXPECT_NE(frame.find(expected), std::string::npos) << frame;
}

TEST(Frames, WhatWasSentIsWhatIsPushed) {
  SeededRandom random(11);
  const std::vector<std::string> pieces = {"a",
                                           " ",
                                           "\"",
                                           "\\",
                                           "/",
                                           "\n",
                                           "\t",
                                           "\x01",
                                           "\x7F",
                                           "\xC3\xA9",
                                           "\xE6\x97\xA5",
                                           "\xE2\x80\xA9",
                                           "\xF0\x9F\x8D\xB5",
                                           "\xEF\xBF\xBD",
                                           "\\u0041",
                                           "</script>"};
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (uint64_t n = 1 + random.below(40); n > 0; --n) text += pieces[random.below(pieces.size())];
    Row row = text_row();
    row.message.text = text;
    row.message.user_id = "u";
    // A push has all that a classic text needs, so it can be read as one.
    const std::string push = payload([&](std::string& out) { append_message(out, "r", row); });
    const std::variant<Request, Malformed> again = parse_request(Dialect::classic, push);
    ASSERT_TRUE(std::holds_alternative<Request>(again)) << push;
    EXPECT_EQ(std::get<Request>(again).text, text);
    EXPECT_EQ(std::get<Request>(again).id_json, "7");
  }
}

TEST(Frames, HeadersFitTheirLengths) {
  Row row = text_row();
  row.message.text.clear();
  std::string empty;
  append_message(empty, "r", row);
  const size_t base = empty.size() - frame_header_bytes(empty);
  for (size_t bytes : {base, size_t{65535}, size_t{65536}, size_t{300'000}}) {
    row.message.text.assign(bytes - base, 'x');
    std::string frame;
    append_message(frame, "r", row);
    const size_t header = bytes < 65536 ? 4 : 10;
    EXPECT_EQ(frame_header_bytes(frame), header);
    EXPECT_EQ(frame.size(), header + bytes);
    payload([&](std::string& out) { append_message(out, "r", row); });
  }
  std::string small;
  append_ok(small, "7");
  EXPECT_EQ(frame_header_bytes(small), 2u);
}

TEST(Frames, ClassicAnswers) {
  EXPECT_EQ(payload([](std::string& out) { append_classic_ok(out, "7"); }),
            R"({"jsonrpc":"2.0","result":"OK","id":7})");
  EXPECT_EQ(
      payload([](std::string& out) { append_new_user(out, "r\"", "Ana"); }),
      R"({"jsonrpc":"2.0","method":"newUser","params":{"type":"system","text":"Ana has joined the room!","roomName":"r\""}})");
  EXPECT_EQ(
      payload([](std::string& out) {
        append_error(out, Dialect::classic, "\"x\"", Code::name_taken,
                     "There is another user with same name in the room!", {true, 500});
      }),
      R"({"jsonrpc":"2.0","error":{"code":-32001,"message":"There is another user with same name in the room!"},"id":"x"})");
}

TEST(Frames, ErrorsOfV2SayWhetherToTryAgain) {
  EXPECT_EQ(
      payload([](std::string& out) { append_error(out, Dialect::v2, "null", Code::parse_error, "No \"JSON\"."); }),
      R"({"jsonrpc":"2.0","error":{"code":-32700,"message":"No \"JSON\".","data":{"retryable":false}},"id":null})");
  EXPECT_EQ(
      payload([](std::string& out) {
        append_error(out, Dialect::v2, "7", Code::busy, "Busy.", {true, 1500});
      }),
      R"({"jsonrpc":"2.0","error":{"code":-32013,"message":"Busy.","data":{"retryable":true,"retryAfterMs":1500}},"id":7})");
  EXPECT_EQ(payload([](std::string& out) { append_error(out, Dialect::v2, "", Code::busy, "Busy."); }),
            R"({"jsonrpc":"2.0","error":{"code":-32013,"message":"Busy.","data":{"retryable":false}},"id":null})");
}

TEST(Frames, AnswersOfV2) {
  JoinAnswer join;
  join.session_id = "s";
  join.user_id = "~u";
  join.head.sequence = 3;
  join.members_count = 2;
  join.read = 1;
  join.heartbeat_ms = 20000;
  join.message_bytes_max = 65536;
  join.server_version = "0.1.0";
  join.node = "n";
  EXPECT_EQ(
      payload([&](std::string& out) { append_join_answer(out, "7", join); }),
      R"({"jsonrpc":"2.0","result":{"status":"OK","sessionId":"s","userId":"~u","head":"3-AAAAAAAAAAAAAAAA","oldest":1,)"
      R"("members":2,"read":1,"heartbeatMs":20000,"messageBytesMax":65536,"serverVersion":"0.1.0","node":"n"},"id":7})");
  join.user_key = "k";
  EXPECT_NE(payload([&](std::string& out) {
              append_join_answer(out, "7", join);
            }).find(R"("userId":"~u","userKey":"k","head")"),
            std::string::npos);
  EXPECT_EQ(
      payload([](std::string& out) {
        append_text_answer(out, "7", {5, {}}, true);
      }),
      R"({"jsonrpc":"2.0","result":{"status":"OK","_id":"5-AAAAAAAAAAAAAAAA","sequence":5,"repeated":true},"id":7})");
  EXPECT_EQ(payload([](std::string& out) { append_ok(out, "\"p\""); }),
            R"({"jsonrpc":"2.0","result":{"status":"OK"},"id":"p"})");
  EXPECT_EQ(payload([](std::string& out) { append_members_answer(out, "7", {}, 0, std::nullopt); }),
            R"({"jsonrpc":"2.0","result":{"status":"OK","members":[],"total":0,"next":null},"id":7})");
  const std::vector<MemberEntry> members = {{"~a", "Ana", 4}, {"u", "B\"", 0}};
  EXPECT_EQ(payload([&](std::string& out) { append_members_answer(out, "7", members, 9, "b\""); }),
            R"({"jsonrpc":"2.0","result":{"status":"OK","members":[{"userId":"~a","userName":"Ana","read":4},)"
            R"({"userId":"u","userName":"B\"","read":0}],"total":9,"next":"b\""},"id":7})");
  const std::vector<RoomEntry> rooms = {{"r", {1, {}}, 1, 2}, {"\"", {0, {}}, 0, 1}};
  EXPECT_EQ(
      payload([&](std::string& out) { append_rooms_answer(out, "7", rooms); }),
      R"({"jsonrpc":"2.0","result":{"status":"OK","rooms":[{"roomName":"r","head":"1-AAAAAAAAAAAAAAAA","read":1,"members":2},)"
      R"({"roomName":"\"","head":"0-AAAAAAAAAAAAAAAA","read":0,"members":1}]},"id":7})");
}

TEST(Frames, AHistoryAnswerIsMadeOfPushes) {
  std::vector<Row> rows = {text_row(), text_row()};
  rows[1].sequence = 43;
  rows[1].message.kind = MessageKind::file;
  std::string pushes;
  for (const Row& row : rows)
    pushes += (pushes.empty() ? "" : ",") + payload([&](std::string& out) { append_message(out, "r", row); });
  EXPECT_EQ(payload([&](std::string& out) { append_history_answer(out, "7", "r", rows, true); }),
            R"({"jsonrpc":"2.0","result":{"status":"OK","messages":[)" + pushes + R"(],"more":true},"id":7})");
  EXPECT_EQ(payload([&](std::string& out) { append_history_answer(out, "7", "r", {}, false); }),
            R"({"jsonrpc":"2.0","result":{"status":"OK","messages":[],"more":false},"id":7})");
}

TEST(Frames, NotificationsHaveNoId) {
  const struct {
    std::string frame;
    std::string expected;
  } cases[] = {
      {payload([](std::string& out) { append_live(out, "r", 5); }),
       R"({"jsonrpc":"2.0","method":"live","params":{"roomName":"r","sequence":5}})"},
      {payload([](std::string& out) { append_skipped(out, "r", 5, 9); }),
       R"({"jsonrpc":"2.0","method":"skipped","params":{"roomName":"r","after":5,"before":9}})"},
      {payload([](std::string& out) {
         append_reset(out, "r", 1, {9, {}});
       }),
       R"({"jsonrpc":"2.0","method":"reset","params":{"roomName":"r","oldest":1,"head":"9-AAAAAAAAAAAAAAAA"}})"},
      {payload([](std::string& out) { append_user_joined(out, "r", "~u", "Ana"); }),
       R"({"jsonrpc":"2.0","method":"userJoined","params":{"roomName":"r","userId":"~u","userName":"Ana"}})"},
      {payload([](std::string& out) { append_user_left(out, "r", "~u", "Ana"); }),
       R"({"jsonrpc":"2.0","method":"userLeft","params":{"roomName":"r","userId":"~u","userName":"Ana"}})"},
      {payload([](std::string& out) { append_typing(out, "r", "~u", "Ana"); }),
       R"({"jsonrpc":"2.0","method":"typing","params":{"roomName":"r","userId":"~u","userName":"Ana"}})"},
      {payload([](std::string& out) { append_read(out, "r", "~u", 4); }),
       R"({"jsonrpc":"2.0","method":"read","params":{"roomName":"r","userId":"~u","sequence":4}})"},
      {payload([](std::string& out) { append_members_changed(out, "r", 7); }),
       R"({"jsonrpc":"2.0","method":"membersChanged","params":{"roomName":"r","members":7}})"},
      {payload([](std::string& out) { append_heartbeat(out); }),
       R"({"jsonrpc":"2.0","method":"heartbeat","params":{}})"},
      {payload([](std::string& out) { append_reconnect(out, 100, 2000, "drain"); }),
       R"({"jsonrpc":"2.0","method":"reconnect","params":{"afterMs":100,"deadlineMs":2000,"reason":"drain"}})"},
  };
  for (const auto& c : cases) EXPECT_EQ(c.frame, c.expected);
}

}  // namespace
}  // namespace tertulia
