// The bus of the simulation: loses, repeats and reorders what goes from node to node, and is cut when told, between two
// nodes (in one direction, which neither notices) or from a node altogether (which it does notice).
//
// Thread: one. Ends: each bus before the net, and after its node.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bus/bus.h"
#include "bus/local_bus.h"
#include "scheduler.h"

namespace tertulia::simulation {

class ModelBus;

struct BusNet {
  explicit BusNet(Scheduler& s) : scheduler(s) {}
  Scheduler& scheduler;
  int64_t lose_percent = 0, repeat_percent = 0;
  int64_t delay_max_us = 2'000;
  std::set<std::pair<int, int>> deaf;  // (from, to): nothing comes through
  std::vector<ModelBus*> buses;
};

class ModelBus final : public Bus {
 public:
  ModelBus(BusNet& net, int node, std::shared_ptr<Process> process);
  ~ModelBus() override;

  void set_connected(bool connected);
  bool connected() const { return connected_; }

  void subscribe(const std::string& room, BusSubscriber& subscriber, Function<void()> ready) override;
  void unsubscribe(const std::string& room, BusSubscriber& subscriber) override;
  void publish(std::shared_ptr<const BusItem> item, const BusSubscriber& from) override;
  void publish(std::shared_ptr<const BusItem> item) override;
  void watch(BusWatcher* watcher, Executor* executor) override;
  void beat(const std::string& node) override;
  std::string trouble() const override { return connected_ ? "" : "cut off, by the simulation"; }

 private:
  class Nothing;
  // To each other bus: `arrive` runs there, perhaps never, perhaps twice.
  template <class Arrive>
  void send(Arrive arrive);
  void tell(Function<void(BusWatcher&)> what);

  BusNet& net_;
  const int node_;
  const std::shared_ptr<Process> process_;
  LocalBus local_;
  bool connected_ = true;
  uint64_t connection_ = 1;              // what is under way ends with it
  std::map<std::string, int> interest_;  // as the other nodes' messages meet it
  BusWatcher* watcher_ = nullptr;
  Executor* executor_ = nullptr;
};

}  // namespace tertulia::simulation
