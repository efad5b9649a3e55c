#include "crash_session.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <deque>
#include <fstream>
#include <sstream>

#include "base/random.h"
#include "crash_vfs.h"
#include "store/open_store.h"
#include "store/store_testing.h"

namespace tertulia {
namespace {

// Lines are short and written in one call each, so a kill leaves whole lines.
class Pen {
 public:
  explicit Pen(const std::string& path) : fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {}
  void write(const std::string& line) {
    if (::write(fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) ::_exit(5);
  }
  void sent(int k) { write("S " + std::to_string(k) + "\n"); }
  void acked(int k, const Position& position) {
    write("A " + std::to_string(k) + " " + position_text(position) + "\n");
  }
  void shown(int room, const Row& row) {
    write("R " + std::to_string(room) + " " + position_text(row.position()) + "\n");
  }

 private:
  int fd_;
};

class Clients {
 public:
  Clients(Store& store, const Session& session, Pen& pen, int& error)
      : store_(store), session_(session), pen_(pen), error_(error), random_(session.seed) {
    const Journal journal = Journal::read(session.journal);
    for (int k : journal.sent) {
      if (!journal.acked.contains(k)) waiting_[k % kRooms].push_back(k);
      next_ = std::max(next_, k + 1);
    }
  }

  void work() {
    // Everything unanswered is sent again, in order, before anything new.
    answers_wanted_ = static_cast<int>(session_.resend_only ? 0 : 20 + random_.below(60));
    for (auto& room : waiting_) answers_wanted_ += static_cast<int>(room.size());
    for (int room = 0; room < kRooms; ++room) send(room);
    loop_.run_until([&] { return error_ != 0 || (answers_ >= answers_wanted_ && in_flight_ == 0 && reads_ == 0); });
    for (int room = 0; room < kRooms; ++room) read(room);
    loop_.run_until([&] { return error_ != 0 || reads_ == 0; });
  }

 private:
  void send(int room) {
    std::vector<int> batch;
    for (uint64_t count = 1 + random_.below(4); count > 0; --count) {
      auto& waiting = waiting_[room];
      if (!waiting.empty()) {
        batch.push_back(waiting.front());
        waiting.pop_front();
      } else if (!session_.resend_only && answers_ + in_flight_ < answers_wanted_) {
        while (next_ % kRooms != room) ++next_;
        batch.push_back(next_);
        pen_.sent(next_++);
      }
    }
    if (batch.empty()) return;
    append(room, std::move(batch));
  }

  void append(int room, std::vector<int> batch) {
    std::vector<Message> messages;
    for (int k : batch) messages.push_back(message_of(k));
    in_flight_ += static_cast<int>(batch.size());
    store_.append(room_of(room), {0, chain_start(room_of(room))}, std::move(messages), loop_,
                  [this, room, batch](AppendResult result) {
                    in_flight_ -= static_cast<int>(batch.size());
                    if (result.status != AppendResult::Status::done) return append(room, batch);
                    for (size_t i = 0; i < batch.size(); ++i) {
                      const Appended& each = result.each[i];
                      if (each.kind != Appended::Kind::added && each.kind != Appended::Kind::repeated) {
                        std::fprintf(stderr, "message %d was not taken: %s\n", batch[i], each.reason.c_str());
                        error_ = 4;
                        return;
                      }
                      pen_.acked(batch[i], each.position);
                      ++answers_;
                    }
                    if (random_.below(4) == 0) read(room);
                    send(room);
                  });
  }

  void read(int room) {
    ++reads_;
    store_.read_last(room_of(room), 5, 1 << 20, loop_, [this, room](Rows rows) {
      --reads_;
      for (const Row& row : rows.rows) pen_.shown(room, row);
    });
  }

  Store& store_;
  const Session& session_;
  Pen& pen_;
  int& error_;
  SeededRandom random_;
  testing_store::Loop loop_;
  std::deque<int> waiting_[kRooms];
  int next_ = 0, answers_ = 0, answers_wanted_ = 0, in_flight_ = 0, reads_ = 0;
};

}  // namespace

std::string room_of(int k) {
  return "room " + std::to_string(k % kRooms);
}

Message message_of(int k) {
  const std::string number = std::to_string(k);
  return testing_store::text_message("u" + number, "user " + std::to_string(k % kRooms),
                                     number + std::string(static_cast<size_t>(k * 37 % 900), 'x'));
}

Journal Journal::read(const std::string& path) {
  Journal journal;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    char what = 0;
    int number = 0;
    std::string position;
    words >> what >> number >> position;
    if (what == 'S') {
      journal.sent.push_back(number);
      continue;
    }
    auto parsed = parse_position(position);
    if (!parsed) continue;
    if (what == 'A') journal.acked[number] = true;
    journal.told.push_back({room_of(number), *parsed, what == 'A' ? message_of(number).uuid : ""});
  }
  return journal;
}

void run_session(const Session& session) {
  CrashVfs* vfs = new CrashVfs("crash", session.disk);  // as long as the process
  (void)vfs;
  StoreOptions options;
  options.unsafe_vfs = "crash";
  options.unsafe_synchronous_off = session.mutation == Mutation::synchronous_off;
  options.unsafe_answer_before_commit = session.mutation == Mutation::answer_before_commit;
  options.unsafe_no_sync_at_opening = session.mutation == Mutation::no_sync_at_opening;
  options.unsafe_no_write_back_at_opening = session.mutation == Mutation::no_write_back;
  options.wal_checkpoint_bytes = 100 << 10;
  options.transaction_rows_max = 16;
  SystemClock clock;
  OpenedStore opened = open_store("sqlite", session.data_dir, options, clock);
  if (opened.store == nullptr) {
    std::fprintf(stderr, "%s\n", opened.error.c_str());
    ::_exit(3);
  }
  Pen pen(session.journal);
  int error = 0;
  {
    Clients clients(*opened.store, session, pen, error);
    clients.work();
    if (error != 0) ::_exit(error);
    if (!session.ends_well) ::kill(::getpid(), SIGKILL);
    opened.store->stop(true);
  }
  ::_exit(0);
}

}  // namespace tertulia
