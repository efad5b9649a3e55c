// A crowd: many members of rooms over raw sockets, on one thread, and what they see of what some of them say.
//
// Open loop: messages are sent at the times the schedule names, whatever has or has not arrived, and their age counts
// from those times; so a server that stalls is seen to stall. One read buffer serves all sockets; of a connection only
// the beginning of an unfinished frame is kept. A crowd also talks to the bare loop, which it hands ready-made frames.
// Thread: one. Memory: about 100 bytes a member, 40 bytes a message. Ends: its sockets close with it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "driver/histogram.h"
#include "driver/judge.h"

namespace tertulia::bench {

struct CrowdOptions {
  std::string host = "127.0.0.1";
  std::vector<uint16_t> ports;  // of as many nodes; the first of them has the first part of the members, and so on
  bool bare = false;            // the bare loop: no joins, frames ready-made, one publisher
  uint32_t members = 1000;
  uint32_t rooms = 1;
  uint32_t rooms_each = 1;  // of each member: member i is in rooms (i × rooms_each + j) modulo rooms
  uint32_t publishers = 1;  // the first members
  size_t text_bytes = 200;
  std::string run;  // makes uuids differ between runs
};

// `burst` messages at once, `bursts_per_second` times a second, for `duration_ns`. 0 bursts: silence.
struct Schedule {
  double bursts_per_second = 10;
  uint32_t burst = 1;
  int64_t duration_ns = 0;
  int64_t patience_ns = 10'000'000'000;  // afterwards: so long without a receipt, and the rest is lost
};

struct Seen {
  uint64_t messages = 0, deliveries = 0, receives = 0;  // receives: calls to recv that brought something
  int64_t elapsed_ns = 0;      // from the first send to the last receipt, at least the duration
  int64_t latest_send_ns = 0;  // how late the driver itself was at worst
  Histogram each, last;        // age at receipt; age when the last member has it
  Faults faults;
};

class Crowd {
 public:
  explicit Crowd(const CrowdOptions& options);
  ~Crowd();
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  // Connects and joins everybody. An empty string, or why it did not work.
  std::string gather();
  // An empty string, or why it had to be given up (a connection was lost).
  std::string run(const Schedule& schedule, Seen& seen);

 private:
  struct Connection {
    int fd = -1;
    bool upgraded = false;
    uint16_t joins_left = 0;
    bool watching_write = false;
    std::string rest;  // of an unfinished frame
    std::string out;   // not yet taken by the kernel
  };
  struct Message {
    int64_t due_ns;
    uint32_t waiting;  // members who do not have it yet
  };

  bool connect_next();
  void step(int64_t wait_until_ns);
  void on_event(uint32_t member, uint32_t events);
  void on_bytes(uint32_t member, char* data, size_t size);
  size_t on_upgrade(uint32_t member, std::string_view data);
  void on_frame(uint32_t member, uint8_t opcode, std::string_view payload);
  void on_push(uint32_t member, std::string_view payload);
  void publish(int64_t due_ns, int64_t now_ns);
  void write(uint32_t member);
  void give_up(std::string why);
  uint32_t room_of(uint32_t member, uint32_t place) const {
    return (member * options_.rooms_each + place) % options_.rooms;
  }

  const CrowdOptions options_;
  int epoll_ = -1;
  std::vector<char> buffer_;
  std::vector<Connection> connections_;
  std::vector<uint32_t> members_of_;  // by room
  std::vector<uint64_t> heads_;       // by room: the last sequence that will be there
  uint32_t connected_ = 0, ready_ = 0, upgraded_ = 0;
  std::string trouble_;

  Judge judge_;
  std::vector<Message> messages_;
  uint64_t waiting_deliveries_ = 0;
  uint64_t sampled_ = 0;
  int64_t now_ns_ = 0, last_receipt_ns_ = 0;
  uint32_t mask_ = 0x9E3779B9;
  Seen* seen_ = nullptr;
};

}  // namespace tertulia::bench
