#include "store/cluster/health.h"

#include <utility>

namespace tertulia::cluster {
namespace {

// A failure of a link that has been silent since is believed for so long, if others do get answers.
constexpr int64_t kFailureKeptUs = 10'000'000;
// Shorter troubles on one and the same connection (a deadlock, a full lock table) are no absence.
constexpr int64_t kOutageUs = 1'000'000;

}  // namespace

Health::Health(std::string address, const StoreOptions& options, StoreMetrics& metrics, Proven& proven,
               const Clock& clock)
    : address_(std::move(address)), options_(options), metrics_(metrics), proven_(proven), clock_(clock) {}

size_t Health::join() {
  std::lock_guard lock(mutex_);
  links_.emplace_back();
  return links_.size() - 1;
}

void Health::note(size_t link, const Failure& failure, uint64_t connects) {
  const bool failed = failure.trouble == Trouble::not_now || failure.trouble == Trouble::unknown;
  const int64_t now_us = clock_.now_us();
  bool began = false, ended = false, tell = false, again = false;
  Executor* executor = nullptr;
  {
    std::lock_guard lock(mutex_);
    Seen& seen = links_[link];
    const uint64_t connects_before = std::exchange(seen.connects, connects);
    again = connects_before != 0 && connects != connects_before;
    // Before anybody looks at what this call has read. (Proven has a lock of its own, and calls nobody.)
    if (connects != connects_before && std::exchange(connected_, true)) {
      proven_.forget_all();
      seen.to_be_told = true;
    }
    if (failed) {
      began = !std::exchange(seen.failing, true);
      if (began) seen.failing_since_us = now_us;
      seen.failed_us = now_us;
      seen.reason = failure.reason;
    } else {
      ended = std::exchange(seen.failing, false);
      if (ended && now_us - seen.failing_since_us >= kOutageUs) seen.to_be_told = true;
      answered_us_ = now_us;
      tell = std::exchange(seen.to_be_told, false);
    }
    executor = executor_;
  }
  // A connection that was lost and made again between two calls is an error and its end in one.
  const bool unseen = again && !began && !ended && !failed;
  if (began || unseen) metrics_.io_errors.fetch_add(1, std::memory_order_relaxed);
  if (ended || unseen) metrics_.reopens.fetch_add(1, std::memory_order_relaxed);
  if (options_.log != nullptr && began) {
    options_.log->limited(LogLevel::warn, 2, "store", "the database is in trouble",
                          {{"reason", failure.reason}, {"address", address_}});
  }
  if (options_.log != nullptr && (ended || unseen)) {
    options_.log->limited(LogLevel::info, 2, "store", "the database answers again", {{"address", address_}});
  }
  if (tell) tell_returned(executor);
}

void Health::tell_returned(Executor* executor) const {
  if (executor == nullptr) return;
  {
    std::lock_guard lock(ear_->mutex);
    // Several links return together: one comparison, begun after the last of them, is enough for all.
    if (ear_->watcher == nullptr || std::exchange(ear_->told, true)) return;
  }
  executor->post([ear = ear_] {
    StoreWatcher* watcher = nullptr;
    {
      std::lock_guard lock(ear->mutex);
      ear->told = false;
      watcher = ear->watcher;
    }
    if (watcher != nullptr) watcher->store_returned();
  });
}

std::string Health::trouble() const {
  const int64_t now_us = clock_.now_us();
  std::lock_guard lock(mutex_);
  for (const Seen& seen : links_) {
    if (!seen.failing) continue;
    if (answered_us_ >= seen.failed_us && now_us - seen.failed_us > kFailureKeptUs) continue;
    return "store: " + address_ + ": " + seen.reason;
  }
  return "";
}

void Health::watch(StoreWatcher* watcher, Executor* executor) {
  {
    std::lock_guard lock(mutex_);
    executor_ = watcher == nullptr ? nullptr : executor;
  }
  std::lock_guard lock(ear_->mutex);
  ear_->watcher = watcher;
  ear_->told = false;
}

}  // namespace tertulia::cluster
