// Runs worlds, one seed after another:
//
//   simulation                      2,000 seeds from the first (50,000 with TERTULIA_TEST_LONG=1)
//   simulation FIRST COUNT          these
//   simulation --planted            promises broken on purpose: each must be found (most need a build with failpoints)
//   simulation --seed N             one, told line by line as it happens, with the logs of its nodes
//
// A seed that finds a fault is told with what happened in it, and how to repeat it. The first seeds are run twice, and
// must be the same to the letter.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "planted.h"
#include "world.h"

using tertulia::simulation::World;
using tertulia::simulation::WorldResult;

namespace {

bool run_seed(uint64_t seed, WorldResult& sum) {
  const WorldResult result = World(seed, false, false).run();
  sum.messages += result.messages;
  sum.acks += result.acks;
  sum.resets += result.resets;
  sum.kills += result.kills;
  sum.pauses += result.pauses;
  sum.cuts += result.cuts;
  sum.failovers += result.failovers;
  sum.restores += result.restores;
  sum.lost += result.lost;
  sum.steps += result.steps;
  sum.healed_in_us = std::max(sum.healed_in_us, result.healed_in_us);
  if (result.faults == 0) return true;
  const WorldResult again = World(seed, true, false).run();
  std::printf("seed %lu found a fault. What happened:\n", static_cast<unsigned long>(seed));
  for (const std::string& line : again.trace) std::printf("  %s\n", line.c_str());
  std::printf("seed %lu: to repeat it, with the logs of its nodes: simulation --seed %lu\n",
              static_cast<unsigned long>(seed), static_cast<unsigned long>(seed));
  if (again.hash != result.hash) std::printf("seed %lu is not the same twice\n", static_cast<unsigned long>(seed));
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc == 3 && std::strcmp(argv[1], "--seed") == 0)
    return World(std::strtoull(argv[2], nullptr, 10), false, true).run().faults == 0 ? 0 : 1;
  if (argc == 2 && std::strcmp(argv[1], "--planted") == 0) return tertulia::simulation::run_planted();
  const bool is_long = std::getenv("TERTULIA_TEST_LONG") != nullptr;
  const uint64_t first = argc == 3 ? std::strtoull(argv[1], nullptr, 10) : 1;
  const uint64_t count = argc == 3 ? std::strtoull(argv[2], nullptr, 10) : is_long ? 50'000 : 2'000;
  std::printf("seeds %lu to %lu\n", static_cast<unsigned long>(first), static_cast<unsigned long>(first + count - 1));
  WorldResult sum;
  size_t failed = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    if (seed < first + 5) {
      const uint64_t hash = World(seed, false, false).run().hash;
      if (World(seed, false, false).run().hash != hash) {
        std::printf("seed %lu is not the same twice\n", static_cast<unsigned long>(seed));
        ++failed;
      }
    }
    if (!run_seed(seed, sum) && ++failed >= 5) break;
  }
  std::printf(
      "%zu failed; messages %zu, acks %zu, resets %zu, kills %zu, pauses %zu, cuts %zu, failovers %zu, restores %zu, "
      "calls that met a fault %zu, steps %lu, slowest healing %ld ms\n",
      failed, sum.messages, sum.acks, sum.resets, sum.kills, sum.pauses, sum.cuts, sum.failovers, sum.restores,
      sum.lost, static_cast<unsigned long>(sum.steps), static_cast<long>(sum.healed_in_us / 1000));
  return failed == 0 ? 0 : 1;
}
