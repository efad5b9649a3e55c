#include "protocol/request.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tertulia {
namespace {

struct Case {
  const char* what;
  std::string frame;
  int code;             // 0: accepted
  std::string id_json;  // of the request or of the error
};

void expect(Dialect dialect, const Case& c) {
  SCOPED_TRACE(std::string(c.what) + (dialect == Dialect::v2 ? " (v2)" : " (classic)"));
  const std::variant<Request, Malformed> parsed = parse_request(dialect, c.frame);
  if (const auto* malformed = std::get_if<Malformed>(&parsed)) {
    EXPECT_EQ(static_cast<int>(malformed->code), c.code) << malformed->message;
    EXPECT_EQ(malformed->id_json, c.id_json) << malformed->message;
    EXPECT_FALSE(malformed->message.empty());
  } else {
    EXPECT_EQ(0, c.code) << "was accepted";
    EXPECT_EQ(std::get<Request>(parsed).id_json, c.id_json);
  }
}

Request accepted(Dialect dialect, const std::string& frame) {
  std::variant<Request, Malformed> parsed = parse_request(dialect, frame);
  if (const auto* malformed = std::get_if<Malformed>(&parsed)) {
    ADD_FAILURE() << frame << ": " << malformed->message;
    return {};
  }
  return std::get<Request>(std::move(parsed));
}

// A request with id 7.
std::string request(const std::string& method, const std::string& params) {
  return R"({"jsonrpc":"2.0","method":")" + method + R"(","params":{)" + params + R"(},"id":7})";
}
std::string ping(const std::string& id_json) {
  return R"({"jsonrpc":"2.0","method":"ping","id":)" + id_json + "}";
}

const std::string chain = "AAAAAAAAAAAAAAAA";
const std::string key = "R2VyYXJkIG1hbnMgdGhlIHByZXNzIGF0IG1pZG5pZ2g";
const std::string classic_user = R"("userId":"u1","userName":"Ana","roomName":"r")";
const std::string classic_text = classic_user + R"(,"text":"hi","ack":false,"uuid":"a-1","date":"now")";
const std::string v2_text = R"("roomName":"r","text":"hi","uuid":"a-1","date":"now")";
const std::string v2_join = R"("roomName":"r","userName":"Ana")";

// --- what is no JSON, and what is no request: the same in both dialects ---

TEST(Request, WhatIsNoJsonIsAParseErrorWithoutAnId) {
  const std::string deep_ok = std::string(30, '[') + std::string(30, ']');
  const std::string deep_bad = std::string(31, '[') + std::string(31, ']');
  const Case cases[] = {
      {"empty", "", -32700, "null"},
      {"white space", " \n ", -32700, "null"},
      {"a word", "hello", -32700, "null"},
      {"cut off", R"({"jsonrpc":"2.0","method":"ping","id":7)", -32700, "null"},
      {"trailing bytes", ping("7") + "x", -32700, "null"},
      {"two requests", ping("7") + ping("8"), -32700, "null"},
      {"trailing comma", R"({"jsonrpc":"2.0","method":"ping","id":7,})", -32700, "null"},
      {"comment", ping("7") + "/* */", -32700, "null"},
      {"single quotes", R"({'jsonrpc':'2.0','method':'ping','id':7})", -32700, "null"},
      {"byte order mark", "\xEF\xBB\xBF" + ping("7"), -32700, "null"},
      {"raw NUL behind", ping("7") + std::string(1, '\0'), -32700, "null"},
      {"raw NUL in a string", ping(std::string("\"a\0b\"", 5)), -32700, "null"},
      {"escaped NUL in a string", ping(R"("a\u0000b")"), -32700, "null"},
      {"escaped NUL in a key", request("ping", R"("a\u0000b":1)"), -32700, "null"},
      {"escaped NUL in a param that nobody reads", request("ping", R"("x":["\u0000"])"), -32700, "null"},
      {"raw new line in a string", ping("\"a\nb\""), -32700, "null"},
      {"lone high surrogate escape", request("ping", R"("x":"\ud83c")"), -32700, "null"},
      {"lone low surrogate escape", request("ping", R"("x":"\udf75")"), -32700, "null"},
      {"surrogates the wrong way round", request("ping", R"("x":"\udf75\ud83c")"), -32700, "null"},
      {"high surrogate before a letter", request("ping", R"("x":"\ud83cA")"), -32700, "null"},
      {"high surrogate before another escape", request("ping", R"("x":"\ud83c\u0041")"), -32700, "null"},
      {"surrogate pair", request("ping", R"("x":"\ud83c\udf75")"), 0, "7"},
      {"invalid UTF-8 in a string", request("ping", "\"x\":\"\xFF\""), -32700, "null"},
      {"overlong UTF-8", request("ping", "\"x\":\"\xC0\xAF\""), -32700, "null"},
      {"surrogate in UTF-8", request("ping", "\"x\":\"\xED\xA0\xBC\""), -32700, "null"},
      {"cut UTF-8 in a key", request("ping", "\"\xE2\x82\":1"), -32700, "null"},
      {"unknown escape", request("ping", R"("x":"\x41")"), -32700, "null"},
      {"short escape", request("ping", R"("x":"\u41")"), -32700, "null"},
      {"two ids", R"({"jsonrpc":"2.0","method":"ping","id":7,"id":7})", -32700, "null"},
      {"two methods", R"({"jsonrpc":"2.0","method":"ping","method":"rooms","id":7})", -32700, "null"},
      {"one key in two spellings", R"({"jsonrpc":"2.0","method":"ping","\u006dethod":"rooms","id":7})", -32700, "null"},
      {"two room names", request("typing", R"("roomName":"a","roomName":"b")"), -32700, "null"},
      {"a repeated key in a param that nobody reads", request("ping", R"("x":{"y":[{"a":1,"b":2,"a":3}]})"), -32700,
       "null"},
      {"a repeated empty key", request("ping", R"("":1,"":2)"), -32700, "null"},
      {"the same key in different objects", request("ping", R"("x":{"a":1},"y":{"a":1,"x":{"a":1}})"), 0, "7"},
      {"32 deep", request("ping", "\"x\":" + deep_ok), 0, "7"},
      {"33 deep", request("ping", "\"x\":" + deep_bad), -32700, "null"},
      {"a million deep", std::string(1'000'000, '['), -32700, "null"},
      {"a number beyond every double", request("ping", R"("x":1e400)"), -32700, "null"},
      {"a negative one", request("ping", R"("x":-1e400)"), -32700, "null"},
      {"an exponent beyond every integer", request("ping", R"("x":1e99999999999999999999)"), -32700, "null"},
      {"a huge number as id", ping("1e400"), -32700, "null"},
      {"NaN", ping("NaN"), -32700, "null"},
      {"Infinity", ping("Infinity"), -32700, "null"},
      {"leading zero", ping("07"), -32700, "null"},
      {"plus", ping("+7"), -32700, "null"},
      {"hexadecimal", ping("0x7"), -32700, "null"},
  };
  for (const Case& c : cases) {
    expect(Dialect::v2, c);
    // Classic has no ping; what matters here is read before the method.
    if (c.code != 0) expect(Dialect::classic, c);
  }
}

TEST(Request, TheWrongShapeIsAnInvalidRequest) {
  const std::string long_id(64, 'x');
  std::string tea_id;
  for (int i = 0; i < 64; ++i) tea_id += "\xF0\x9F\x8D\xB5";
  const std::string text = R"({"jsonrpc":"2.0","method":"textMessage","params":{)";
  const Case cases[] = {
      {"batch", "[" + ping("7") + "]", -32600, "null"},
      {"empty batch", "[]", -32600, "null"},
      {"string", "\"ping\"", -32600, "null"},
      {"number", "7", -32600, "null"},
      {"null", "null", -32600, "null"},
      {"empty object", "{}", -32600, "null"},
      {"no jsonrpc", R"({"method":"ping","id":7})", -32600, "7"},
      {"jsonrpc 1.0", R"({"jsonrpc":"1.0","method":"ping","id":7})", -32600, "7"},
      {"jsonrpc as a number", R"({"jsonrpc":2.0,"method":"ping","id":7})", -32600, "7"},
      {"no method", R"({"jsonrpc":"2.0","id":7})", -32600, "7"},
      {"a response", R"({"jsonrpc":"2.0","result":"OK","id":7})", -32600, "7"},
      {"method as a number", R"({"jsonrpc":"2.0","method":1,"id":7})", -32600, "7"},
      {"method as an object", R"({"jsonrpc":"2.0","method":{"$gt":""},"id":7})", -32600, "7"},
      {"no id", R"({"jsonrpc":"2.0","method":"ping"})", -32600, "null"},
      {"no id on a text", text + classic_text + "}}", -32600, "null"},
      {"no id and an unknown method", R"({"jsonrpc":"2.0","method":"dance"})", -32600, "null"},
      {"id null", ping("null"), -32600, "null"},
      {"id object", ping(R"({"a":1})"), -32600, "null"},
      {"id array", ping("[7]"), -32600, "null"},
      {"id boolean", ping("true"), -32600, "null"},
      {"id fraction", ping("1.5"), -32600, "null"},
      {"id 7.0 is not spelled as an integer", ping("7.0"), -32600, "null"},
      {"id 7e0 is not spelled as an integer", ping("7e0"), -32600, "null"},
      {"id 1E3 is not spelled as an integer", ping("1E3"), -32600, "null"},
      {"id 2^53 + 1", ping("9007199254740993"), -32600, "null"},
      {"id -2^53 - 1", ping("-9007199254740993"), -32600, "null"},
      {"id 2^64", ping("18446744073709551616"), -32600, "null"},
      {"id of 300 digits", ping(std::string(300, '9')), -32600, "null"},
      {"id of 65 characters", ping("\"" + long_id + "x\""), -32600, "null"},
      {"wrong id and wrong version", R"({"jsonrpc":"1.0","method":"ping","id":[]})", -32600, "null"},
  };
  for (const Case& c : cases) {
    expect(Dialect::v2, c);
    expect(Dialect::classic, c);
  }
  const Case good[] = {
      {"id 0", ping("0"), 0, "0"},
      {"id -0", ping("-0"), 0, "-0"},
      {"id negative", ping("-7"), 0, "-7"},
      {"id 2^53", ping("9007199254740992"), 0, "9007199254740992"},
      {"id -2^53", ping("-9007199254740992"), 0, "-9007199254740992"},
      {"id empty string", ping(R"("")"), 0, R"("")"},
      {"id string", ping(R"("a")"), 0, R"("a")"},
      {"id string that looks like a number", ping(R"("7")"), 0, R"("7")"},
      {"id of 64 characters", ping("\"" + long_id + "\""), 0, "\"" + long_id + "\""},
      {"id of 64 characters of four bytes", ping("\"" + tea_id + "\""), 0, "\"" + tea_id + "\""},
      {"id with escapes means the same string", ping(R"("\u0061\/\"\n\u0001")"), 0, R"("a/\"\n\u0001")"},
      {"members in any order, with white space",
       " {\t\"id\" : 7 ,\r\n\"params\":{ }, \"method\":\"ping\",\"jsonrpc\":\"2.0\" } ", 0, "7"},
      {"escaped keys and values", R"({"\u006asonrpc":"2\u002e0","method":"p\u0069ng","id":7})", 0, "7"},
      {"extra members", R"({"jsonrpc":"2.0","method":"ping","id":7,"extra":{"id":8,"method":"x"},"__proto__":null})", 0,
       "7"},
  };
  for (const Case& c : good) expect(Dialect::v2, c);
}

TEST(Request, AMethodOfTheOtherDialectDoesNotExist) {
  for (const char* method : {"reconnect", "authenticate", "dance", "", "JOINROOM", "textmessage", "ping ", "newUser",
                             "__proto__", "imageMessage"})
    expect(Dialect::v2, {method, request(method, v2_text), -32601, "7"});
  for (const char* method : {"leaveRoom", "history", "members", "rooms", "read", "typing", "ping", "authenticate",
                             "dance", "", "imageMessage"})
    expect(Dialect::classic, {method, request(method, classic_text), -32601, "7"});
  // The method is judged before the params.
  expect(Dialect::v2,
         {"params of the wrong type", R"({"jsonrpc":"2.0","method":"dance","params":7,"id":7})", -32601, "7"});
}

TEST(Request, ClassicMethodsAreComparedWithoutRegardToCase) {
  for (const char* method : {"joinRoom", "joinroom", "JOINROOM", "JoinRoom"})
    EXPECT_EQ(accepted(Dialect::classic, request(method, classic_user)).method, Method::join_room);
  for (const char* method : {"reconnect", "RECONNECT"})
    EXPECT_EQ(accepted(Dialect::classic, request(method, classic_user)).method, Method::reconnect);
  for (const char* method : {"textMessage", "textmessage", "TEXTMESSAGE"})
    EXPECT_EQ(accepted(Dialect::classic, request(method, classic_text)).method, Method::text_message);
}

TEST(Request, ParamsOfAWrongTypeAreInvalid) {
  for (const char* params : {"null", "7", "\"x\"", "true", "[]", "[{}]", R"([{"roomName":"r"}])"}) {
    const auto frame = [&](const char* method) {
      return std::string(R"({"jsonrpc":"2.0","id":7,"method":")") + method + R"(","params":)" + params + "}";
    };
    for (const char* method : {"joinRoom", "textMessage"}) {
      expect(Dialect::v2, {params, frame(method), -32602, "7"});
      expect(Dialect::classic, {params, frame(method), -32602, "7"});
    }
    expect(Dialect::v2, {params, frame("ping"), -32602, "7"});
  }
  const std::string without = R"({"jsonrpc":"2.0","id":7,"method":")";
  expect(Dialect::v2, {"none, where none are needed", without + "ping\"}", 0, "7"});
  expect(Dialect::v2, {"none, where some are needed", without + "typing\"}", -32602, "7"});
  expect(Dialect::classic, {"none, where some are needed", without + "joinRoom\"}", -32602, "7"});
  expect(Dialect::classic, {"none: no room was ever joined", without + "reconnect\"}", -32003, "7"});
}

// --- params: one case a rule ---

std::string without(const std::string& params, const std::string& name) {
  const size_t begin = params.find("\"" + name + "\":");
  if (begin == std::string::npos) ADD_FAILURE() << name;
  const size_t comma = params.find(",\"", begin + 1);
  if (comma == std::string::npos) return params.substr(0, begin == 0 ? 0 : begin - 1);
  return params.substr(0, begin) + params.substr(comma + 1);
}
std::string with(const std::string& params, const std::string& name, const std::string& value_json) {
  const std::string rest = params.find("\"" + name + "\":") == std::string::npos ? params : without(params, name);
  return rest + (rest.empty() ? "" : ",") + "\"" + name + "\":" + value_json;
}

TEST(Request, AnObjectWhereAStringIsDueNeverGetsThrough) {
  for (const char* const raw_value : {R"({"$gt":""})", R"({"$ne":null})", "[]", R"(["r"])", "7", "true", "null"}) {
    const std::string value = raw_value;
    for (const char* field : {"roomName", "userName"})
      expect(Dialect::v2, {field, request("joinRoom", with(v2_join, field, value)), -32602, "7"});
    if (value != "null")
      for (const char* field : {"userKey", "lastMessageId"})
        expect(Dialect::v2, {field, request("joinRoom", with(v2_join, field, value)), -32602, "7"});
    for (const char* field : {"roomName", "text", "uuid", "date"})
      expect(Dialect::v2, {field, request("textMessage", with(v2_text, field, value)), -32602, "7"});
    for (const char* field : {"roomName", "userId", "userName"})
      expect(Dialect::classic, {field, request("joinRoom", with(classic_user, field, value)), -32602, "7"});
    for (const char* field : {"roomName", "userId", "text", "uuid", "date"})
      expect(Dialect::classic, {field, request("textMessage", with(classic_text, field, value)), -32602, "7"});
    if (value != "null") {
      expect(Dialect::classic,
             {"userName", request("textMessage", with(classic_text, "userName", value)), -32602, "7"});
      expect(Dialect::v2, {"after", request("members", with(R"("roomName":"r")", "after", value)), -32602, "7"});
      for (const char* field : {"roomName", "userId", "userName"})
        expect(Dialect::classic, {field, request("reconnect", with(classic_user, field, value)), -32602, "7"});
    }
    for (const char* method : {"leaveRoom", "history", "members", "read", "typing"})
      expect(Dialect::v2, {method, request(method, with(R"("sequence":1)", "roomName", value)), -32602, "7"});
  }
}

TEST(Request, WhatIsMissingIsMissed) {
  for (const char* field : {"roomName", "userName"})
    expect(Dialect::v2, {field, request("joinRoom", without(v2_join, field)), -32602, "7"});
  for (const char* field : {"roomName", "text", "uuid"})
    expect(Dialect::v2, {field, request("textMessage", without(v2_text, field)), -32602, "7"});
  for (const char* field : {"roomName", "userName", "userId"})
    expect(Dialect::classic, {field, request("joinRoom", without(classic_user, field)), -32602, "7"});
  for (const char* field : {"roomName", "userId", "text", "uuid"})
    expect(Dialect::classic, {field, request("textMessage", without(classic_text, field)), -32602, "7"});
  for (const char* method : {"leaveRoom", "history", "members", "read", "typing"})
    expect(Dialect::v2, {method, request(method, R"("sequence":1)"), -32602, "7"});
  expect(Dialect::v2, {"sequence", request("read", R"("roomName":"r")"), -32602, "7"});
}

TEST(Request, TextsInBothDialects) {
  const struct {
    const char* what;
    const char* field;
    std::string value;
    int code;
  } cases[] = {
      {"empty text", "text", R"("")", -32602},
      {"a space is a text", "text", R"(" ")", 0},
      {"date of 64 bytes", "date", "\"" + std::string(64, 'd') + "\"", 0},
      {"date of 65 bytes", "date", "\"" + std::string(65, 'd') + "\"", -32602},
      {"date of 22 characters in 66 bytes", "date",
       "\"\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5"
       "\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5"
       "\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\"",
       -32602},
      {"empty date", "date", R"("")", 0},
      {"uuid of 1", "uuid", R"("a")", 0},
      {"uuid of 64", "uuid", "\"" + std::string(64, 'Z') + "\"", 0},
      {"uuid of 65", "uuid", "\"" + std::string(65, 'Z') + "\"", -32602},
      {"empty uuid", "uuid", R"("")", -32602},
      {"uuid with every kind of character", "uuid", R"("azAZ09_-")", 0},
      {"uuid with a dot", "uuid", R"("a.b")", -32602},
      {"uuid with a dollar", "uuid", R"("$gt")", -32602},
      {"uuid with a slash", "uuid", R"("../a")", -32602},
      {"uuid with a letter beyond ASCII", "uuid", "\"\xC3\xA9\"", -32602},
      {"uuid in braces", "uuid", R"("{0b8a3c52-7f0e-4f43-9a61-8a1d0c7f6a10}")", -32602},
      {"empty room", "roomName", R"("")", -32602},
      {"room of 64", "roomName", "\"" + std::string(64, 'r') + "\"", 0},
      {"room of 65", "roomName", "\"" + std::string(65, 'r') + "\"", -32602},
      {"room with a tab", "roomName", R"("a\tb")", -32602},
      {"room with a bidi override", "roomName", R"("a\u202eb")", -32602},
      {"room like a path", "roomName", R"("../../etc/passwd")", 0},
      {"room like a subject", "roomName", R"("*.>")", 0},
      {"an unknown param", "extra", R"({"$gt":"","a":[1,2,{"b":null}]})", 0},
      {"__proto__", "__proto__", R"({"text":"other","roomName":7})", 0},
      {"constructor", "constructor", R"("x")", 0},
      {"ack of any kind", "ack", R"({"x":1})", 0},
      {"what only other methods read", "limit", R"("many")", 0},
  };
  for (const auto& c : cases) {
    expect(Dialect::v2, {c.what, request("textMessage", with(v2_text, c.field, c.value)), c.code, "7"});
    expect(Dialect::classic, {c.what, request("textMessage", with(classic_text, c.field, c.value)), c.code, "7"});
  }
  EXPECT_EQ(accepted(Dialect::v2, request("textMessage", without(v2_text, "date"))).date, "");
  EXPECT_EQ(accepted(Dialect::classic, request("textMessage", without(classic_text, "date"))).date, "");
  EXPECT_EQ(accepted(Dialect::classic, request("textMessage", without(classic_text, "userName"))).user_name, "");
}

TEST(Request, ATextSurvivesByteForByte) {
  const std::string spelled = R"(\u0001\b\f\n\r\t\"\\\/\u00e9\ud83c\udf75)"
                              "\x7F \xE6\x97\xA5\xE6\x9C\xAC \xE2\x80\xA8 \xEF\xBF\xBF <script> a\xCC\x81 \xC3\xA1";
  const std::string meant =
      "\x01\b\f\n\r\t\"\\/\xC3\xA9\xF0\x9F\x8D\xB5"
      "\x7F \xE6\x97\xA5\xE6\x9C\xAC \xE2\x80\xA8 \xEF\xBF\xBF <script> a\xCC\x81 \xC3\xA1";
  EXPECT_EQ(accepted(Dialect::v2, request("textMessage", with(v2_text, "text", "\"" + spelled + "\""))).text, meant);
  // Longer than the parser's own buffer for what has escapes, so it comes in parts.
  std::string long_spelled, long_meant;
  for (int i = 0; i < 1000; ++i) long_spelled += spelled + "plain", long_meant += meant + "plain";
  EXPECT_EQ(accepted(Dialect::v2, request("textMessage", with(v2_text, "text", "\"" + long_spelled + "\""))).text,
            long_meant);
}

TEST(Request, AllFieldsOfATextArrive) {
  const Request v2 = accepted(Dialect::v2, request("textMessage", v2_text));
  EXPECT_EQ(v2.method, Method::text_message);
  EXPECT_EQ(v2.id_json, "7");
  EXPECT_EQ(v2.room_name, "r");
  EXPECT_EQ(v2.text, "hi");
  EXPECT_EQ(v2.uuid, "a-1");
  EXPECT_EQ(v2.date, "now");
  EXPECT_EQ(v2.user_id, "");
  const Request classic = accepted(Dialect::classic, request("textMessage", classic_text));
  EXPECT_EQ(classic.user_id, "u1");
  EXPECT_EQ(classic.room_name, "r");
  EXPECT_EQ(classic.text, "hi");
  EXPECT_EQ(classic.uuid, "a-1");
  EXPECT_EQ(classic.date, "now");
}

TEST(Request, UserNamesInJoinsOfBothDialects) {
  const struct {
    const char* what;
    const char* value;
    int code;
  } cases[] = {
      {"plain", R"("Ana")", 0},
      {"empty", R"("")", -32602},
      {"only spaces", R"("  ")", -32602},
      {"zero-width space", R"("An\u200ba")", -32602},
      {"bidi override", R"("\u202eanA")", -32602},
      {"new line", R"("Ana\n")", -32602},
      {"emoji", R"("\ud83c\udf75")", 0},
  };
  for (const auto& c : cases) {
    expect(Dialect::v2, {c.what, request("joinRoom", with(v2_join, "userName", c.value)), c.code, "7"});
    expect(Dialect::classic, {c.what, request("joinRoom", with(classic_user, "userName", c.value)), c.code, "7"});
  }
  const Request join = accepted(Dialect::v2, request("joinRoom", with(v2_join, "userName", R"(" \uff21na ")")));
  EXPECT_EQ(join.user_name, " \xEF\xBC\xA1na ");
  EXPECT_EQ(join.user_name_folded, "ana");
}

TEST(Request, ClassicUserIds) {
  const struct {
    const char* what;
    std::string value;
    int code;
  } cases[] = {
      {"a number in a string", "42", 0},
      {"128 bytes", std::string(128, 'u'), 0},
      {"129 bytes", std::string(129, 'u'), -32602},
      {"64 characters in 130 bytes", std::string(126, 'u') + "\xC3\xA9\xC3\xA9", -32602},
      {"empty", "", -32602},
      {"as a v2 user's", "~_b69lvnPrNZym0avvB4vOS", -32602},
      {"only the mark of v2", "~", -32602},
      {"the mark of v2 within", "a~", 0},
      {"new line", "a\\nb", -32602},
      {"DEL", "a\x7F", -32602},
      {"C1 control", "a\xC2\x9B", -32602},
      {"C1 control at the end of the string", "\xC2\x80", -32602},
      {"no-break space is no control", "a\xC2\xA0", 0},
      {"a space", " ", 0},
      {"a dollar", "$where", 0},
  };
  for (const auto& c : cases) {
    const std::string value = "\"" + c.value + "\"";
    expect(Dialect::classic, {c.what, request("joinRoom", with(classic_user, "userId", value)), c.code, "7"});
    expect(Dialect::classic, {c.what, request("textMessage", with(classic_text, "userId", value)), c.code, "7"});
    if (!c.value.empty())
      expect(Dialect::classic, {c.what, request("reconnect", with(classic_user, "userId", value)), c.code, "7"});
  }
}

TEST(Request, AClassicReconnectOfWhoNeverJoinedFails) {
  for (const char* field : {"roomName", "userName", "userId"}) {
    expect(Dialect::classic, {field, request("reconnect", with(classic_user, field, R"("")")), -32003, "7"});
    expect(Dialect::classic, {field, request("reconnect", with(classic_user, field, "null")), -32003, "7"});
    expect(Dialect::classic, {field, request("reconnect", without(classic_user, field)), -32003, "7"});
  }
  expect(Dialect::classic, {"nothing at all", request("reconnect", ""), -32003, "7"});
  expect(Dialect::classic,
         {"any session id", request("reconnect", with(classic_user, "sessionId", R"({"a":[]})")), 0, "7"});
}

TEST(Request, AClassicPositionIsNeverAnError) {
  const std::string fits = "12-" + chain;
  const std::vector<std::string> values = {"null",
                                           R"("")",
                                           R"("507f1f77bcf86cd799439011")",
                                           R"("-1")",
                                           R"("9223372036854775808")",
                                           "-1",
                                           "1.5",
                                           "7",
                                           R"({"$gt":""})",
                                           R"({"$oid":"507f1f77bcf86cd799439011"})",
                                           "[]",
                                           "true",
                                           "\"12-" + chain + "A\"",
                                           "\"012-" + chain + "\""};
  for (const char* method : {"joinRoom", "reconnect"}) {
    for (const std::string& value : values) {
      SCOPED_TRACE(value);
      EXPECT_FALSE(accepted(Dialect::classic, request(method, with(classic_user, "lastMessageId", value))).position);
    }
    EXPECT_FALSE(accepted(Dialect::classic, request(method, classic_user)).position);
    EXPECT_EQ(
        accepted(Dialect::classic, request(method, with(classic_user, "lastMessageId", "\"" + fits + "\""))).position,
        parse_position(fits));
  }
}

TEST(Request, AMalformedV2PositionIsAnError) {
  const std::vector<std::string> values = {R"("")",
                                           R"("507f1f77bcf86cd799439011")",
                                           R"("-1")",
                                           R"("12")",
                                           "\"12-" + chain + "A\"",
                                           "\"1.5-" + chain + "\"",
                                           "\"9223372036854775808-" + chain + "\"",
                                           "\"012-" + chain + "\"",
                                           "12",
                                           "-1",
                                           "1.5",
                                           "true"};
  for (const std::string& value : values)
    expect(Dialect::v2, {value.c_str(), request("joinRoom", with(v2_join, "lastMessageId", value)), -32602, "7"});
  EXPECT_EQ(accepted(Dialect::v2, request("joinRoom", with(v2_join, "lastMessageId", "\"0-" + chain + "\""))).position,
            parse_position("0-" + chain));
  EXPECT_FALSE(accepted(Dialect::v2, request("joinRoom", with(v2_join, "lastMessageId", "null"))).position);
}

TEST(Request, UserKeysAre43CharactersOfBase64url) {
  const struct {
    std::string value;
    int code;
  } cases[] = {
      {key, 0},
      {key.substr(1), -32602},
      {key + "A", -32602},
      {"", -32602},
      {key.substr(1) + "=", -32602},
      {key.substr(1) + "+", -32602},
      {key.substr(1) + "/", -32602},
      {key.substr(1) + " ", -32602},
      {key.substr(2) + "\xC3\xA9", -32602},
  };
  for (const auto& c : cases)
    expect(Dialect::v2,
           {c.value.c_str(), request("joinRoom", with(v2_join, "userKey", "\"" + c.value + "\"")), c.code, "7"});
  EXPECT_EQ(accepted(Dialect::v2, request("joinRoom", with(v2_join, "userKey", "\"" + key + "\""))).user_key, key);
  EXPECT_FALSE(accepted(Dialect::v2, request("joinRoom", with(v2_join, "userKey", "null"))).user_key);
}

// nothing: -32602
void expect_limit(const std::string& method, const std::string& params, const std::string& value,
                  std::optional<uint64_t> limit) {
  const std::string frame = request(method, with(params, "limit", value));
  if (!limit) return expect(Dialect::v2, {value.c_str(), frame, -32602, "7"});
  SCOPED_TRACE(frame);
  EXPECT_EQ(accepted(Dialect::v2, frame).limit, limit);
}

TEST(Request, Limits) {
  for (const char* bad :
       {"-1", "-0", "1.0", "1e1", "0.5", "9007199254740992", "18446744073709551617", "\"5\"", "true", "{}", "[1]"}) {
    expect_limit("joinRoom", v2_join, bad, std::nullopt);
    expect_limit("history", R"("roomName":"r")", bad, std::nullopt);
    expect_limit("members", R"("roomName":"r")", bad, std::nullopt);
  }
  expect_limit("joinRoom", v2_join, "0", 0);
  expect_limit("joinRoom", v2_join, "1000", 1000);
  expect_limit("joinRoom", v2_join, "1001", std::nullopt);
  for (const char* method : {"history", "members"}) {
    expect_limit(method, R"("roomName":"r")", "0", std::nullopt);
    expect_limit(method, R"("roomName":"r")", "1", 1);
    expect_limit(method, R"("roomName":"r")", "200", 200);
    expect_limit(method, R"("roomName":"r")", "201", 200);
    expect_limit(method, R"("roomName":"r")", "9007199254740991", 200);
    EXPECT_FALSE(accepted(Dialect::v2, request(method, R"("roomName":"r","limit":null)")).limit);
  }
  EXPECT_FALSE(accepted(Dialect::v2, request("joinRoom", v2_join)).limit);
}

TEST(Request, SequencesAreIntegersUpTo2To53) {
  const std::string room = R"("roomName":"r")";
  for (const char* bad : {"-1", "-0", "1.0", "1e1", "9007199254740992", "9223372036854775808", "99999999999999999999",
                          "\"5\"", "true", "{}", "[]"}) {
    expect(Dialect::v2, {bad, request("read", with(room, "sequence", bad)), -32602, "7"});
    expect(Dialect::v2, {bad, request("history", with(room, "before", bad)), -32602, "7"});
    expect(Dialect::v2, {bad, request("history", with(room, "after", bad)), -32602, "7"});
  }
  expect(Dialect::v2, {"null", request("read", with(room, "sequence", "null")), -32602, "7"});
  for (const char* good : {"0", "1", "9007199254740991"}) {
    const Sequence sequence = std::stoull(good);
    EXPECT_EQ(accepted(Dialect::v2, request("read", with(room, "sequence", good))).sequence, sequence);
    EXPECT_EQ(accepted(Dialect::v2, request("history", with(room, "before", good))).before, sequence);
    EXPECT_EQ(accepted(Dialect::v2, request("history", with(room, "after", good))).after, sequence);
  }
  expect(Dialect::v2, {"both", request("history", R"("roomName":"r","before":5,"after":2)"), -32602, "7"});
  expect(Dialect::v2, {"one and null", request("history", R"("roomName":"r","before":5,"after":null)"), 0, "7"});
  expect(Dialect::v2, {"neither", request("history", room), 0, "7"});
}

TEST(Request, ThePlaceInAMemberListIsOpaque) {
  const std::string room = R"("roomName":"r")";
  EXPECT_EQ(accepted(Dialect::v2, request("members", with(room, "after", R"("ana m\u00aa\"")"))).members_after,
            "ana m\xC2\xAA\"");
  EXPECT_FALSE(accepted(Dialect::v2, request("members", with(room, "after", "null"))).members_after);
  EXPECT_FALSE(accepted(Dialect::v2, request("members", room)).members_after);
  expect(Dialect::v2, {"4096", request("members", with(room, "after", "\"" + std::string(4096, 'a') + "\"")), 0, "7"});
  expect(Dialect::v2,
         {"4097", request("members", with(room, "after", "\"" + std::string(4097, 'a') + "\"")), -32602, "7"});
}

TEST(Request, EveryV2MethodIsKnown) {
  const std::string all = with(with(v2_text, "userName", R"("Ana")"), "sequence", "3");
  const std::pair<const char*, Method> methods[] = {
      {"joinRoom", Method::join_room},
      {"textMessage", Method::text_message},
      {"leaveRoom", Method::leave_room},
      {"history", Method::history},
      {"members", Method::members},
      {"rooms", Method::rooms},
      {"read", Method::read},
      {"typing", Method::typing},
      {"ping", Method::ping},
  };
  for (const auto& [name, method] : methods) {
    const Request parsed = accepted(Dialect::v2, request(name, all));
    EXPECT_EQ(parsed.method, method) << name;
    const bool has_room = method != Method::rooms && method != Method::ping;
    EXPECT_EQ(parsed.room_name, has_room ? "r" : "") << name;
  }
}

TEST(Request, ParamsOfAnotherMemberAreNotTaken) {
  expect(Dialect::v2, {"a look-alike beside params",
                       R"({"jsonrpc":"2.0","id":7,"method":"typing","other":{"roomName":"r"}})", -32602, "7"});
  expect(Dialect::v2, {"one level deeper", request("typing", R"("params":{"roomName":"r"})"), -32602, "7"});
  const Request parsed = accepted(
      Dialect::v2,
      R"({"x":{"roomName":"a"},"params":{"y":{"roomName":"b"},"roomName":"r","z":[{"roomName":"c"}]},"w":{"roomName":"d"},"jsonrpc":"2.0","id":7,"method":"typing"})");
  EXPECT_EQ(parsed.room_name, "r");
}

TEST(Request, ManyKeysCostLittle) {
  std::string params;
  for (int i = 0; i < 100'000; ++i) params += (i ? ",\"" : "\"") + std::to_string(i) + "\":0";
  expect(Dialect::v2, {"a hundred thousand keys", request("ping", params), 0, "7"});
  expect(Dialect::v2, {"and one repeated", request("ping", params + R"(,"5":0)"), -32700, "null"});
  std::string escaped;
  for (int i = 0; i < 20'000; ++i) escaped += (i ? ",\"\\u0061" : "\"\\u0061") + std::to_string(i) + "\":0";
  expect(Dialect::v2, {"in another spelling", request("ping", escaped + R"(,"a19999":0)"), -32700, "null"});
}

TEST(UserKey, IsWrittenAs43Characters) {
  uint8_t bits[32];
  for (uint8_t i = 0; i < 32; ++i) bits[i] = static_cast<uint8_t>(0xF8 + i);
  const std::string text = user_key_text(bits);
  EXPECT_EQ(text, "-Pn6-_z9_v8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhc");
  expect(Dialect::v2, {"as a param", request("joinRoom", with(v2_join, "userKey", "\"" + text + "\"")), 0, "7"});
}

}  // namespace
}  // namespace tertulia
