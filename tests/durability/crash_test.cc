// Nothing that anybody was told is ever lost: not by kills, not by disks that fail, not when afterwards the power goes.
//
// A seed is a story: a few cycles of one to three sessions (processes) each, most of them killed at a failpoint or
// disturbed by an error, then a loss of power that keeps none, all or any part of what was written and not synced.
// After each the store is opened and everything in the journal is looked for. TERTULIA_SEED=n tells one story again;
// TERTULIA_SEEDS=n tells so many.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/random.h"
#include "base/testing.h"
#include "crash_session.h"
#include "crash_vfs.h"
#include "store/open_store.h"
#include "store/store_testing.h"

namespace tertulia {
namespace {

std::string own_path;

class Story {
 public:
  Story(uint64_t seed, Mutation mutation) : random_(seed), mutation_(mutation) {
    std::filesystem::create_directory(disk());
  }
  Story(const Story&) = delete;
  Story& operator=(const Story&) = delete;

  // These failpoints, one a session, and then a loss of power. Empty, or what was lost.
  std::string tell(const std::vector<std::string>& script) {
    for (std::string armed : script) {
      // The log is synced a few times at the opening and once for its header, before its first commit.
      if (size_t at = armed.find("PASS"); at != std::string::npos)
        armed.replace(at, 4, std::to_string(4 + random_.below(3)));
      std::string wrong = session(armed);
      if (!wrong.empty()) return wrong;
    }
    return power_goes(Lost::any_part);
  }
  // A story by chance. Empty, or what was lost.
  std::string tell() {
    for (uint64_t cycles = 1 + random_.below(3); cycles > 0; --cycles) {
      for (uint64_t sessions = 1 + random_.below(3); sessions > 0; --sessions) {
        std::string wrong = session(failpoint());
        if (!wrong.empty()) return wrong;
      }
      constexpr Lost kLost[] = {Lost::everything, Lost::nothing, Lost::any_part, Lost::any_part};
      std::string wrong = power_goes(kLost[random_.below(4)]);
      if (!wrong.empty()) return wrong;
    }
    return "";
  }
  const std::string& log() const { return log_; }

 private:
  std::string data_dir() const { return place_ / "data"; }
  std::string disk() const { return place_ / "disk"; }
  std::string journal() const { return place_ / "journal"; }

  std::string failpoint() {
    const std::string pass = std::to_string(1 + random_.below(12));
    switch (random_.below(14)) {
      case 0:
      case 1:
      case 2: return "in_wal_sync:" + pass + "=kill";
      case 3: return "before_commit:" + pass + "=kill";
      case 4: return "first_row_inserted:" + pass + "=kill";
      case 5: return "after_commit_before_answer:" + pass + "=kill";
      case 6: return "in_checkpoint:" + std::to_string(1 + random_.below(3)) + "=kill";
      case 7: return "while_opening=kill";
      case 8: return "in_wal_sync:" + pass + "=error";
      case 9: return "in_checkpoint:" + std::to_string(1 + random_.below(3)) + "=error";
      case 10: return "in_wal_sync:" + pass + "=error,while_opening:2=kill";
      case 11: return "disk_broken:" + std::to_string(20 + random_.below(100)) + "=error";
      default: return "";
    }
  }

  std::string power_goes(Lost lost) {
    log_ += lost == Lost::everything ? "power lost, everything unsynced too; "
            : lost == Lost::nothing  ? "power lost, nothing else; "
                                     : "power lost, and any part of what was unsynced; ";
    lose_power(data_dir(), disk(), lost, random_);
    std::string wrong = verify();
    forget_disk(disk());
    return wrong;
  }

  // Runs one in a process of its own. Empty unless something is wrong.
  std::string session(const std::string& armed) {
    const std::string seed = std::to_string(random_.next());
    const std::string mutation = std::to_string(static_cast<int>(mutation_));
    const std::string resend_only = random_.below(3) == 0 ? "1" : "0", ends_well = random_.below(5) == 0 ? "1" : "0";
    log_ += "session (" + (armed.empty() ? "undisturbed" : armed) + (resend_only == "1" ? ", only resends" : "") +
            (ends_well == "1" ? ", ends well" : "") + "); ";
    const std::vector<std::string> words = {own_path, "--session", data_dir(),  disk(),   journal(),
                                            seed,     mutation,    resend_only, ends_well};
    std::vector<char*> args;
    for (const std::string& word : words) args.push_back(const_cast<char*>(word.c_str()));
    args.push_back(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("TERTULIA_FAILPOINT", armed.c_str(), 1);
      if (armed.empty()) ::unsetenv("TERTULIA_FAILPOINT");
      ::execv(own_path.c_str(), args.data());
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return "";
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "";
    // A start into a failing disk may be given up, with a sentence.
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3 && armed.find("error") != std::string::npos) return "";
    return "a session ended with status " + std::to_string(status);
  }

