// docs/protocol.md is a specification, so what it shows must be what the code does.
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "protocol/base64url.h"
#include "protocol/digest.h"
#include "protocol/frames.h"
#include "protocol/request.h"

namespace tertulia {
namespace {

namespace json = boost::json;

std::string content_of(const char* path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path << " cannot be opened";
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

// What stands behind "v2> ", "classic> " or "server> ".
std::vector<std::string> examples(const std::string& speaker) {
  std::stringstream document(content_of(TERTULIA_DOCS_DIR "/protocol.md"));
  std::vector<std::string> found;
  const std::string begin = speaker + "> ";
  for (std::string line; std::getline(document, line);)
    if (line.starts_with(begin)) found.push_back(line.substr(begin.size()));
  return found;
}

std::string hex(std::string_view bytes, std::string_view between) {
  std::string text;
  for (char c : bytes) {
    if (!text.empty()) text += between;
    text += "0123456789abcdef"[static_cast<uint8_t>(c) >> 4];
    text += "0123456789abcdef"[static_cast<uint8_t>(c) & 15];
  }
  return text;
}

constexpr std::string_view room = "Salón de té";
constexpr std::string_view ana = "~_b69lvnPrNZym0avvB4vOS";
constexpr std::string_view jose = "classic user 7";
constexpr std::string_view jose_name = "José 🫖";

// The two texts of the worked examples.
std::vector<Row> rows() {
  Row first;
  first.sequence = 1;
  first.previous = chain_start(room);
  first.message.uuid = "0b8a3c52-7f0e-4f43-9a61-8a1d0c7f6a10";
  first.message.user_id = ana;
  first.message.user_name = "Ana";
  first.message.date = "2026-03-01T18:30:00.000Z";
  first.message.sent_at_ms = 1772389800123;
  first.message.text = "Good evening";
  first.message.id_json = "2";
  first.chain = chain_next(first.previous, 1, first.message);
  Row second;
  second.sequence = 2;
  second.previous = first.chain;
  second.message.uuid = "m-2";
  second.message.user_id = jose;
  second.message.user_name = jose_name;
  second.message.sent_at_ms = 1772389801456;
  second.message.text = "¿Té, o café?\n\"日本茶\" 🍵\u2028— \\o/";
  second.message.id_json = "3";
  second.chain = chain_next(second.previous, 2, second.message);
  return {first, second};
}

TEST(ProtocolDocument, EveryRequestItShowsIsAccepted) {
  for (const auto& [speaker, dialect] : {std::pair("v2", Dialect::v2), std::pair("classic", Dialect::classic)}) {
    const std::vector<std::string> requests = examples(speaker);
    EXPECT_GE(requests.size(), dialect == Dialect::v2 ? 9u : 3u);
    for (const std::string& request : requests) {
      const std::variant<Request, Malformed> parsed = parse_request(dialect, request);
      const auto* malformed = std::get_if<Malformed>(&parsed);
      EXPECT_EQ(malformed, nullptr) << request << ": " << malformed->message;
    }
  }
}

TEST(ProtocolDocument, EveryFrameOfTheServerItShowsIsSpelledAsWeSpellIt) {
  std::vector<std::string> expected;
  const auto add = [&](auto write) {
    std::string frame;
    write(frame);
    expected.push_back(frame.substr(frame_header_bytes(frame)));
  };
  const std::vector<Row> log = rows();
  const Position head = log[1].position();
  add([&](std::string& out) { append_message(out, room, log[0]); });
  add([&](std::string& out) { append_message(out, room, log[1]); });
  add([&](std::string& out) { append_error(out, Dialect::v2, "7", Code::busy, "The store is away.", {true, 1500}); });
  JoinAnswer join;
  join.session_id = "0yTq1mXo3lq2kW8v5bZ7hA";
  join.user_id = ana;
  join.head = head;
  join.members_count = 2;
  join.read = 1;
  join.heartbeat_ms = 20000;
  join.message_bytes_max = 65536;
  join.server_version = "0.1.0";
  join.node = "n-7f3a";
  add([&](std::string& out) { append_join_answer(out, "1", join); });
  add([&](std::string& out) { append_text_answer(out, "2", log[0].position(), false); });
  for (const char* id : {"\"t1\"", "3", "4", "8"}) add([&](std::string& out) { append_ok(out, id); });
  add([&](std::string& out) { append_history_answer(out, "5", room, {log.data(), 1}, false); });
  const std::vector<MemberEntry> members = {{std::string(ana), "Ana", 1},
                                            {std::string(jose), std::string(jose_name), 0}};
  add([&](std::string& out) { append_members_answer(out, "6", members, 2, std::nullopt); });
  const std::vector<RoomEntry> rooms = {{std::string(room), head, 1, 2}};
  add([&](std::string& out) { append_rooms_answer(out, "7", rooms); });
  add([&](std::string& out) { append_skipped(out, room, 1, 950); });
  add([&](std::string& out) { append_reset(out, room, 1, head); });
  add([&](std::string& out) { append_live(out, room, 2); });
  add([&](std::string& out) { append_user_joined(out, room, jose, jose_name); });
  add([&](std::string& out) { append_user_left(out, room, jose, jose_name); });
  add([&](std::string& out) { append_typing(out, room, jose, jose_name); });
  add([&](std::string& out) { append_read(out, room, jose, 2); });
  add([&](std::string& out) { append_members_changed(out, room, 731); });
  add([&](std::string& out) { append_heartbeat(out); });
  add([&](std::string& out) { append_reconnect(out, 740, 2000, "drain"); });
  add([&](std::string& out) { append_classic_ok(out, "1"); });
  add([&](std::string& out) { append_classic_ok(out, "2"); });
  add([&](std::string& out) { append_new_user(out, room, jose_name); });

  std::vector<std::string> shown = examples("server");
  std::sort(expected.begin(), expected.end());
  std::sort(shown.begin(), shown.end());
  EXPECT_EQ(shown, expected);
}

TEST(ProtocolDocument, ItsWorkedExamplesAreTheVectors) {
  const std::string document = content_of(TERTULIA_DOCS_DIR "/protocol.md");
  const json::value vectors = json::parse(content_of(TERTULIA_VECTORS_DIR "/chain.json"));
  const json::value& log = vectors.at("logs").at(0);
  ASSERT_EQ(log.at("room").as_string(), room);
  const auto expect_shown = [&](const std::string& text) { EXPECT_NE(document.find(text), std::string::npos) << text; };
  const auto digest_shown = [&](std::string_view before, std::string_view form) {
    const Sha256 digest = sha256({before, form});
    const std::string text = hex({reinterpret_cast<const char*>(digest.data()), digest.size()}, "");
    expect_shown("`" + text.substr(0, 24) + " " + text.substr(24) + "`");
  };
  digest_shown("tertulia:", room);
  expect_shown(hex("tertulia:" + std::string(room), " "));
  expect_shown(json::value_to<std::string>(log.at("startPosition")));
  size_t count = 0;
  for (const json::value& entry : log.at("messages").as_array()) {
    const auto form = json::value_to<std::string>(entry.at("form"));
    uint8_t previous[12];
    ASSERT_TRUE(decode_base64url(json::value_to<std::string>(entry.at("previous")), previous));
    const std::string_view before(reinterpret_cast<const char*>(previous), sizeof previous);
    digest_shown(before, form);
    expect_shown(hex(before, " "));
    expect_shown("`" + json::value_to<std::string>(entry.at("position")) + "`");
    if (form.find('\n') == std::string::npos) {
      expect_shown("\n" + form + "\n");
      expect_shown("these " + std::to_string(form.size()));
    } else {
      // Shown in hexadecimal, in rows with a remark behind each.
      std::stringstream lines(document);
      std::string bytes;
      for (std::string line; std::getline(lines, line);) {
        if (!bytes.empty() && line.starts_with("```")) break;
        if (line.starts_with("31 3a 32 2c") || !bytes.empty()) bytes += line.substr(0, line.find("  ")) + " ";
      }
      EXPECT_EQ(bytes, hex(form, " ") + " ");
      expect_shown("and these " + std::to_string(form.size()));
    }
    ++count;
  }
  EXPECT_GE(count, 3u);
}

}  // namespace
}  // namespace tertulia
