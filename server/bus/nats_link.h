// One connection to one NATS server, from connecting to its end. It never connects again: whoever holds it makes
// another, so that a server that hangs, a refusal or a handshake without an end is seen and decided in one place.
// (libnats' own reconnecting waits without a bound inside its lock, and ends for good after two refusals.)
//
// What the library gets wrong, and what is done here: one thread reads and writes (nats_pump.h); a subscription given
// up is destroyed only when its last message is known to be delivered and 30 s have passed; connecting happens on a
// thread of its own, which may hang; the library's threads are given numbers and not pointers, so that nothing they
// still hold can dangle. It does not notice by itself that a server hangs: flush() does. Thread: connect() from any;
// publish() from one, at the same time everything else from another. Nothing waits but flush(), and hang_up() half a
// second. Memory: buffered_bytes_max and one message, to be sent. Ends: the destructor hangs up, and waits at most
// another half second.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "base/function.h"
#include "bus/nats_url.h"

// As libnats calls them.
struct __natsConnection;    // NOLINT(bugprone-reserved-identifier)
struct __natsSubscription;  // NOLINT(bugprone-reserved-identifier)

namespace tertulia {

class NatsPump;

// Files; empty: none.
struct NatsCredentials {
  std::string creds_file;           // a NATS user's token and key (.creds)
  std::string ca_file;              // who signs the servers' certificates, besides the system's
  std::string cert_file, key_file;  // this node's own certificate
};

class NatsLink {
 public:
  // Run on the library's threads: must not wait.
  struct Events {
    Function<void(const std::string& why)> lost;     // once; also when hung up
    Function<void()> slow;                           // messages were dropped here
    Function<void(const std::string& what)> denied;  // a subject is not allowed
  };
  using Heard = Function<void(std::string_view bytes)>;
  class Line;  // a subscription
  enum class Sent : uint8_t { yes, full, too_large, broken };
  using Connected = Function<void(std::shared_ptr<NatsLink> link, bool refused, const std::string& why)>;

  // `done` is told the link, or null and why not (refused: the credentials), on a thread of its own. It may never be
  // called: with some servers that hang, a handshake has no end. Returns that thread, to be joined once `done` was
  // called or to be left alone; none if there can be no thread, which `done` was told by then.
  [[nodiscard]] static std::thread connect(const NatsServer& server, const NatsCredentials& credentials,
                                           const Clock& clock, std::shared_ptr<Events> events, Connected done);

  ~NatsLink();
  NatsLink(const NatsLink&) = delete;
  NatsLink& operator=(const NatsLink&) = delete;

  // Null: the connection is gone. `heard` runs on one of the library's threads, for one message after another.
  Line* subscribe(const std::string& subject, Heard heard);
  // REQUIRES: a line of this link, not yet unsubscribed. It is gone for the caller; a message under way may still be
  // heard.
  void unsubscribe(Line* line);
  // True: everything asked before has reached the server.
  bool flush(int64_t ms);
  // Frees what was unsubscribed long ago.
  void sweep();
  // Nothing is sent or heard any more.
  void hang_up();

  size_t message_bytes_max() const { return message_bytes_max_; }
  // full: what was published before has to go first; try again.
  Sent publish(const std::string& subject, std::string_view bytes);

 private:
  struct Done;
  NatsLink(const Clock& clock, std::shared_ptr<Events> events);
  std::string open(const NatsServer& server, const NatsCredentials& credentials, bool& refused);

  const Clock& clock_;
  void* const number_;  // the events', for the library
  std::shared_ptr<Done> done_;
  size_t message_bytes_max_ = 0;
  __natsConnection* connection_ = nullptr;
  const std::unique_ptr<NatsPump> pump_;
  std::list<std::unique_ptr<Line>> lines_, leaving_;
};

}  // namespace tertulia
