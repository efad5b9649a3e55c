// For tests of stores: calls that wait for their answer, and messages to append.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/testing.h"
#include "store/store.h"

namespace tertulia::testing_store {

// An executor whose loop is whoever waits. Thread: post() from any.
class Loop final : public Executor {
 public:
  void post(Function<void()> task) override {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    wake_.notify_all();
  }
  // Runs tasks until `done` is true. False: it did not become so within the time.
  template <class Done>
  bool run_until(Done done, std::chrono::milliseconds time = std::chrono::seconds(30)) {
    const auto deadline = std::chrono::steady_clock::now() + time;
    while (!done()) {
      std::unique_lock lock(mutex_);
      if (!wake_.wait_until(lock, deadline, [this] { return !tasks_.empty(); })) return false;
      Function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
    return true;
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Function<void()>> tasks_;
};

// A clock that several threads may look at.
class SharedManualClock final : public Clock {
 public:
  int64_t now_us() const override { return now_us_; }
  int64_t unix_ms() const override { return 1'700'000'000'000 + now_us_ / 1000; }
  void advance_ms(int64_t ms) { now_us_ += ms * 1000; }

 private:
  std::atomic<int64_t> now_us_ = 1'000'000;
};

inline Message text_message(const std::string& uuid, const std::string& user, const std::string& text) {
  Message m;
  m.uuid = uuid;
  m.user_id = user;
  m.user_name = user + "'s name";
  m.date = "2026-11-24T10:00:00.000Z";
  m.sent_at_ms = 1'700'000'000'123;
  m.text = text;
  m.id_json = "\"" + uuid + "\"";
  return m;
}

inline std::vector<Message> one(Message message) {
  std::vector<Message> all;
  all.push_back(std::move(message));
  return all;
}

// A store's calls, each waited for. Thread: one.
class Caller {
 public:
  explicit Caller(Store& store) : store_(store) {}

  AppendResult append(const std::string& room, std::vector<Message> messages) {
    return append_behind(room, {0, chain_start(room)}, std::move(messages));
  }
  AppendResult append_behind(const std::string& room, const Position& known, std::vector<Message> messages) {
    return wait<AppendResult>(
        [&](Callback<AppendResult> done) { store_.append(room, known, std::move(messages), loop_, std::move(done)); });
  }
  AppendResult says(const std::string& room, const std::string& uuid, const std::string& text,
                    const std::string& user = "ana") {
    return append(room, one(text_message(uuid, user, text)));
  }
  Rows read(const std::string& room, Position after, size_t limit = 1000, size_t bytes_max = 1 << 20) {
    return wait<Rows>([&](Callback<Rows> done) { store_.read(room, after, limit, bytes_max, loop_, std::move(done)); });
  }
  Rows read_all(const std::string& room) {
    Rows all = read(room, {0, chain_start(room)}, 500);
    while (all.status == Rows::Status::ok && !all.rows.empty() && all.rows.back().position() != all.head) {
      Rows more = read(room, all.rows.back().position(), 500);
      if (more.status != Rows::Status::ok || more.rows.empty()) return more;
      all.head = more.head;
      for (Row& row : more.rows) all.rows.push_back(std::move(row));
    }
    return all;
  }
  Rows last(const std::string& room, size_t limit, size_t bytes_max = 1 << 20) {
    return wait<Rows>([&](Callback<Rows> done) { store_.read_last(room, limit, bytes_max, loop_, std::move(done)); });
  }
  Rows range(const std::string& room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max = 1 << 20) {
    return wait<Rows>([&](Callback<Rows> done) {
      store_.read_range(room, sequence, backwards, limit, bytes_max, loop_, std::move(done));
    });
  }
  Rows find(const std::string& room, const std::string& uuid) {
    return wait<Rows>([&](Callback<Rows> done) { store_.find(room, uuid, loop_, std::move(done)); });
  }
  std::optional<std::vector<Position>> heads(const std::vector<std::string>& rooms) {
    return wait<std::optional<std::vector<Position>>>(
        [&](Callback<std::optional<std::vector<Position>>> done) { store_.heads(rooms, loop_, std::move(done)); });
  }
  Rows confirm(const std::string& room, const Position& position) {
    return wait<Rows>([&](Callback<Rows> done) { store_.confirm(room, position, loop_, std::move(done)); });
  }
  std::optional<Sequence> marker(const std::string& room, const std::string& user) {
    return wait<std::optional<Sequence>>(
        [&](Callback<std::optional<Sequence>> done) { store_.read_marker(room, user, loop_, std::move(done)); });
  }
  ClaimResult claim(const std::string& room, const std::string& user, const std::string& name, bool returning = false) {
    return wait<ClaimResult>([&](Callback<ClaimResult> done) {
      store_.claim({room, name, name, user, returning}, loop_, std::move(done));
    });
  }
  ReleaseResult release(const std::string& room, const std::string& user, bool clean) {
    return wait<ReleaseResult>(
        [&](Callback<ReleaseResult> done) { store_.release(room, user, clean, loop_, std::move(done)); });
  }
  ReleaseResult expire(const std::string& room, const std::string& user) {
    return wait<ReleaseResult>(
        [&](Callback<ReleaseResult> done) { store_.expire(room, user, loop_, std::move(done)); });
  }
  std::optional<std::string> member_name(const std::string& room, const std::string& user) {
    return wait<std::optional<std::string>>(
        [&](Callback<std::optional<std::string>> done) { store_.member_name(room, user, loop_, std::move(done)); });
  }
  MemberList members(const std::string& room, const std::string& after = "", size_t limit = 200) {
    return wait<MemberList>(
        [&](Callback<MemberList> done) { store_.members(room, after, limit, loop_, std::move(done)); });
  }
  Loop& loop() { return loop_; }

 private:
  template <class T, class Start>
  T wait(Start start) {
    std::optional<T> result;
    bool inside = true;
    start(Callback<T>([&](T value) {
      EXPECT_FALSE(inside) << "a callback ran inside the call";
      result = std::move(value);
    }));
    inside = false;
    // Some stand-ins for databases are slow, and a machine may be busy.
    EXPECT_TRUE(loop_.run_until([&] { return result.has_value(); }, std::chrono::minutes(2))) << "no answer";
    return result ? std::move(*result) : T{};
  }

  Store& store_;
  Loop loop_;
};

// Every row continues the one before it and has the chain that its content makes; the first begins the log.
inline void expect_whole_log(const std::string& room, const Rows& rows) {
  ASSERT_EQ(rows.status, Rows::Status::ok);
  Position at{0, chain_start(room)};
  for (const Row& row : rows.rows) {
    ASSERT_EQ(row.sequence, at.sequence + 1);
    ASSERT_EQ(row.previous, at.chain);
    ASSERT_EQ(row.chain, chain_next(at.chain, row.sequence, row.message));
    at = row.position();
  }
  EXPECT_EQ(rows.head, at);
}

}  // namespace tertulia::testing_store
