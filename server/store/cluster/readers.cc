#include "store/cluster/readers.h"

#include <limits>
#include <utility>

namespace tertulia::cluster {
namespace {

// So many at once: what comes after them is left to the other worker, and they wait for one another's proof.
constexpr size_t kBatchMax = 64;
constexpr size_t kMarkersAtOnceMax = 1'000;
// A database that does not answer is not asked again for everybody who waits: each attempt may take seconds.
constexpr int kFailuresMax = 2;
constexpr int kConfirmAttempts = 3;

}  // namespace

Readers::Readers(Database& database, Workers& workers, Proven& proven, const StoreOptions& options, const Clock& clock,
                 StoreMetrics& metrics)
    : options_(options),
      clock_(clock),
      metrics_(metrics),
      proven_(proven),
      address_(database.address()),
      pending_markers_(options.markers_pending_max),
      deadline_us_(std::numeric_limits<int64_t>::max()),
      readers_(kReaders) {
  for (size_t i = 0; i < kReaders; ++i) {
    readers_[i].worker = workers.make("store-read-" + std::to_string(i));
    readers_[i].link = database.link(*readers_[i].worker);
  }
}

Readers::~Readers() {
  stop(clock_.now_us());
}

void Readers::post(std::unique_ptr<Reading> reading) {
  Reader* idle = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    waiting_.push_back(std::move(reading));
    for (Reader& reader : readers_) {
      if (std::exchange(reader.working, true)) continue;
      idle = &reader;
      break;
    }
  }
  if (idle != nullptr) idle->worker->post([this, idle] { work(*idle); });
}

void Readers::mark_read(std::string room, std::string user, Sequence sequence) {
  if (sequence > sequence_max || !pending_markers_.add(std::move(room), std::move(user), sequence)) return;
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || std::exchange(markers_due_, true)) return;
  }
  readers_[0].worker->post_after(options_.markers_flush_ms * 1000, [this] { write_markers(readers_[0]); });
}

void Readers::stop(int64_t deadline_us) {
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(stopping_, true)) return;
  }
  deadline_us_ = deadline_us;
  readers_[0].worker->post([this] { write_markers(readers_[0]); });
  for (Reader& reader : readers_) reader.worker->stop();
}

void Readers::work(Reader& reader) {
  for (;;) {
    Batch batch;
    {
      std::lock_guard lock(mutex_);
      while (!waiting_.empty() && batch.size() < kBatchMax) {
        batch.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
      }
      if (batch.empty()) {
        reader.working = false;
        return;
      }
    }
    read_all(*reader.link, std::move(batch));
  }
}

void Readers::read_all(Link& link, Batch batch) {
  Batch marked, plain;
  for (std::unique_ptr<Reading>& reading : batch) {
    (reading->begins_with_mark() ? marked : plain).push_back(std::move(reading));
  }
  std::vector<Unproven> unproven;
  if (!marked.empty()) read_marked(link, std::move(marked), unproven);
  int failures = 0;
  Failure failure;
  for (std::unique_ptr<Reading>& reading : plain) {
    if (clock_.now_us() > deadline_us_) failure = {Trouble::not_now, "the store ends"}, failures = kFailuresMax;
    if (failures < kFailuresMax) failure = reading->run(link);
    if (failure) {
      ++failures;
      answer(*reading, failure);
    } else {
      failures = 0;
      answer_or_keep(link, std::move(reading), unproven);
    }
  }
  if (!unproven.empty()) prove(link, std::move(unproven));
}

void Readers::read_marked(Link& link, Batch batch, std::vector<Unproven>& unproven) {
  for (int attempt = 0; attempt < kConfirmAttempts && !batch.empty(); ++attempt) {
    Batch again;
    Failure failure = link.mark();
    const uint64_t connection = link.connects();
    for (std::unique_ptr<Reading>& reading : batch) {
      if (!failure) failure = reading->run(link);
      if (failure) {
        answer(*reading, failure);
      } else if (link.connects() != connection) {
        again.push_back(std::move(reading));  // another server may have answered than the one that has committed
      } else {
        answer_or_keep(link, std::move(reading), unproven);
      }
    }
    batch = std::move(again);
  }
  for (std::unique_ptr<Reading>& reading : batch)
    answer(*reading, {Trouble::not_now, "connected anew again and again"});
}

void Readers::answer_or_keep(Link& link, std::unique_ptr<Reading> reading, std::vector<Unproven>& unproven) {
  if (link.reads_need_mark() && !reading->is_proven(proven_)) {
    unproven.push_back({std::move(reading), link.connects()});
  } else {
    answer(*reading, {});
  }
}

void Readers::prove(Link& link, std::vector<Unproven> unproven) {
  Failure failure = link.mark();
  const uint64_t connection = link.connects();
  for (Unproven& each : unproven) {
    if (failure) {
      answer(*each.reading, failure);
    } else if (each.connection != connection) {
      answer(*each.reading, {Trouble::not_now, "connected anew before the proof"});
    } else {
      each.reading->prove(proven_);
      answer(*each.reading, {});
    }
  }
}

void Readers::answer(Reading& reading, const Failure& failure) {
  (failure ? metrics_.reads_not_now : metrics_.reads).fetch_add(1, std::memory_order_relaxed);
  if (failure && options_.log != nullptr) {
    options_.log->limited(LogLevel::warn, 2, "store", "cannot read",
                          {{"reason", failure.reason}, {"address", address_}});
  }
  reading.answer(!failure);
}

void Readers::write_markers(Reader& reader) {
  {
    std::lock_guard lock(mutex_);
    markers_due_ = false;
  }
  bool more = true;
  while (more && clock_.now_us() <= deadline_us_) {
    const PendingMarkers::Markers markers = pending_markers_.take(kMarkersAtOnceMax);
    if (markers.empty()) return;
    const Failure failure = reader.link->write_markers(markers);
    // What cannot be about the database is about these markers: they are given up, or they would hold up all others.
    const bool given_up = failure.trouble == Trouble::message;
    pending_markers_.done(!failure || given_up);
    if (failure && options_.log != nullptr) {
      options_.log->limited(LogLevel::warn, 2, "store", "cannot write read markers",
                            {{"reason", failure.reason}, {"address", address_}});
    }
    more = (!failure || given_up) && markers.size() == kMarkersAtOnceMax;
    if (!failure || given_up) continue;
    std::lock_guard lock(mutex_);
    if (!stopping_ && !std::exchange(markers_due_, true)) {
      reader.worker->post_after(options_.markers_flush_ms * 1000, [this, &reader] { write_markers(reader); });
    }
  }
}

}  // namespace tertulia::cluster
