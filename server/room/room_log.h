// Decides what happens to one room's log on one shard: which messages wait, which are with the store, what the tail
// takes, and when something is missing.
//
//   submit -> waiting -> with the store -> decided -> tail <- the bus, pages of the store
//
// One rule takes whatever grows the log, our own appends too: message n+1 only after n, and only if its chain continues
// ours. What is ahead of a gap is kept a short while for the bus to fill the gap; then the gap is read from the store.
// What the store cannot take now waits, in order; nothing is dropped.
//
// When what the store or the bus tells is not what is held, the store may have gone back; or the bus told of an old
// thing, or a reader lagged. That is a suspicion: the store is asked whether its log has what is held, in a way that
// settles it (Store::confirm), and until then nothing is dropped and nobody told. If it has, what contradicted goes.
// If it has not, the newest rows are read again and the log goes on from there; what waits is appended behind them.
// Pure: acts through its Host and is told the time. Thread: the shard's. Memory: the tail, what is ahead (bounded), and
// what waits (the caller stops reading senders by waiting_bytes()).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "protocol/outcome.h"
#include "room/committed_uuids.h"
#include "room/log_piece.h"
#include "room/tail.h"

namespace tertulia {

// A message on its way into the log.
struct Pending {
  Message message;
  BodyDigest body{};
  uint64_t session = 0;    // whose answer it is
  bool answer = false;     // v2: the session is owed a response
  bool counted = true;     // takes one of the session's waiting places
  bool hand_over = false;  // the session is no member here: its ack frame goes to it alone
};

class RoomLog {
 public:
  // No method is called from inside another call to the log but for those of `decided`, which may submit().
  class Host {
   public:
    virtual ~Host() = default;
    // Answer with append_done(), later. At most one is open.
    virtual void append(std::vector<Message> messages) = 0;
    // Answer with gap_read(), later. At most one is open.
    virtual void read_gap(const Position& after) = 0;
    virtual void publish(std::shared_ptr<const LogPiece> piece) = 0;
    // The store has spoken. For `added` the frame is the message's push.
    virtual void decided(const Pending& pending, const Appended& outcome, std::string_view frame) = 0;
    // It was withdrawn, and will never be decided.
    virtual void taken_back(const Pending& pending) = 0;
    // The head has moved.
    virtual void grew() = 0;
    // Call tick() at that time, or soon after.
    virtual void wake_at(int64_t us) = 0;
    // The store or the bus tells, at this sequence, of another log than the one held: does the store's log contain
    // `held`? Answer with confirmed(), later. At most one is open.
    virtual void confirm(const Position& held, Sequence contradicted_at) = 0;
    // It certainly does not. Answer with begin_again(), later. At most one is open.
    virtual void read_again(const Position& held) = 0;
  };

  struct Limits {
    size_t tail_bytes_max = 1 << 20;
    size_t batch_messages_max = 256;
    size_t batch_bytes_max = 512 << 10;
    size_t ahead_entries_max = 4096;
    size_t ahead_bytes_max = 1 << 20;
    int64_t gap_wait_us = 20'000;   // the bus may still fill the gap
    int64_t retry_min_us = 20'000;  // after not_now, doubling up to
    int64_t retry_max_us = 500'000;
    // A head that the store does not have after so many reads was another log's.
    uint32_t gap_tries_max = 8;
    // After a false alarm the next suspicion waits, longer each time, up to
    int64_t doubt_wait_max_us = 5'000'000;
  };

  RoomLog(std::string room, CommittedUuids& committed_uuids, Host& host, const Limits& limits);

  const std::string& room() const { return room_; }
  const Chain& start_chain() const { return start_chain_; }  // chain(0)
  const Tail& tail() const { return tail_; }
  const Position& head() const { return tail_.head(); }

  // --- the log ---

  // The newest rows as the store has them: the log is open from now on. Rows that came meanwhile are taken.
  void open(const Rows& newest, int64_t now_us);
  bool is_open() const { return open_; }
  // From the bus. Returns how many of them were here already, or do not continue what is held.
  size_t take(const LogPiece& piece, int64_t now_us);
  // Somebody knows of a head (an announcement, a read): what is missing will be read if it does not come.
  void know_head(const Position& position, int64_t now_us);
  // The store's head, asked for when `held` was ours: one below that is a suspicion.
  void know_store_head(const Position& position, const Position& held, int64_t now_us);
  void gap_read(const Rows& rows, int64_t now_us);
  void tick(int64_t now_us);

  // --- the store may have gone back ---

