#include "store/cluster/appender.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/failpoint.h"

namespace tertulia::cluster {
namespace {

constexpr int64_t kAskAgainUs = 20'000, kAskAgainMaxUs = 500'000;

// What an attempt of this very message has left there: nobody else makes all of this equal.
bool is_own(const Message& there, const Message& ours) {
  return there.id_json == ours.id_json && there.date == ours.date && there.sent_at_ms == ours.sent_at_ms;
}

}  // namespace

Appender::Appender(Database& database, Workers& workers, Proven& proven, Lease lease, const StoreOptions& options,
                   const Clock& clock, Random& random, StoreMetrics& metrics)
    : options_(options),
      clock_(clock),
      metrics_(metrics),
      address_(database.address()),
      deadline_us_(std::numeric_limits<int64_t>::max()),
      proven_(proven),
      lease_(std::move(lease)),
      random_(random),
      worker_(workers.make("store-append")),
      link_(database.link(*worker_)) {}

Appender::~Appender() {
  stop(clock_.now_us());
}

void Appender::log(LogLevel level, const char* event, const std::string& reason) {
  if (options_.log == nullptr) return;
  options_.log->limited(level, 2, "store", event, {{"reason", reason}, {"address", address_}});
}

void Appender::append(AppendCall call) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    waiting_.push_back(std::move(call));
    if (std::exchange(working_, true)) return;
  }
  worker_->post([this] { work(); });
}

void Appender::stop(int64_t deadline_us) {
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(stopping_, true)) return;
  }
  deadline_us_ = deadline_us;
  worker_->stop();
}

void Appender::work() {
  for (;;) {
    std::optional<AppendBatch> batch;
    {
      std::lock_guard lock(mutex_);
      if (waiting_.empty()) {
        working_ = false;
        return;
      }
      batch.emplace(waiting_, options_.transaction_rows_max, options_.transaction_bytes_max);
    }
    std::vector<Slice> slices;
    for (RoomWork& room : batch->rooms()) {
      if (!room.asked.empty()) slices.push_back({&room, 0, room.asked.size()});
    }
    // At the end what the database does not take is not waited for: the callbacks go unrun, and clients send again.
    if (!settle(std::move(slices))) return;
    batch->answer_all(metrics_);
  }
}

bool Appender::pause(int64_t& delay_us) {
  // Nodes that hinder each other must not go on in step.
  const bool go_on =
      worker_->pause_us(delay_us / 2 + static_cast<int64_t>(random_.below(static_cast<uint64_t>(delay_us))));
  delay_us = std::min(delay_us * 2, kAskAgainMaxUs);
  return go_on;
}

bool Appender::settle(std::vector<Slice> slices) {
  int64_t delay_us = kAskAgainUs;
  for (;;) {
    // A room that was answered as a whole meanwhile takes nothing more.
    std::erase_if(slices, [](const Slice& slice) { return slice.room->status != AppendResult::Status::done; });
    if (slices.empty()) return true;
    if (clock_.now_us() > deadline_us_) return false;
    const Failure failure = attempt(slices);
    switch (failure.trouble) {
      case Trouble::none: return true;
      case Trouble::message: {
        if (slices.size() == 1 && slices[0].count == 1) {
          refuse(slices[0], failure.reason);
          return true;
        }
        std::vector<Slice> rest;
        if (slices.size() == 1) {
          Slice& all = slices[0];
          const size_t half = all.count / 2;
          rest.push_back({all.room, all.first + half, all.count - half});
          all.count = half;
        } else {
          const auto middle = slices.begin() + static_cast<ptrdiff_t>(slices.size() / 2);
          rest.assign(middle, slices.end());
          slices.erase(middle, slices.end());
        }
        // In this order: the second half of a room stands behind the first.
        return settle(std::move(slices)) && settle(std::move(rest));
      }
      case Trouble::unknown:
        for (const Slice& slice : slices) {
          slice.room->begun = true;
          for (size_t i = 0; i < slice.count; ++i) slice.room->asked[slice.first + i].in_doubt = true;
        }
        log(LogLevel::warn, "the outcome of a commit is unknown; asking again", failure.reason);
        break;
      case Trouble::not_now:
      case Trouble::fenced:
        for (const Slice& slice : slices) {
          if (slice.room->begun) continue;
          slice.room->status =
              failure.trouble == Trouble::fenced ? AppendResult::Status::fenced : AppendResult::Status::not_now;
          slice.room->reason = failure.reason;
        }
        log(LogLevel::warn, "the store takes nothing just now; messages wait", failure.reason);
        if (std::none_of(slices.begin(), slices.end(), [](const Slice& slice) { return slice.room->begun; }))
          return true;
        break;
    }
    if (!pause(delay_us)) return false;
  }
}

