#include "planted.h"

#include <cstdint>
#include <cstdio>
#include <string>

#include "base/failpoint.h"
#include "world.h"

namespace tertulia::simulation {
namespace {

using Traits = cluster::ModelServers::Traits;

struct Planted {
  const char* what;
  const char* failpoint;  // in the nodes; null: none
  World::Break broken;    // in the database; null: not at all
  uint64_t seed;          // finds it
  uint32_t kinds = 0;     // of faults; 0: as the seed says
};

constexpr Planted all[] = {
    {"publish and ack before the commit", nullptr, [](Traits& t) { t.unsafe_answers_before_commit = true; }, 1},
    {"a commit with a warning acked", nullptr, [](Traits& t) { t.unsafe_warning_is_success = true; }, 3},
    {"a row that was found taken for proven", nullptr, [](Traits& t) { t.unsafe_needs_no_mark = true; }, 23},
    {"repeats known only in memory", nullptr, [](Traits& t) { t.unsafe_forgets_uuids = true; }, 1},
    {"a read that does not begin at what is held", nullptr, [](Traits& t) { t.unsafe_any_past_fits = true; }, 75},
    {"a mark that commits nothing", nullptr, [](Traits& t) { t.unsafe_mark_commits_nothing = true; }, 23},
    {"reset on a suspicion that nothing has confirmed", "unsafe_confirm_without_mark", nullptr, 115},
    {"a claim or a lease without the look at who won", nullptr, [](Traits& t) { t.unsafe_put_always_wins = true; }, 22},
    {"a lease that its node takes for eternal", "unsafe_lease_for_ever", [](Traits& t) { t.judges_leases = false; }, 10,
     World::pauses | World::rivals | World::leaving},
    {"a hole shown", nullptr, [](Traits& t) { t.unsafe_reads_have_holes = true; }, 2},
    {"the head read before the subscription", "unsafe_read_before_subscribing", nullptr, 21, World::fine_day},
    {"no announced heads", "unsafe_announce_nothing", nullptr, 3, World::bus_losses},
    {"no comparison when the store has returned", "unsafe_trust_the_returned_store", nullptr, 143, World::restores},
};
constexpr uint64_t seeds_max = 1'500;

}  // namespace

int run_planted() {
  int missed = 0;
  for (const Planted& planted : all) {
#ifdef TERTULIA_FAILPOINTS
    failpoint_disarm_all();
    if (planted.failpoint != nullptr) failpoint_arm(std::string(planted.failpoint) + ":1+=error");
#else
    if (planted.failpoint != nullptr) {
      std::printf("%-50s not in a release\n", planted.what);
      continue;
    }
#endif
    uint64_t seed = planted.seed;
    WorldResult result = World(seed, true, false, planted.broken, planted.kinds).run();
    // The code has changed, and with it what its seed does: another one finds it.
    if (result.faults == 0) std::printf("%s: seed %lu does not find it any more\n", planted.what, planted.seed);
    for (seed = result.faults == 0 ? 1 : seed; result.faults == 0 && seed <= seeds_max; ++seed)
      result = World(seed + 1, true, false, planted.broken, planted.kinds).run();
    if (result.faults == 0) {
      std::printf("%-50s NOT FOUND in %lu seeds\n", planted.what, seeds_max);
      ++missed;
      continue;
    }
    std::string fault;
    for (const std::string& line : result.trace)
      if (fault.empty() && line.find("FAULT") != std::string::npos) fault = line.substr(line.find("FAULT") + 6);
    std::printf("%-50s seed %5lu: %s\n", planted.what, seed, fault.c_str());
  }
#ifdef TERTULIA_FAILPOINTS
  failpoint_disarm_all();
#endif
  return missed == 0 ? 0 : 1;
}

}  // namespace tertulia::simulation
