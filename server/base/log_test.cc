#include "base/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

namespace tertulia {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// A pipe whose far end is read by the test.
class Pipe {
 public:
  Pipe() {
    if (pipe2(ends_, O_CLOEXEC) != 0) std::abort();
    fcntl(ends_[0], F_SETFL, O_NONBLOCK);
  }
  ~Pipe() {
    close(ends_[0]);
    close(ends_[1]);
  }
  int fd() const { return ends_[1]; }
  std::string read_all() {
    std::string text;
    char piece[65536];
    for (ssize_t size = 0; (size = ::read(ends_[0], piece, sizeof piece)) > 0;) text.append(piece, size);
    return text;
  }
  std::vector<std::string> lines() {
    std::vector<std::string> lines;
    const std::string text = read_all();
    for (size_t at = 0; at < text.size();) {
      const size_t end = text.find('\n', at);
      lines.push_back(text.substr(at, end - at));
      at = end == std::string::npos ? text.size() : end + 1;
    }
    return lines;
  }

 private:
  int ends_[2];
};

struct LogTest : testing::Test {
  ManualClock clock;
  Pipe pipe;
  Log json{clock, pipe.fd(), LogFormat::json, LogLevel::info};
  Log plain{clock, pipe.fd(), LogFormat::plain, LogLevel::info};
};

TEST_F(LogTest, JsonLineHoldsTimeLevelPartEventAndTypedFields) {
  json.info("store", "opened", {{"path", "data/x.db"}, {"rooms", 3}, {"clean", true}, {"seconds", 0.5}, {"debt", -2}});
  EXPECT_EQ(pipe.read_all(), R"({"time":"2023-11-14T22:13:21.000Z","level":"info","part":"store","event":"opened",)"
                             R"("path":"data/x.db","rooms":3,"clean":true,"seconds":0.5,"debt":-2})"
                             "\n");
}

TEST_F(LogTest, PlainLineQuotesOnlyWhatNeedsIt) {
  plain.warn("net", "closed", {{"why", "it was late"}, {"code", 1008}, {"address", "10.0.0.1"}, {"none", ""}});
  EXPECT_EQ(pipe.read_all(),
            "2023-11-14T22:13:21.000Z warn  net: closed why=\"it was late\" code=1008 address=10.0.0.1 none=\"\"\n");
}

TEST_F(LogTest, ForeignTextCannotBreakTheLineOrTheTerminal) {
  struct Case {
    const char* what;
    std::string sent, shown;
  };
  const std::vector<Case> cases = {
      {"line break", "a\r\nb", R"(a\u000d\u000ab)"},
      {"quote and backslash", R"(a"b\)", R"(a\"b\\)"},
      {"terminal escape", "\x1b[31mred", R"(\u001b[31mred)"},
      {"NUL", std::string("a\0b", 3), R"(a\u0000b)"},
      {"DEL and C1", "\x7f\xc2\x9b", R"(\u007f\u009b)"},
      {"text from right to left",
       "\xe2\x80\xae"
       "abc",
       R"(\u202eabc)"},
      {"line separator", "\xe2\x80\xa8", R"(\u2028)"},
      {"umlauts and pictures stay", "ä😀", "ä😀"},
      {"lone continuation",
       "a\x80"
       "b",
       R"(a\ufffdb)"},
      {"cut sequence", "\xf0\x9f\x98", R"(\ufffd\ufffd\ufffd)"},
      {"overlong", "\xc0\xaf", R"(\ufffd\ufffd)"},
      {"surrogate", "\xed\xa0\x80", R"(\ufffd\ufffd\ufffd)"},
      {"beyond Unicode", "\xf4\x90\x80\x80", R"(\ufffd\ufffd\ufffd\ufffd)"},
  };
  for (const Case& each : cases) {
    for (Log* log : {&json, &plain}) {
      log->info("net", "got", {{"text", each.sent}});
      const std::string line = pipe.read_all();
      EXPECT_THAT(line, HasSubstr(each.shown)) << each.what;
      EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << each.what;
    }
  }
}

TEST_F(LogTest, ForeignTextIsCutTo256BytesBetweenCharacters) {
  json.info("net", "got", {{"text", std::string(255, 'x') + "ä and more"}});
  EXPECT_THAT(pipe.read_all(), HasSubstr("\"" + std::string(255, 'x') + "…\""));
  json.info("net", "got", {{"text", std::string(256, 'x')}});
  EXPECT_THAT(pipe.read_all(), HasSubstr("\"" + std::string(256, 'x') + "\""));
}

TEST_F(LogTest, ASentenceOfOursKeepsWhatToDoAtItsEnd) {
  const std::string sentence = std::string(900, 'x') + " Turn it on.";
  json.warn("store", "says", {{"reason", LogSentence{sentence}}, {"n", 7}});
  EXPECT_THAT(pipe.read_all(), AllOf(HasSubstr("\"" + sentence + "\""), HasSubstr("\"n\":7")));
  plain.warn("store", "says", {{"reason", LogSentence{"short"}}});
  EXPECT_THAT(pipe.read_all(), HasSubstr("reason=short"));
  json.warn("store", "says", {{"reason", LogSentence{std::string(1025, 'x')}}});
  EXPECT_THAT(pipe.read_all(), HasSubstr(std::string(1024, 'x') + "…\""));
}

TEST_F(LogTest, LineNeverExceedsWhatAPipeTakesAtOnce) {
  const std::string worst(256, '\x01');
  json.info("net", "got", {{"a", worst}, {"b", worst}, {"c", worst}, {"d", 7}});
  const std::string line = pipe.read_all();
  EXPECT_LE(line.size(), 4096u);
  EXPECT_THAT(line, AllOf(HasSubstr("\"b\":"), Not(HasSubstr("\"c\":")), EndsWith("\"cut\":true}\n")));
}

TEST_F(LogTest, LevelsBelowTheWantedOneAreSilent) {
  plain.debug("a", "b");
  EXPECT_EQ(pipe.read_all(), "");
  plain.error("a", "b");
  EXPECT_THAT(pipe.read_all(), HasSubstr(" error a: b\n"));
  EXPECT_EQ(log_level_named("warn"), LogLevel::warn);
  EXPECT_EQ(log_level_named("loud"), std::nullopt);
}

TEST_F(LogTest, LimitedLinesAreCountedBeyondTheirRateAndTheCountIsTold) {
  for (int i = 0; i < 10; ++i) json.limited(LogLevel::warn, 2, "net", "bad frame", {{"number", i}});
  EXPECT_EQ(pipe.lines().size(), 2u);
  json.limited(LogLevel::warn, 2, "net", "other", {});
  EXPECT_EQ(pipe.lines().size(), 1u) << "another kind has its own allowance";
  clock.advance_ms(1000);
  json.limited(LogLevel::warn, 2, "net", "bad frame", {{"number", 11}});
  EXPECT_THAT(pipe.read_all(), AllOf(HasSubstr("\"number\":11"), HasSubstr("\"kept_back\":8")));
  json.limited(LogLevel::warn, 2, "net", "bad frame", {{"number", 12}});
  EXPECT_THAT(pipe.read_all(), Not(HasSubstr("kept_back"))) << "told once";
}

TEST_F(LogTest, KeptBackIsToldEvenWhenTheFloodEnds) {
  for (int i = 0; i < 5; ++i) json.limited(LogLevel::warn, 1, "net", "bad frame");
  pipe.read_all();
  json.tell_kept_back(false);
  EXPECT_EQ(pipe.read_all(), "") << "its second is not over";
  clock.advance_ms(1000);
  json.tell_kept_back(false);
  EXPECT_THAT(pipe.read_all(), AllOf(HasSubstr("\"event\":\"bad frame\""), HasSubstr("\"kept_back\":4")));
  json.tell_kept_back();
  EXPECT_EQ(pipe.read_all(), "");
}

TEST_F(LogTest, FullPipeLosesLinesAndSaysHowManyInsteadOfWaiting) {
  const std::string filler(200, 'x');
  fcntl(pipe.fd(), F_SETPIPE_SZ, 4096);
  size_t written = 0;
  while (written < 1000) {
    json.info("a", "b", {{"filler", filler}});
    ++written;
  }
  const size_t arrived = pipe.lines().size();
  ASSERT_LT(arrived, written);
  json.info("a", "again");
  EXPECT_THAT(pipe.read_all(), HasSubstr("\"lines_lost\":" + std::to_string(written - arrived)));
}

TEST_F(LogTest, PipeWithoutReaderCostsNoSignal) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  close(ends[0]);
  Log log(clock, ends[1], LogFormat::json, LogLevel::info);
  log.info("a", "b");
  close(ends[1]);
}

TEST_F(LogTest, LinesOfSeveralThreadsDoNotMix) {
  std::vector<std::thread> threads;
  std::vector<std::string> lines;
  fcntl(pipe.fd(), F_SETPIPE_SZ, 1 << 20);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 200; ++i) json.info("thread", "line", {{"t", t}, {"text", std::string(200, 'x')}});
    });
  }
  for (auto& thread : threads) thread.join();
  lines = pipe.lines();
  EXPECT_EQ(lines.size(), 800u);
  for (const std::string& line : lines) EXPECT_THAT(line, AllOf(StartsWith("{\"time\""), EndsWith("x\"}")));
}

}  // namespace
}  // namespace tertulia
