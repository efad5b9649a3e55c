// A call that reads, as the reading workers see it: it can be run, again if need be, and says what it shows.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "store/answer.h"
#include "store/cluster/link.h"
#include "store/cluster/proven.h"
#include "store/store.h"

namespace tertulia::cluster {

// Thread: a worker's, but for being made. Ends: answered once, or destroyed unrun.
class Reading {
 public:
  virtual ~Reading() = default;
  // A commit must have been made on the connection after the call came and before this is run.
  virtual bool begins_with_mark() const { return false; }
  // REQUIRES: not yet answered. After a failure it may be run again.
  virtual Failure run(Link& link) = 0;
  // What it shows needs no further proof.
  virtual bool is_proven(Proven& proven) const = 0;
  // A mark has come back that was begun after this was run.
  virtual void prove(Proven& proven) const = 0;
  // With what was read, or that it cannot be read now.
  virtual void answer(bool read) = 0;
};

// `Read`: Failure(Link&, Rows&).
template <class Read>
class RowsReading final : public Reading {
 public:
  RowsReading(std::string room, bool confirms, Read read, Executor& executor, Callback<Rows> done)
      : room_(std::move(room)),
        confirms_(confirms),
        read_(std::move(read)),
        executor_(executor),
        done_(std::move(done)) {}
  bool begins_with_mark() const override { return confirms_; }
  Failure run(Link& link) override {
    rows_ = {};
    Failure failure = read_(link, room_, rows_);
    // What the shards build on: whatever a database shows, at worst a room waits.
    for (size_t i = 1; i < rows_.rows.size() && !failure; ++i)
      if (rows_.rows[i].before() != rows_.rows[i - 1].position())
        failure = {Trouble::not_now, "the database has shown rows that do not continue one another"};
    if (confirms_) rows_.rows.clear();
    return failure;
  }
  bool is_proven(Proven& proven) const override { return proven.covers(room_, rows_); }
  void prove(Proven& proven) const override {
    if (rows_.status == Rows::Status::ok) proven.add(room_, rows_.head);
  }
  void answer(bool read) override { tertulia::answer(executor_, std::move(done_), read ? std::move(rows_) : Rows{}); }

 private:
  const std::string room_;
  const bool confirms_;
  Read read_;
  Executor& executor_;
  Callback<Rows> done_;
  Rows rows_;
};

class HeadsReading final : public Reading {
 public:
  using Heads = std::optional<std::vector<Position>>;
  HeadsReading(std::vector<std::string> rooms, Executor& executor, Callback<Heads> done)
      : rooms_(std::move(rooms)), executor_(executor), done_(std::move(done)) {}
  Failure run(Link& link) override {
    heads_.clear();
    return rooms_.empty() ? Failure{} : link.heads(rooms_, heads_);
  }
  bool is_proven(Proven& proven) const override {
    for (size_t i = 0; i < heads_.size(); ++i) {
      if (!proven.covers(rooms_[i], heads_[i])) return false;
    }
    return true;
  }
  void prove(Proven& proven) const override {
    for (size_t i = 0; i < heads_.size(); ++i) proven.add(rooms_[i], heads_[i]);
  }
  void answer(bool read) override {
    tertulia::answer(executor_, std::move(done_), read ? Heads(std::move(heads_)) : std::nullopt);
  }

 private:
  const std::vector<std::string> rooms_;
  Executor& executor_;
  Callback<Heads> done_;
  std::vector<Position> heads_;
};

// Of users in a room; what is pending is not in it. Markers need no proof: they may be lost.
class MarkersReading final : public Reading {
 public:
  using Markers = std::optional<std::vector<Sequence>>;
  // `done` runs on the worker.
  MarkersReading(std::string room, std::vector<std::string> users, Callback<Markers> done)
      : room_(std::move(room)), users_(std::move(users)), done_(std::move(done)) {}
  Failure run(Link& link) override {
    markers_.clear();
    return users_.empty() ? Failure{} : link.read_markers(room_, users_, markers_);
  }
  bool is_proven(Proven&) const override { return true; }
  void prove(Proven&) const override {}
  void answer(bool read) override { done_(read ? Markers(std::move(markers_)) : std::nullopt); }

 private:
  const std::string room_;
  const std::vector<std::string> users_;
  Callback<Markers> done_;
  std::vector<Sequence> markers_;
};

}  // namespace tertulia::cluster