  // Somebody else has found a contradiction at this sequence.
  void suspect(Sequence contradicted_at, int64_t now_us);
  // ok: it was a false alarm. not_now: asked again later. does_not_fit: read_again() follows.
  void confirmed(Rows::Status status, int64_t now_us);
  // The newest rows of what the log is now. REQUIRES: read_again() was called.
  void begin_again(const Rows& newest);
  // A suspicion is not settled yet.
  bool in_doubt() const { return doubt_ != Doubt::none; }
  // It is settled: what is held is gone, and what there is instead is not known yet.
  bool past_is_gone() const { return doubt_ == Doubt::gone; }
  // How often it began again: positions judged before the last time are to be judged again.
  uint32_t pasts() const { return pasts_; }

  // Gives up the frames held: whoever is behind the head, and who comes, reads the store.
  void drop_tail() { tail_.start(tail_.head()); }

  // --- messages on their way ---

  // Never refused here. Kept in order of submission.
  void submit(Pending pending);
  void append_done(const AppendResult& result, int64_t now_us);
  // A message with this uuid is waiting or with the store: of this session if it has one, else of any. Null: none.
  struct Place {
    uint64_t session;
    BodyDigest body;
  };
  const Place* find_waiting(const std::string& uuid, uint64_t session) const;
  size_t waiting_count() const { return waiting_.size() + with_store_.size(); }
  size_t waiting_bytes() const { return waiting_bytes_; }
  // The appends will wait until further notice (the store said not_now, or is in doubt).
  bool held_up() const { return retry_at_us_ != 0 || append_doubted_ || doubt_ == Doubt::gone; }
  // The session may not speak any more: what it has waiting is taken back, as far as the store has certainly not taken
  // it; what is with the store, if the store then says that it has not.
  void withdraw(uint64_t session);

 private:
  struct Ahead {
    Chain previous, chain;
    std::string uuid;
    BodyDigest body;
    std::string frame;
  };
  void offer(Sequence sequence, const Chain& previous, const Chain& chain, std::string_view uuid,
             const BodyDigest& body, std::string_view frame, int64_t now_us);
  void take_next(Sequence sequence, const Chain& previous, const Chain& chain, std::string_view uuid,
                 const BodyDigest& body, std::string_view frame);
  void keep_ahead(Sequence sequence, Ahead ahead, int64_t now_us);
  void drain_ahead(int64_t now_us);
  void fill(const Rows& newest);
  void forget_ahead();
  void doubt_after(int64_t wait_us, int64_t now_us);
  bool something_missing() const { return must_read_ || !ahead_.empty() || known_head_ > head().sequence; }
  void watch_gap(int64_t now_us, int64_t wait_us);
  void send_batch();
  template <class Pendings>
  void take_back(Pendings& from, uint64_t session);
  void forget_place(const Pending& pending);

  const std::string room_;
  const Chain start_chain_;
  CommittedUuids& committed_uuids_;
  Host& host_;
  const Limits limits_;

  Tail tail_;
  bool open_ = false;
  std::map<Sequence, Ahead> ahead_;
  size_t ahead_bytes_ = 0;
  Sequence known_head_ = 0;
  bool reading_gap_ = false;
  int64_t gap_due_us_ = 0;  // 0: nothing is missing
  uint32_t gap_tries_ = 0;  // reads that found nothing of what is missing
  bool must_read_ = false;  // what was known to be missing was forgotten: a read tells
  uint32_t gap_past_ = 0;   // pasts_ when the gap's read began

  enum class Doubt : uint8_t { none, due, asked, gone };
  Doubt doubt_ = Doubt::none;
  Sequence doubt_at_ = 0;
  int64_t doubt_due_us_ = 0;
  int64_t calm_since_us_ = 0, doubt_wait_us_ = 0;  // the last false alarm, and how long the next suspicion waits
  uint32_t pasts_ = 0;

  std::deque<Pending> waiting_;
  std::vector<Pending> with_store_;
  std::unordered_multimap<std::string, Place> places_;  // by uuid, of waiting_ and with_store_
  bool append_open_ = false;
  bool append_doubted_ = false;  // the store's log does not contain our head, says the append
  uint32_t append_past_ = 0;     // pasts_ when the append began
  std::vector<uint64_t>
      withdrawn_;  // sessions whose part of the append that is open goes if the store does not take it
  size_t waiting_bytes_ = 0;
  int64_t retry_at_us_ = 0, retry_delay_us_ = 0;
};

}  // namespace tertulia
