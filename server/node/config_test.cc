#include "node/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "base/testing.h"
#include "node/settings.h"

namespace tertulia {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class ConfigTest : public testing::Test {
 public:
  std::string path(const char* name = "t.toml") const { return directory_ / name; }
  void file_says(const std::string& text) { std::ofstream(path()) << text; }

  static std::variant<Config, ExitWith> run(const std::vector<std::string>& arguments,
                                            const Environment& environment = {}) {
    return parse(arguments, environment);
  }
  // What it gets: a good configuration, or a failed test.
  static Config good(const std::vector<std::string>& arguments, const Environment& environment = {}) {
    auto result = run(arguments, environment);
    if (const auto* ended = std::get_if<ExitWith>(&result)) {
      ADD_FAILURE() << ended->text;
      return {};
    }
    return std::get<Config>(std::move(result));
  }
  static ExitWith ended(const std::vector<std::string>& arguments, const Environment& environment = {}) {
    auto result = run(arguments, environment);
    if (std::holds_alternative<Config>(result)) {
      ADD_FAILURE() << "was taken for good";
      return {};
    }
    return std::get<ExitWith>(std::move(result));
  }

 private:
  TemporaryDirectory directory_;
};

TEST_F(ConfigTest, WithoutAnythingTheDefaultsHold) {
  const Config config = good({"serve"});
  EXPECT_EQ(config.command, Command::serve);
  EXPECT_EQ(config.options.listen, "127.0.0.1:8080");
  EXPECT_EQ(config.options.live, Options::Live{});
  for (const auto& [name, origin] : config.origins) EXPECT_EQ(origin.kind, Origin::Kind::by_default) << name;
  EXPECT_EQ(config.origins.size(), settings().size());
}

TEST_F(ConfigTest, TheLineOfTheIssueIsUnderstood) {
  file_says("");
  const Config config = good({"serve",
                              "--listen",
                              "0.0.0.0:1",
                              "--internal-listen",
                              "127.0.0.1:9090",
                              "--data-dir",
                              "./data",
                              "--store",
                              "memory",
                              "--bus",
                              "local",
                              "--shards",
                              "3",
                              "--max-messages-history",
                              "50",
                              "--drain-window",
                              "3s",
                              "--rate-limits",
                              "off",
                              "--allowed-origins",
                              "https://a.example,http://b.example:8080",
                              "--trusted-proxies",
                              "10.0.0.0/8",
                              "--trusted-proxies",
                              "fd00::/8,192.0.2.1",
                              "--log-format",
                              "json",
                              "--config",
                              path()});
  const Options& options = config.options;
  EXPECT_EQ(options.listen, "0.0.0.0:1");
  EXPECT_EQ(options.store, "memory");
  EXPECT_EQ(options.shards, 3u);
  EXPECT_EQ(options.live.max_messages_history, 50u);
  EXPECT_EQ(options.drain_window_ms, 3'000);
  EXPECT_FALSE(options.live.rate_limits);
  EXPECT_THAT(options.allowed_origins, ElementsAre("https://a.example", "http://b.example:8080"));
  EXPECT_THAT(options.trusted_proxies, ElementsAre("10.0.0.0/8", "fd00::/8", "192.0.2.1"));
  EXPECT_EQ(options.log_format, "json");
}

TEST_F(ConfigTest, FlagsGoBeforeEnvironmentBeforeFileBeforeDefaults) {
  file_says("# comment\nshards = 3\ndrain-window = \"3s\"\nname-grace = \"3s\"\n");
  const Environment environment = {
      {"TERTULIA_SHARDS", "4"}, {"TERTULIA_DRAIN_WINDOW", "4s"}, {"TERTULIA_CONFIG", path()}, {"HOME", "/root"}};
  const Config config = good({"serve", "--shards", "5"}, environment);
  EXPECT_EQ(config.options.shards, 5u);
  EXPECT_EQ(config.options.drain_window_ms, 4'000);
  EXPECT_EQ(config.options.name_grace_ms, 3'000);
  EXPECT_EQ(config.options.heartbeat_ms, 20'000);
  EXPECT_EQ(config.origins.at("shards").where, "--shards");
  EXPECT_EQ(config.origins.at("drain-window").where, "TERTULIA_DRAIN_WINDOW");
  EXPECT_EQ(config.origins.at("name-grace").where, path() + ":4");
  EXPECT_EQ(config.origins.at("heartbeat").kind, Origin::Kind::by_default);
}

TEST_F(ConfigTest, TheFlagNamesTheFileEvenWhenAVariableDoes) {
  file_says("shards = 3\n");
  EXPECT_EQ(good({"serve", "--config", path()}, {{"TERTULIA_CONFIG", "/does/not/exist"}}).options.shards, 3u);
}

TEST_F(ConfigTest, FileTakesEveryTypeThatFits) {
  file_says(R"(
    rate-limits = false
    proxy-protocol = "on"
    max-messages-history = 7
    session-messages-per-second = 0.5
    session-bytes-per-second = 4096
    tail-bytes-max = "2MiB"
    allowed-origins = ["https://a.example", "https://b.example"]
    trusted-proxies = "10.0.0.0/8"
  )");
  const Options options = good({"serve", "--config", path()}).options;
  EXPECT_FALSE(options.live.rate_limits);
  EXPECT_TRUE(options.proxy_protocol);
  EXPECT_EQ(options.live.max_messages_history, 7u);
  EXPECT_EQ(options.live.session_messages_per_second, 0.5);
  EXPECT_EQ(options.live.session_bytes_per_second, 4096);
  EXPECT_EQ(options.tail_bytes_max, 2u << 20);
  EXPECT_THAT(options.allowed_origins, ElementsAre("https://a.example", "https://b.example"));
  EXPECT_THAT(options.trusted_proxies, ElementsAre("10.0.0.0/8"));
}

TEST_F(ConfigTest, WrongFileSaysWhatWhereAndWhatToDo) {
  struct Case {
    const char* text;
    std::vector<const char*> says;
  };
  const Case cases[] = {
      {"\ndrain_window = \"2s\"", {"t.toml:2", "drain_window is no setting", "did you mean drain-window?"}},
      {"max-message-history = 2", {"t.toml:1", "did you mean max-messages-history?"}},
      {"colour = \"blue\"", {"colour is no setting", "serve --help"}},
      {"drain-window = 2", {"t.toml:1: drain-window", "\"2\" is no duration", "2s"}},
      {"drain-window = \"2h\"", {"not within 0 and 1h"}},
      {"shards = 0", {"shards: 0 is not within 1 and 64"}},
      {"shards = -1", {"shards: \"-1\" is no whole number"}},
      {"shards = 1.5", {"shards: \"1.5\" is no whole number"}},
      {"shards = [2]", {"a list holds texts"}},
      {"listen = [\"127.0.0.1:1\"]", {"listen: takes one value, not a list"}},
      {"tail-bytes-max = \"2MB\"", {"\"2MB\" is no size", "64KiB"}},
      {"[limits]\nshards = 1", {"there are no sections"}},
      {"limits.shards = 1", {"limits"}},
      {"shards = 2 2", {"t.toml:1: not TOML"}},
      {"a = 1\nshards = 2\nshards = 3", {"t.toml:3: not TOML"}},
      {"listen = 127.0.0.1:8080", {"t.toml:1: not TOML", "in quotes"}},
      {"listen = 1979-05-27", {"dates and times"}},
      {"\"\\u001b[31m\" = 1", {"\\u001b[31m is no setting"}},
  };
  for (const Case& each : cases) {
    file_says(each.text);
    const ExitWith result = ended({"check-config", "--config", path()});
    EXPECT_EQ(result.code, 2) << each.text;
    for (const char* part : each.says) EXPECT_THAT(result.text, HasSubstr(part)) << each.text;
  }
}

TEST_F(ConfigTest, FileThatCannotBeReadOrIsHugeIsRefused) {
  EXPECT_THAT(ended({"serve", "--config", path("none")}).text,
              AllOf(HasSubstr("cannot open"), HasSubstr("No such file")));
  EXPECT_THAT(ended({"serve", "--config", std::filesystem::path(path()).parent_path()}).text,
              HasSubstr("Is a directory"));
  file_says(std::string(65'537, '\n'));
  EXPECT_THAT(ended({"serve", "--config", path()}).text, HasSubstr("larger than 64 KiB"));
  file_says(std::string(65'536, '\n'));
  EXPECT_THAT(good({"serve", "--config", path()}).notices, IsEmpty());
}

TEST_F(ConfigTest, DeepFilesDoNotExhaustTheStack) {
  std::string dotted, nested(60'000, '[');
  for (int i = 0; i < 30'000; ++i) dotted += "a.";
  std::string lines_of_dots;
  for (int i = 0; i < 990; ++i) lines_of_dots += "a.";
  for (const std::string& text :
       {dotted + "a = 1", "[" + dotted + "a]", "a = {" + dotted + "a = 1}", "a = " + nested, lines_of_dots + "a = 1",
        "[" + lines_of_dots + "a]\n" + lines_of_dots + "a = 1", "a = \"" + std::string(50'000, '.') + "\""}) {
    file_says(text);
    EXPECT_EQ(ended({"serve", "--config", path()}).code, 2) << text.substr(0, 20);
  }
}

TEST_F(ConfigTest, WrongValuesInFlagsAndVariablesAreNamed) {
  struct Case {
    const char* setting;
    const char* value;
    const char* says;
  };
  const Case cases[] = {
      {"listen", "8080", "write HOST:PORT"},
      {"listen", ":8080", "write HOST:PORT"},
      {"listen", "127.0.0.1:65536", "no port"},
      {"listen", "::1:8080", "[::1]:8080"},
      {"listen", "[::g]:8080", "no address"},
      {"listen", "a b:1", "no address"},
      {"listen", "", "no address"},
      {"data-dir", "", "is empty"},
      {"store", "redis", "sqlite|memory"},
      {"bus", "nats", "none of local"},
      {"bus", "http://a", "none of local"},
      {"bus", "nats://a:x", "server 1 of the list has a port"},
      {"bus", "nats://a,,b", "server 2 of the list names no host"},
      {"log-format", "xml", "auto|json|plain"},
      {"rate-limits", "yes", "neither on nor off"},
      {"allowed-origins", "chat.example.org", "no origin"},
      {"allowed-origins", "https://a.example/", "no origin"},
      {"allowed-origins", "https://*.example", "no origin"},
      {"allowed-origins", "null", "no origin"},
      {"trusted-proxies", "10.0.0.0/33", "no network"},
      {"trusted-proxies", "10.0.0", "no network"},
      {"trusted-proxies", "fd00::/129", "no network"},
      {"session-messages-per-second", "nan", "no number"},
      {"session-messages-per-second", "inf", "no number"},
      {"session-messages-per-second", "0", "not within"},
      {"session-messages-burst", "0.5", "not within 1 and"},
      {"max-messages-history", "1001", "not within 0 and 1000"},
      {"message-bytes-max", "2MiB", "not within 1KiB and 1MiB"},
  };
  for (const Case& each : cases) {
    const Setting& setting = *find_setting(each.setting);
    const ExitWith by_flag = ended({"serve", std::string("--") + each.setting, each.value});
    EXPECT_THAT(by_flag.text, AllOf(HasSubstr(std::string("--") + each.setting + ": "), HasSubstr(each.says)));
    const ExitWith by_variable = ended({"serve"}, {{setting.variable(), each.value}});
    EXPECT_THAT(by_variable.text, AllOf(HasSubstr(setting.variable() + ": "), HasSubstr(each.says)));
    EXPECT_EQ(by_flag.code, 2);
    EXPECT_EQ(by_variable.code, 2);
  }
}

TEST_F(ConfigTest, WhatStandsBeforeTheHostOfAUrlIsShownToNobody) {
  EXPECT_EQ(without_credentials("postgresql://ana:p/w,@x@db.example:5432/chat?sslmode=require"),
            "postgresql://***@db.example:5432/chat?sslmode=require");
  EXPECT_EQ(without_credentials("postgresql://db/chat?user=ana&PassWord=s3cret&sslpassword=key&x=1"),
            "postgresql://db/chat?user=ana&PassWord=***&sslpassword=***&x=1");
  EXPECT_EQ(without_credentials("nats://t0ken@a:4222,nats://u:p@b:4222,nats://c"),
            "nats://***@a:4222,nats://***@b:4222,nats://c");
  EXPECT_EQ(without_credentials("nats://u:p@a,v:q@b"), "nats://***@b");
  EXPECT_EQ(without_credentials("mongodb://a,b/chat"), "mongodb://a,b/chat");
  EXPECT_EQ(without_credentials("sqlite"), "sqlite");

  const Environment environment = {{"TERTULIA_STORE", "postgresql://ana:s3cret@db/chat"},
                                   {"TERTULIA_BUS", "nats://s3cret@a,b"}};
  EXPECT_EQ(good({"serve"}, environment).options.store, "postgresql://ana:s3cret@db/chat");
  const ExitWith printed = ended({"print-config"}, environment);
  EXPECT_THAT(printed.text, AllOf(HasSubstr("store = \"postgresql://***@db/chat\""), Not(HasSubstr("s3cret"))));
  for (const std::vector<std::string>& wrong :
       {std::vector<std::string>{"serve", "--store", "postgress://ana:s3cret@db/chat"},
        {"serve", "postgresql://ana:s3cret@db/chat"},
        {"serve", "--stor=postgresql://ana:s3cret@db/chat"},
        {"serve", "--store", "sqlite", "--bus", "nats://s3cret@a"}}) {
    const ExitWith told = ended(wrong);
    EXPECT_EQ(told.code, 2);
    EXPECT_THAT(told.text, Not(HasSubstr("s3cret")));
  }
}

TEST_F(ConfigTest, NodesShareAStoreBeforeTheyShareABusAndALeaseOutlivesALateRenewal) {
  EXPECT_THAT(ended({"serve", "--bus", "nats://a"}).text,
              AllOf(HasSubstr("bus (nats://a, flag --bus) needs a store that all nodes share"), HasSubstr("sqlite")));
  EXPECT_THAT(good({"serve", "--store", "mongodb://db/chat", "--bus", "nats://a,b"}).notices, IsEmpty());
  EXPECT_THAT(good({"serve", "--store", "mongodb://db/chat"}).notices, ElementsAre(HasSubstr("bus is local")));
  EXPECT_THAT(good({"serve", "--store", "mongodb://db/chat", "--bus", "nats://a", "--data-dir", "d"}).notices,
              ElementsAre(HasSubstr("data-dir is not used")));
  EXPECT_THAT(ended({"serve", "--lease", "4s"}).text,
              HasSubstr("lease (4s, flag --lease) must be longer than twice lease-renew (2s, default)"));
  EXPECT_EQ(good({"serve", "--lease", "4001ms"}).options.lease_ms, 4'001);
}

TEST_F(ConfigTest, EveryFormOfAddressIsTaken) {
  for (const char* address :
       {"127.0.0.1:0", "0.0.0.0:8080", "[::]:8080", "[::1]:65535", "localhost:80", "chat.example.org:80"}) {
    EXPECT_EQ(good({"serve", "--listen", address}).options.listen, address);
    EXPECT_EQ(good({"serve", std::string("--listen=") + address}).options.listen, address);
  }
}

TEST_F(ConfigTest, WrongCommandLinesSayWhatToDo) {
  struct Case {
    std::vector<std::string> arguments;
    const char* says;
  };
  const Case cases[] = {
      {{}, "serve"},
      {{"sevre"}, "sevre is no command"},
      {{"serve", "--drain-widow", "2s"}, "--drain-widow is no option; did you mean --drain-window?"},
      {{"serve", "--max_messages_history=3"}, "did you mean --max-messages-history?"},
      {{"serve", "--colour", "blue"}, "--colour is no option"},
      {{"serve", "extra"}, "extra is one argument too many"},
      {{"serve", "--shards"}, "--shards"},
      {{"serve", "--shards", "1", "--shards", "2"}, "--shards is given twice"},
      {{"--shards", "1"}, "stands behind a command"},
      {{"backup"}, "DIR"},
      {{"backup", "copy", "--shards", "2"}, "--shards means nothing to `tertulia backup`"},
      {{"drain", "--listen", "127.0.0.1:1"}, "means nothing to `tertulia drain`"},
      {{"serve", "-x"}, "-x is no option"},
      {{"serve", "-"}, "is"},
      {{"serve", "\x1b[31m"}, "\\u001b[31m"},
  };
  for (const Case& each : cases) {
    const ExitWith result = ended(each.arguments);
    EXPECT_EQ(result.code, 2);
    EXPECT_THAT(result.text, HasSubstr(each.says));
  }
}

TEST_F(ConfigTest, AllErrorsAreToldAtOnce) {
  file_says("colour = 1\nshards = 0\n");
  const ExitWith result = ended({"serve", "--config", path(), "--listen", "x"}, {{"TERTULIA_HEARTBEAT", "1"}});
  EXPECT_THAT(result.text,
              AllOf(HasSubstr("colour"), HasSubstr("shards"), HasSubstr("--listen"), HasSubstr("TERTULIA_HEARTBEAT")));
}

TEST_F(ConfigTest, VariablesOfOthersAreLeftAloneAndNearMissesAreNoticed) {
  const Config config = good({"serve"}, {{"TERTULIA_PORT_8080_TCP_ADDR", "10.0.0.1"},
                                         {"TERTULIA_SERVICE_HOST", "10.0.0.1"},
                                         {"TERTULIA_DRAIN_WINDOWS", "2s"}});
  EXPECT_THAT(config.notices,
              ElementsAre(AllOf(HasSubstr("TERTULIA_DRAIN_WINDOWS"), HasSubstr("TERTULIA_DRAIN_WINDOW?"))));
}

TEST_F(ConfigTest, BrokenRelationsNameBothSidesAndWhereTheyComeFrom) {
  struct Case {
    std::vector<std::string> arguments;
    std::vector<const char*> says;
  };
  const Case cases[] = {
      {{"--silent", "10s"}, {"ping-interval (15s, default)", "silent (10s, flag --silent)", "pong"}},
      {{"--classic-silent", "10s"}, {"ping-interval", "classic-silent (10s"}},
      {{"--message-bytes-max", "128KiB", "--tail-bytes-max", "64KiB"},
       {"message-bytes-max (128KiB", "tail-bytes-max (64KiB"}},
      {{"--session-bytes-burst", "32KiB"}, {"message-bytes-max (64KiB, default)", "never be read"}},
      {{"--session-messages-per-second", "500"}, {"address-messages-per-second (400, default)"}},
      {{"--session-messages-burst", "5000"}, {"address-messages-burst"}},
      {{"--session-bytes-per-second", "9MiB"}, {"address-bytes-per-second"}},
      {{"--session-bytes-burst", "33MiB"}, {"address-bytes-burst"}},
      {{"--internal-listen", "127.0.0.1:8080"}, {"internal-listen (127.0.0.1:8080", "not for the public"}},
      {{"--proxy-protocol", "on"}, {"needs trusted-proxies"}},
  };
  for (const Case& each : cases) {
    std::vector<std::string> arguments = {"serve"};
    arguments.insert(arguments.end(), each.arguments.begin(), each.arguments.end());
    const ExitWith result = ended(arguments);
    EXPECT_EQ(result.code, 2);
    for (const char* part : each.says) EXPECT_THAT(result.text, HasSubstr(part));
  }
  good({"serve", "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"});
}

TEST_F(ConfigTest, PrintedConfigurationSaysTheOriginAndReadsBackAsItself) {
  file_says("name-grace = \"3s\"\n");
  const std::vector<std::string> flags = {"--config",
                                          path(),
                                          "--allowed-origins",
                                          "https://a.example,https://b.example",
                                          "--data-dir",
                                          "/tmp/a \"b\" \\ \x01",
                                          "--session-messages-per-second",
                                          "0.1"};
  std::vector<std::string> arguments = {"print-config"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const ExitWith printed = ended(arguments, {{"TERTULIA_SHARDS", "4"}});
  EXPECT_EQ(printed.code, 0);
  EXPECT_THAT(printed.text, testing::ContainsRegex("name-grace = \"3s\" +# file .*t.toml:1\n"));
  EXPECT_THAT(printed.text, testing::ContainsRegex("shards = 4 +# environment TERTULIA_SHARDS\n"));
  EXPECT_THAT(printed.text, testing::ContainsRegex("allowed-origins = .* +# flag --allowed-origins\n"));
  EXPECT_THAT(printed.text, testing::ContainsRegex("heartbeat = \"20s\" +# default\n"));

  arguments[0] = "serve";
  const Config first = good(arguments, {{"TERTULIA_SHARDS", "4"}});
  file_says(printed.text);
  const Config second = good({"serve", "--config", path()});
  for (const Setting& setting : settings()) {
    EXPECT_EQ(setting.show(first.options), setting.show(second.options)) << setting.name;
  }
}

TEST_F(ConfigTest, EverySettingHasAUniqueNameAndReadsWhatItShows) {
  std::set<std::string> names;
  const Options defaults;
  for (const Setting& setting : settings()) {
    EXPECT_TRUE(names.insert(setting.name).second) << setting.name;
    EXPECT_FALSE(setting.meaning.empty()) << setting.name;
    Options options;
    EXPECT_EQ(setting.set(options, setting.show(defaults)), "") << setting.name;
    EXPECT_EQ(setting.show(options), setting.show(defaults)) << setting.name;
    if (setting.form == "DURATION") {
      EXPECT_EQ(setting.set(options, "1s"), "");
      EXPECT_EQ(setting.show(options), "1s") << setting.name;
    }
  }
  EXPECT_EQ(broken_relations(defaults, [](std::string_view name) { return std::string(name); }),
            std::vector<std::string>{});
}

TEST_F(ConfigTest, HelpListsEverySettingWithItsDefault) {
  const ExitWith help = ended({"serve", "--help"});
  EXPECT_EQ(help.code, 0);
  for (const Setting& setting : settings()) EXPECT_THAT(help.text, HasSubstr("--" + setting.name + " " + setting.form));
  EXPECT_THAT(help.text, AllOf(HasSubstr("(2s)"), HasSubstr("[live]"), HasSubstr("SIGHUP")));
  EXPECT_THAT(ended({"--help"}).text, AllOf(HasSubstr("serve"), HasSubstr("backup"), HasSubstr("drain")));
  EXPECT_THAT(ended({"version"}).text, StartsWith("tertulia 0."));
  EXPECT_EQ(ended({"--version"}).code, 0);
}

TEST_F(ConfigTest, BackupAndDrainKnowWhatTheyNeed) {
  const Config backup = good({"backup", "copy", "--data-dir", "/tmp/d"});
  EXPECT_EQ(backup.command, Command::backup);
  EXPECT_EQ(backup.argument, "copy");
  EXPECT_EQ(backup.options.data_dir, "/tmp/d");
  const Config drain = good({"drain", "--internal-listen", "127.0.0.1:1234"});
  EXPECT_EQ(drain.command, Command::drain);
  EXPECT_EQ(drain.options.internal_listen, "127.0.0.1:1234");
}

TEST_F(ConfigTest, ReloadTakesTheLivePartAndNamesWhatNeedsARestart) {
  file_says("max-messages-history = 10\nsession-messages-per-second = 5\ndrain-window = \"3s\"\n");
  const Config running =
      good({"serve", "--config", path(), "--rate-limits", "on"}, {{"TERTULIA_SESSION_MESSAGES_BURST", "9"}});
  file_says(
      "max-messages-history = 20\nsession-messages-per-second = 6\nsession-messages-burst = 7\nrate-limits = false\n"
      "shards = 4\n");
  const auto result = reload(running, running.options.live);
  ASSERT_TRUE(std::holds_alternative<Reloaded>(result)) << std::get<std::string>(result);
  const Reloaded& reloaded = std::get<Reloaded>(result);
  EXPECT_EQ(reloaded.live.max_messages_history, 20u);
  EXPECT_EQ(reloaded.live.session_messages_per_second, 6);
  EXPECT_EQ(reloaded.live.session_messages_burst, 9) << "the environment still goes before the file";
  EXPECT_TRUE(reloaded.live.rate_limits) << "and so do flags";
  EXPECT_THAT(reloaded.changed, ElementsAre("max-messages-history", "session-messages-per-second"));
  EXPECT_THAT(reloaded.need_restart, ElementsAre("shards", "drain-window"));

  const auto again = std::get<Reloaded>(reload(running, reloaded.live));
  EXPECT_THAT(again.changed, IsEmpty());
}

TEST_F(ConfigTest, ReloadOfAWrongFileChangesNothing) {
  file_says("max-messages-history = 10\n");
  const Config running = good({"serve", "--config", path()});
  file_says("max-messages-history = 20\nshards = 0\n");
  const auto result = reload(running, running.options.live);
  ASSERT_TRUE(std::holds_alternative<std::string>(result));
  EXPECT_THAT(std::get<std::string>(result),
              AllOf(HasSubstr("t.toml:2"), HasSubstr("shards"), Not(HasSubstr("history"))));
}

TEST(Environments, AreReadAsTheProcessHasThem) {
  const char* const variables[] = {"A=1", "B=", "C", "D=x=y", nullptr};
  const Environment environment = environment_of(variables);
  EXPECT_EQ(environment, (Environment{{"A", "1"}, {"B", ""}, {"D", "x=y"}}));
}

}  // namespace
}  // namespace tertulia
