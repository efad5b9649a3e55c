#include "model_bus.h"

#include <algorithm>

namespace tertulia::simulation {

ModelBus::ModelBus(BusNet& net, int node, std::shared_ptr<Process> process)
    : net_(net), node_(node), process_(std::move(process)) {
  net_.buses.push_back(this);
}

ModelBus::~ModelBus() {
  std::erase(net_.buses, this);
}

void ModelBus::set_connected(bool connected) {
  if (connected_ == connected) return;
  connected_ = connected;
  ++connection_;
  if (connected) tell([](BusWatcher& watcher) { watcher.bus_returned(); });
}

void ModelBus::tell(Function<void(BusWatcher&)> what) {
  if (executor_ == nullptr) return;
  executor_->post([this, watcher = watcher_, what = std::move(what)] {
    if (watcher != nullptr && watcher == watcher_) what(*watcher);
  });
}

void ModelBus::watch(BusWatcher* watcher, Executor* executor) {
  watcher_ = watcher;
  executor_ = executor;
}

void ModelBus::subscribe(const std::string& room, BusSubscriber& subscriber, Function<void()> ready) {
  local_.subscribe(room, subscriber, [] {});
  Scheduler& s = net_.scheduler;
  // The servers know of it half a round trip later. Without a connection nothing is to be waited for: when there is one
  // again, anything may have been missed.
  const int64_t there_us = connected_ ? s.chance.between(20, 2'000) : 1;
  s.at(
      s.now_us() + there_us, [this, room] { ++interest_[room]; }, process_);
  s.at(
      s.now_us() + there_us * 2,
      [executor = &subscriber.bus_executor(), ready = std::move(ready)]() mutable { executor->post(std::move(ready)); },
      process_);
}

void ModelBus::unsubscribe(const std::string& room, BusSubscriber& subscriber) {
  local_.unsubscribe(room, subscriber);
  if (!process_->alive) return;
  Scheduler& s = net_.scheduler;
  s.at(
      s.now_us() + 2'001, [this, room] { --interest_[room]; }, process_);
}

template <class Arrive>
void ModelBus::send(Arrive arrive) {
  if (!connected_ || !process_->alive) return;
  Scheduler& s = net_.scheduler;
  for (ModelBus* const to : net_.buses) {
    if (to == this || net_.deaf.count({node_, to->node_}) != 0 || s.chance.percent(net_.lose_percent)) continue;
    for (int copies = s.chance.percent(net_.repeat_percent) ? 2 : 1; copies > 0; --copies) {
      s.at(
          s.now_us() + s.chance.between(50, net_.delay_max_us),
          [to, connection = to->connection_, arrive] {
            if (to->connected_ && to->connection_ == connection) arrive(*to);
          },
          to->process_);
    }
  }
}

void ModelBus::publish(std::shared_ptr<const BusItem> item, const BusSubscriber& from) {
  local_.publish(item, from);
  send([item](ModelBus& to) {
    const auto interest = to.interest_.find(item->room);
    if (interest != to.interest_.end() && interest->second > 0) to.local_.publish(item);
  });
}

void ModelBus::publish(std::shared_ptr<const BusItem> item) {
  local_.publish(item);
  send([item](ModelBus& to) {
    const auto interest = to.interest_.find(item->room);
    if (interest != to.interest_.end() && interest->second > 0) to.local_.publish(item);
  });
}

void ModelBus::beat(const std::string& node) {
  send([node](ModelBus& to) { to.tell([node](BusWatcher& watcher) { watcher.bus_heard(node); }); });
}

}  // namespace tertulia::simulation
