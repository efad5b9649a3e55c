// Everything in tests/vectors/chain.json, which a third program computed and the client library's tests read too.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "protocol/message.h"
#include "protocol/names.h"
#include "protocol/request.h"

namespace tertulia {
namespace {

namespace json = boost::json;

json::value vectors() {
  std::ifstream file(TERTULIA_VECTORS_DIR "/chain.json");
  EXPECT_TRUE(file) << "tests/vectors/chain.json cannot be opened";
  std::stringstream content;
  content << file.rdbuf();
  return json::parse(content.str());
}

std::string string_at(const json::value& object, const char* key) {
  return json::value_to<std::string>(object.at(key));
}

Message message_of(const json::value& v) {
  Message m;
  const std::string method = string_at(v, "method");
  m.kind = method == "textMessage"    ? MessageKind::text
           : method == "imageMessage" ? MessageKind::image
                                      : MessageKind::file;
  m.uuid = string_at(v, "uuid");
  m.user_id = string_at(v, "userId");
  m.user_name = string_at(v, "userName");
  m.date = string_at(v, "date");
  m.sent_at_ms = v.at("sentAt").as_int64();
  if (m.kind == MessageKind::text) {
    m.text = string_at(v, "text");
  } else {
    m.file_name = string_at(v, "fileName");
    m.content_type = string_at(v, "contentType");
    m.size_bytes = static_cast<uint64_t>(v.at("size").as_int64());
    m.sha256_hex = string_at(v, "sha256");
  }
  return m;
}

TEST(Vectors, EveryChainIsTheOneThatTheVectorsState) {
  size_t messages = 0;
  const json::value all = vectors();
  for (const json::value& log : all.at("logs").as_array()) {
    Chain chain = chain_start(string_at(log, "room"));
    EXPECT_EQ(chain_text(chain), string_at(log, "start"));
    EXPECT_EQ(position_text({0, chain}), string_at(log, "startPosition"));
    for (const json::value& entry : log.at("messages").as_array()) {
      SCOPED_TRACE(string_at(entry, "form"));
      EXPECT_EQ(chain_text(chain), string_at(entry, "previous"));
      const auto sequence = static_cast<Sequence>(entry.at("sequence").as_int64());
      const Message message = message_of(entry.at("message"));
      EXPECT_EQ(method_name(message.kind), string_at(entry.at("message"), "method"));
      chain = chain_next(chain, sequence, message);
      EXPECT_EQ(chain_text(chain), string_at(entry, "chain"));
      EXPECT_EQ(position_text({sequence, chain}), string_at(entry, "position"));
      ++messages;
    }
  }
  EXPECT_GE(messages, 6u);
}

TEST(Vectors, AUserIdIsComputedFromItsKey) {
  size_t keys = 0;
  const json::value all = vectors();
  for (const json::value& entry : all.at("userIds").as_array()) {
    const std::string key = string_at(entry, "userKey");
    EXPECT_EQ(key.size(), 43u);
    EXPECT_EQ(user_id_of_key(key), string_at(entry, "userId"));
    ++keys;
  }
  EXPECT_GE(keys, 3u);
}

TEST(Vectors, UserNamesFoldAsTheVectorsState) {
  size_t names = 0;
  const json::value all = vectors();
  for (const json::value& entry : all.at("userNames").as_array()) {
    const std::string name = string_at(entry, "name");
    SCOPED_TRACE(name);
    const std::optional<std::string> folded = fold_user_name(name);
    if (entry.at("folded").is_null()) {
      EXPECT_FALSE(folded.has_value()) << *folded;
    } else {
      ASSERT_TRUE(folded.has_value());
      EXPECT_EQ(*folded, string_at(entry, "folded"));
      EXPECT_EQ(fold_user_name(*folded), folded) << "folding twice changes nothing";
    }
    ++names;
  }
  EXPECT_GE(names, 35u);
}

TEST(Chain, DependsOnEveryPartOfTheMessageAndOnNothingElse) {
  const Chain start = chain_start("room");
  EXPECT_NE(start, chain_start("room "));
  Message file;
  file.kind = MessageKind::file;
  file.uuid = "u";
  file.user_id = "i";
  file.user_name = "n";
  file.date = "d";
  file.sent_at_ms = 5;
  file.text = "not part of a file";
  file.id_json = "7";
  file.file_name = "f";
  file.content_type = "c";
  file.size_bytes = 9;
  file.sha256_hex = "00";
  Message text = file;
  text.kind = MessageKind::text;
  Message image = file;
  image.kind = MessageKind::image;
  const auto of = [&](const Message& m) { return chain_next(start, 1, m); };

  std::vector<Chain> chains = {of(file), of(text), of(image), chain_next(start, 2, file),
                               chain_next(chain_start("other"), 1, file)};
  const auto changed = [&](const Message& base, auto change) {
    Message m = base;
    change(m);
    return of(m);
  };
  for (const Message& base : {file, text, image}) {
    chains.push_back(changed(base, [](Message& m) { m.uuid = "U"; }));
    chains.push_back(changed(base, [](Message& m) { m.user_id = "I"; }));
    chains.push_back(changed(base, [](Message& m) { m.user_name = "N"; }));
    chains.push_back(changed(base, [](Message& m) { m.date = "D"; }));
    chains.push_back(changed(base, [](Message& m) { m.sent_at_ms = 6; }));
    // Moving a byte from one field to the next is a change too.
    chains.push_back(changed(base, [](Message& m) { m.user_name = "", m.date = "nd"; }));
  }
  chains.push_back(changed(text, [](Message& m) { m.text = "T"; }));
  chains.push_back(changed(file, [](Message& m) { m.file_name = "F"; }));
  for (const Message& base : {file, image}) {
    chains.push_back(changed(base, [](Message& m) { m.content_type = "C"; }));
    chains.push_back(changed(base, [](Message& m) { m.size_bytes = 10; }));
    chains.push_back(changed(base, [](Message& m) { m.sha256_hex = "01"; }));
  }
  for (size_t a = 0; a < chains.size(); ++a)
    for (size_t b = 0; b < a; ++b) EXPECT_NE(chains[a], chains[b]) << a << " and " << b;

  EXPECT_EQ(of(text), changed(text, [](Message& m) { m.id_json = "8"; }));
  EXPECT_EQ(of(text), changed(text, [](Message& m) { m.file_name = "x"; }));
  EXPECT_EQ(of(file), changed(file, [](Message& m) { m.text = "x"; }));
  EXPECT_EQ(of(image), changed(image, [](Message& m) { m.file_name = "x"; }));
}

TEST(Chain, IsTheSameOnEveryThread) {
  Message m;
  m.text = "hello";
  const Chain expected = chain_next(chain_start("room"), 1, m);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) wrong[t] += chain_next(chain_start("room"), 1, m) != expected;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(SameBody, LooksAtKindUserAndContentOnly) {
  Message a;
  a.user_id = "u";
  a.text = "t";
  a.sha256_hex = "00";
  a.file_name = "f";
  Message b = a;
  b.id_json = "9";
  b.date = "later";
  b.sent_at_ms = 77;
  b.user_name = "Other";
  EXPECT_TRUE(same_body(a, b));
  const auto with = [&](MessageKind kind, auto change) {
    Message x = a, y = b;
    x.kind = y.kind = kind;
    change(y);
    return same_body(x, y);
  };
  for (MessageKind kind : {MessageKind::text, MessageKind::image, MessageKind::file}) {
    EXPECT_TRUE(with(kind, [](Message&) {}));
    EXPECT_FALSE(with(kind, [](Message& m) { m.user_id = "v"; }));
    EXPECT_EQ(with(kind, [](Message& m) { m.text = "T"; }), kind != MessageKind::text);
    EXPECT_EQ(with(kind, [](Message& m) { m.sha256_hex = "01"; }), kind == MessageKind::text);
    EXPECT_EQ(with(kind, [](Message& m) { m.file_name = "g"; }), kind != MessageKind::file);
  }
  b.kind = MessageKind::image;
  EXPECT_FALSE(same_body(a, b));
}

}  // namespace
}  // namespace tertulia
