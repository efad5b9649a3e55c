// A world of one seed: nodes, a database, a bus, clients, and the faults that befall them; first a phase of faults,
// then a phase of healing in which everybody must arrive at the head. Then it is judged.
//
// Everything is decided by the seed: how many there are of what, which faults may happen, and when each does.
// Thread: one. Memory: some MiB; all of it goes with the world.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "client.h"
#include "model_bus.h"
#include "node/node.h"
#include "oracle.h"
#include "scheduler.h"
#include "store/cluster/cluster_store.h"
#include "store/cluster/model_database.h"
#include "trace.h"
#include "wire.h"

namespace tertulia::simulation {

struct WorldResult {
  size_t faults = 0;
  uint64_t hash = 0;
  uint64_t steps = 0;
  std::vector<std::string> trace;
  // How often things happened, over the whole run: a simulation in which nothing happens finds nothing.
  size_t messages = 0, acks = 0, resets = 0, kills = 0, pauses = 0, cuts = 0, failovers = 0, restores = 0, lost = 0;
  int64_t healed_in_us = 0;
};

class World final : private Doors {
 public:
  enum Kind : uint32_t {
    kills = 1,
    pauses = 2,
    store_cuts = 4,
    bus_cuts = 8,
    bus_losses = 16,
    deafness = 32,
    call_faults = 64,
    failovers = 128,
    restores = 256,
    client_faults = 512,
    leaving = 1024,
    slowness = 2048,
    rivals = 4096,
    small_windows = 8192,
    deposed_lives = 16384,
    fine_day = 1U << 31,
  };
  // What is broken on purpose.
  using Break = void (*)(cluster::ModelServers::Traits&);
  // `kinds`: faults that may happen, whatever the seed says; 0: as the seed says.
  World(uint64_t seed, bool keep_trace, bool print, Break broken = nullptr, uint32_t kinds = 0);
  ~World();
  WorldResult run();

 private:
  struct Server;
  bool may(Kind kind) const { return (kinds_ & kind) != 0; }

  std::shared_ptr<Wire> connect(WireClient& client, Dialect dialect, const std::string& who) override;

  void boot(int index);
  void kill(int index);
  void end_server(const std::shared_ptr<Server>& server);  // in a strand
  cluster::ModelFault step_of(Server& server, const cluster::ModelStep& step);

  void plan();
  void befall();
  void heal();
  bool all_well() const;
  void expect_everywhere(const std::string& room, Sequence sequence);
  void judge();

  const uint64_t seed_;
  Scheduler scheduler_;
  Trace trace_;
  Oracle* oracle_ = nullptr;
  std::shared_ptr<cluster::ModelServers> database_;
  std::unique_ptr<Oracle> own_oracle_;
  BusNet net_;
  uint32_t kinds_ = 0;
  int64_t call_fault_permille_ = 0;
  bool slow_ = false, healing_ = false, deposed_ = false;
  int64_t faults_end_us_ = 0;
  size_t nodes_count_ = 0, shards_count_ = 1;
  Options options_;
  StoreOptions store_options_;
  std::vector<std::string> rooms_;
  std::vector<std::shared_ptr<Server>> servers_;  // by number: who runs there now
  std::list<std::shared_ptr<Server>> all_servers_;
  std::vector<std::unique_ptr<Client>> clients_;
  int log_fd_ = -1;
  WorldResult result_;
};

}  // namespace tertulia::simulation