  // Opens the store as after the power came back, and looks for everything that was told.
  std::string verify() {
    SystemClock clock;
    StoreOptions options;
    OpenedStore opened = open_store("sqlite", data_dir(), options, clock);
    if (opened.store == nullptr) return opened.error;
    testing_store::Caller caller(*opened.store);
    std::map<std::string, std::vector<Row>> logs;
    for (int r = 0; r < kRooms; ++r) {
      const std::string room = room_of(r);
      Rows rows = caller.read_all(room);
      if (rows.status != Rows::Status::ok) return room + " cannot be read";
      Position at{0, chain_start(room)};
      std::set<std::string> uuids;
      for (const Row& row : rows.rows) {
        if (row.before() != at || row.chain != chain_next(at.chain, row.sequence, row.message)) {
          return room + " is broken at " + std::to_string(row.sequence);
        }
        if (!uuids.insert(row.message.uuid).second) return row.message.uuid + " is stored twice";
        at = row.position();
      }
      if (rows.head != at) return room + " has rows that cannot be read";
      logs[room] = std::move(rows.rows);
    }
    for (const Journal::Told& told : Journal::read(journal()).told) {
      const std::vector<Row>& log = logs[told.room];
      const std::string what =
          told.uuid.empty() ? "what was shown of " + told.room : told.uuid + ", acked in " + told.room;
      const std::string where = " at " + std::to_string(told.position.sequence);
      if (told.position.sequence > log.size()) return what + where + " is lost";
      const Row& row = log[told.position.sequence - 1];
      if (row.chain != told.position.chain) return what + where + " is another past";
      if (!told.uuid.empty() && row.message.uuid != told.uuid) return what + where + " is not there";
    }
    opened.store->stop(random_.below(2) == 0);
    return "";
  }

  SeededRandom random_;
  const Mutation mutation_;
  const TemporaryDirectory place_{true};  // syncs are free in memory, and the disk is simulated anyway
  std::string log_;
};

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

TEST(Crash, NothingThatAnybodyWasToldIsLost) {
  const uint64_t first = number_from("TERTULIA_SEED", SystemRandom().next() % 1'000'000'000);
  const uint64_t count = std::getenv("TERTULIA_SEED") != nullptr ? 1 : number_from("TERTULIA_SEEDS", 30);
  std::printf("seeds %llu to %llu\n", static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(first + count - 1));
  std::fflush(stdout);
  for (uint64_t seed = first; seed < first + count; ++seed) {
    Story story(seed, Mutation::none);
    const std::string lost = story.tell();
    ASSERT_EQ(lost, "") << "seed " << seed << ": " << story.log() << "\nrepeat with TERTULIA_SEED=" << seed;
  }
}

// The sync of a log's first commit fails, so its pages are called clean and are not on the disk; the process is killed
// before it has mended that; the next one is killed while it copies the log, which only the page cache holds, into the
// database.
const std::vector<std::string> kFailedSyncThenKilled = {"", "in_wal_sync:PASS=error,while_opening:2=kill",
                                                        "in_checkpoint:2=kill"};

TEST(Crash, AFailedSyncIsMendedByTheNextProcessToo) {
  const uint64_t first = number_from("TERTULIA_SEED", SystemRandom().next() % 1'000'000'000);
  for (uint64_t seed = first; seed < first + 10; ++seed) {
    Story story(seed, Mutation::none);
    ASSERT_EQ(story.tell(kFailedSyncThenKilled), "") << "seed " << seed << ": " << story.log();
  }
}

struct Mutant {
  const char* name;
  Mutation mutation;
  std::vector<std::string> script;  // empty: stories by chance
};

class CrashMutation : public testing::TestWithParam<Mutant> {};

// The test is worth something only if it fails where the promise is broken on purpose.
TEST_P(CrashMutation, IsFound) {
  const uint64_t first = SystemRandom().next() % 1'000'000'000;
  constexpr uint64_t kSeedsMax = 300;
  for (uint64_t seed = first; seed < first + kSeedsMax; ++seed) {
    Story story(seed, GetParam().mutation);
    const std::string lost = GetParam().script.empty() ? story.tell() : story.tell(GetParam().script);
    if (lost.empty()) continue;
    std::printf("found with seed %llu, the %llu. tried: %s\n  %s\n", static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(seed - first + 1), lost.c_str(), story.log().c_str());
    return;
  }
  FAIL() << "seeds " << first << " to " << first + kSeedsMax - 1 << " found no loss";
}

INSTANTIATE_TEST_SUITE_P(, CrashMutation,
                         testing::Values(Mutant{"SynchronousOff", Mutation::synchronous_off, {}},
                                         Mutant{"AnswerBeforeCommit", Mutation::answer_before_commit, {}},
                                         Mutant{"NoSyncAtOpening", Mutation::no_sync_at_opening, {}},
                                         Mutant{"NoWriteBack", Mutation::no_write_back, kFailedSyncThenKilled}),
                         [](const auto& mutant) { return mutant.param.name; });

}  // namespace
}  // namespace tertulia

int main(int argc, char** argv) {
  if (argc == 9 && std::string(argv[1]) == "--session") {
    tertulia::Session session;
    session.data_dir = argv[2];
    session.disk = argv[3];
    session.journal = argv[4];
    session.seed = std::strtoull(argv[5], nullptr, 10);
    session.mutation = static_cast<tertulia::Mutation>(std::atoi(argv[6]));
    session.resend_only = argv[7][0] == '1';
    session.ends_well = argv[8][0] == '1';
    tertulia::run_session(session);
  }
  testing::InitGoogleTest(&argc, argv);
  tertulia::own_path = std::filesystem::read_symlink("/proc/self/exe").string();
  return RUN_ALL_TESTS();
}