Failure Appender::attempt(const std::vector<Slice>& slices) {
  std::vector<RoomBatch> batches(slices.size());
  std::vector<RoomBatch*> rooms;
  for (size_t i = 0; i < slices.size(); ++i) {
    const Slice& slice = slices[i];
    batches[i].room = slice.room->room;
    batches[i].known = slice.room->known;
    for (size_t m = 0; m < slice.count; ++m) {
      batches[i].messages.push_back(slice.room->asked[slice.first + m].message);
    }
    rooms.push_back(&batches[i]);
  }
  if (FAILPOINT("before_commit")) return {Trouble::unknown, "failpoint"};
  // Looked at last: a process that was stopped meanwhile does not know it.
  const std::optional<std::string> node = lease_();
  if (!node) return {Trouble::not_now, "this node's lease is in doubt"};
  const int64_t began_us = clock_.now_us();
  Failure failure = link_->append(rooms, *node);
  if (failure) return failure;
  if (FAILPOINT("after_commit_before_answer")) return {Trouble::unknown, "failpoint"};
  const auto adds = [](const RoomBatch& batch) {
    return std::any_of(batch.placed.begin(), batch.placed.end(), [](const Placed& placed) { return placed.added; });
  };
  if (std::any_of(batches.begin(), batches.end(), adds)) {
    metrics_.commits.fetch_add(1, std::memory_order_relaxed);
    metrics_.commit_us.fetch_add(static_cast<uint64_t>(clock_.now_us() - began_us), std::memory_order_relaxed);
  }
  const uint64_t connection = link_->connects();
  const bool may_be_taken_back = link_->reads_need_mark();
  std::vector<size_t> unproven;
  for (size_t i = 0; i < slices.size(); ++i) {
    // What was found before something was added behind it is proven by that commit; what was only found is not.
    if (!take(slices[i], batches[i], may_be_taken_back && !adds(batches[i]))) unproven.push_back(i);
  }
  if (unproven.empty()) return {};
  failure = link_->mark();
  if (!failure && link_->connects() != connection) failure = {Trouble::unknown, "connected anew before the proof"};
  // Whatever kept the mark from coming back: what was found may stand or not, and is asked for again.
  if (failure) return {Trouble::unknown, failure.reason};
  for (const size_t i : unproven) take(slices[i], batches[i], false);
  return {};
}

bool Appender::take(const Slice& slice, const RoomBatch& batch, bool needs_proof) {
  RoomWork& room = *slice.room;
  if (!batch.fits) {
    room.status = AppendResult::Status::does_not_fit;
    room.reason = "the log does not contain the position held";
    return true;
  }
  CHECK(batch.placed.size() == slice.count, "a link says of every message what became of it");
  for (const Placed& placed : batch.placed) {
    if (needs_proof && !proven_.covers(room.room, placed.row.position())) return false;
  }
  const auto head = std::find_if(batch.placed.rbegin(), batch.placed.rend(), [](const Placed& p) { return p.added; });
  if (head != batch.placed.rend()) proven_.add(room.room, head->row.position());
  for (size_t i = 0; i < slice.count; ++i) {
    Asked& asked = room.asked[slice.first + i];
    const Row& row = batch.placed[i].row;
    Appended& outcome = asked.outcome;
    if (batch.placed[i].added) {
      outcome.kind = Appended::Kind::added;
    } else if (!same_body(row.message, *asked.message)) {
      outcome.kind = Appended::Kind::conflict;
      asked.other = row.message;
      asked.other_position = row.position();
      continue;
    } else {
      const bool own = asked.in_doubt && is_own(row.message, *asked.message);
      outcome.kind = own ? Appended::Kind::added : Appended::Kind::repeated;
    }
    outcome.position = row.position();
    if (outcome.kind == Appended::Kind::added) outcome.previous = row.previous;
  }
  room.begun = true;
  return true;
}

void Appender::refuse(const Slice& slice, const std::string& reason) {
  Asked& asked = slice.room->asked[slice.first];
  asked.outcome = {};
  asked.outcome.kind = Appended::Kind::refused;
  asked.outcome.reason = reason;
  log(LogLevel::warn, "a message is refused by the store", reason);
}

}  // namespace tertulia::cluster
