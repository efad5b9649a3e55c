#include "bus/nats_outbox.h"

#include <utility>

#include "bus/bus_message.h"
#include "bus/local_bus.h"

namespace tertulia {
namespace {

constexpr int64_t full_pause_us = 1'000;

}  // namespace

NatsOutbox::NatsOutbox(std::unique_ptr<Worker> worker, const Limits& limits,
                       Function<void(const std::shared_ptr<NatsLink>&)> broken)
    : limits_(limits), broken_(std::move(broken)), worker_(std::move(worker)) {}

void NatsOutbox::set_link(std::shared_ptr<NatsLink> link) {
  const std::lock_guard lock(mutex_);
  link_.swap(link);  // the former ends with the argument, after the lock
}

void NatsOutbox::offer(std::shared_ptr<const BusItem> item) {
  const size_t bytes = bytes_of(*item);
  const std::lock_guard lock(mutex_);
  if (!link_ || waiting_items_ >= limits_.items_max || waiting_bytes_ + bytes > limits_.bytes_max) {
    dropped_.add();
    return;
  }
  items_.push_back(std::move(item));
  ++waiting_items_;
  waiting_bytes_ += bytes;
  wake();
}

void NatsOutbox::beat(const std::string& node) {
  const std::lock_guard lock(mutex_);
  if (!link_) return;
  beat_ = node;
  wake();
}

void NatsOutbox::stop() {
  set_link(nullptr);
  worker_->stop();
}

void NatsOutbox::wake() {
  if (awake_) return;
  awake_ = true;
  worker_->post([this] { drain(); });
}

void NatsOutbox::drain() {
  std::vector<std::shared_ptr<const BusItem>> taken;
  size_t next = 0;
  for (;;) {
    std::shared_ptr<NatsLink> link;
    std::optional<std::string> node;
    {
      const std::lock_guard lock(mutex_);
      if (next == taken.size()) {
        taken.clear();
        taken.swap(items_);
        next = 0;
      }
      link = link_;
      node.swap(beat_);
      if (taken.empty() && !node) {
        awake_ = false;
        return;
      }
    }
    if (link && node && !put(link, heartbeat_subject, encode_heartbeat(*node))) link = nullptr;
    if (taken.empty()) continue;
    const BusItem& item = *taken[next++];
    if (!link || !send(link, item)) dropped_.add();
    const std::lock_guard lock(mutex_);
    --waiting_items_;
    waiting_bytes_ -= bytes_of(item);
  }
}

bool NatsOutbox::send(const std::shared_ptr<NatsLink>& link, const BusItem& item) {
  const Encoded encoded = encode_item(item, link->message_bytes_max());
  const std::string subject = room_subject(item.room);
  for (const std::string& message : encoded.messages) {
    if (!put(link, subject, message)) return false;
  }
  return encoded.left_out == 0;
}

bool NatsOutbox::is_current(const std::shared_ptr<NatsLink>& link) {
  const std::lock_guard lock(mutex_);
  return link_ == link;
}

bool NatsOutbox::put(const std::shared_ptr<NatsLink>& link, const std::string& subject, const std::string& message) {
  NatsLink::Sent sent = link->publish(subject, message);
  // A server that does not take it is given up by whoever watches the link; until then what comes fills the queue.
  while (sent == NatsLink::Sent::full && worker_->pause_us(full_pause_us) && is_current(link)) {
    sent = link->publish(subject, message);
  }
  if (sent == NatsLink::Sent::yes) published_.add();
  if (sent != NatsLink::Sent::broken) return sent == NatsLink::Sent::yes;
  {
    // Nothing more on this one: what waits is dropped, and not tried one after another against a dead line.
    const std::lock_guard lock(mutex_);
    if (link_ == link) link_ = nullptr;
  }
  broken_(link);
  return false;
}

}  // namespace tertulia
