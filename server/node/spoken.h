// What clients say and what they hear, in short, for tests.
#pragma once

#include <string>
#include <vector>

namespace tertulia {

inline const std::string key_ana(43, 'A'), key_bea = std::string(42, 'B') + "A", key_cid = std::string(42, 'C') + "A";

inline std::string join_v2(const std::string& name, const std::string& key, const std::string& more = {},
                           const std::string& room = "plaza") {
  return R"({"jsonrpc":"2.0","id":1,"method":"joinRoom","params":{"roomName":")" + room + R"(","userName":")" + name +
         R"(","userKey":")" + key + "\"" + more + "}}";
}
inline std::string text_v2(const std::string& uuid, const std::string& text, const std::string& room = "plaza") {
  return R"({"jsonrpc":"2.0","id":")" + uuid + R"(","method":"textMessage","params":{"roomName":")" + room +
         R"(","text":")" + text + R"(","uuid":")" + uuid + R"(","date":"d"}})";
}
inline std::string join_classic(const std::string& name, const std::string& method = "joinRoom",
                                const std::string& last = "null", const std::string& room = "plaza") {
  return R"({"jsonrpc":"2.0","id":1,"method":")" + method + R"(","params":{"userId":"u-)" + name + R"(","userName":")" +
         name + R"(","roomName":")" + room + R"(","lastMessageId":)" + last + R"(,"sessionId":"s"}})";
}
inline std::string text_classic(const std::string& name, const std::string& uuid, const std::string& text,
                                const std::string& room = "plaza") {
  return R"({"jsonrpc":"2.0","id":7,"method":"textMessage","params":{"userId":"u-)" + name + R"(","userName":")" +
         name + R"(","roomName":")" + room + R"(","text":")" + text + R"(","ack":false,"uuid":")" + uuid +
         R"(","date":"d"}})";
}

// What a frame is, in a word: "m:text" a message, "ok", "!code", a notification's method.
inline std::string gist(const std::string& frame) {
  const auto value = [&](const std::string& key) -> std::string {
    const size_t at = frame.find("\"" + key + "\":");
    if (at == std::string::npos) return {};
    size_t begin = at + key.size() + 3;
    if (frame[begin] == '"') ++begin;
    return frame.substr(begin, frame.find_first_of("\",}", begin) - begin);
  };
  const std::string method = value("method");
  if (method == "textMessage") return "m:" + value("text");
  if (!method.empty()) return method;
  if (!value("code").empty()) return "!" + value("code");
  if (!value("repeated").empty()) return value("repeated") == "true" ? "again" : "said";
  return "ok";
}
inline std::vector<std::string> gists(const std::vector<std::string>& frames) {
  std::vector<std::string> out;
  for (const std::string& frame : frames) out.push_back(gist(frame));
  return out;
}
inline std::string position_in(const std::string& frame) {
  const size_t at = frame.find("\"_id\":\"") + 7;
  return frame.substr(at, frame.find('"', at) - at);
}

}  // namespace tertulia
