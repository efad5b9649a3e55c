#include "bus/nats_link.h"

#include <nats/nats.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <iterator>
#include <mutex>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "bus/nats_pump.h"

namespace tertulia {
namespace {

constexpr int64_t connect_timeout_ms = 2'000;
constexpr int buffered_bytes_max = 1 << 20;
// Of one subscription, not yet heard. What is heard is only copied, so this fills only while the process starves.
constexpr int pending_messages_max = 8'192;
constexpr int pending_bytes_max = 16 << 20;
constexpr int64_t destroy_after_us = 30'000'000;
constexpr auto last_messages_wait = std::chrono::milliseconds(500);

// What the library's threads may ask for by its number. Never destroyed: they may outlive everything.
template <class T>
class Numbers {
 public:
  void* add(std::shared_ptr<T> what) {
    const std::lock_guard lock(mutex_);
    all_.emplace(++last_, std::move(what));
    return reinterpret_cast<void*>(last_);
  }
  std::shared_ptr<T> find(void* number) {
    const std::lock_guard lock(mutex_);
    const auto found = all_.find(reinterpret_cast<uintptr_t>(number));
    return found == all_.end() ? nullptr : found->second;
  }
  void remove(void* number) {
    std::shared_ptr<T> last;  // ends outside the lock
    const std::lock_guard lock(mutex_);
    const auto found = all_.find(reinterpret_cast<uintptr_t>(number));
    if (found == all_.end()) return;
    last = std::move(found->second);
    all_.erase(found);
  }

 private:
  std::mutex mutex_;
  uintptr_t last_ = 0;                                     // under mutex_
  std::unordered_map<uintptr_t, std::shared_ptr<T>> all_;  // under mutex_
};

struct Hearing {
  NatsLink::Heard heard;
  std::atomic<bool> silent = false;
  Function<void()> last;  // the last message has been heard
};

Numbers<Hearing>& hearings() {
  static auto& all = *new Numbers<Hearing>;
  return all;
}
Numbers<NatsLink::Events>& all_events() {
  static auto& all = *new Numbers<NatsLink::Events>;
  return all;
}

std::string error_of(natsConnection* connection, natsStatus status) {
  const char* text = nullptr;
  if (natsConnection_GetLastError(connection, &text) != NATS_OK && text != nullptr && *text != '\0') return text;
  return natsStatus_GetText(status);
}

void on_message(natsConnection*, natsSubscription*, natsMsg* message, void* number) {
  const auto hearing = hearings().find(number);
  if (hearing && !hearing->silent.load(std::memory_order_relaxed)) {
    hearing->heard({natsMsg_GetData(message), static_cast<size_t>(natsMsg_GetDataLength(message))});
  }
  natsMsg_Destroy(message);
}

void on_complete(void* number) {
  if (const auto hearing = hearings().find(number)) hearing->last();
}

void on_closed(natsConnection* connection, void* number) {
  if (const auto events = all_events().find(number)) events->lost(error_of(connection, NATS_CONNECTION_CLOSED));
}

void on_error(natsConnection* connection, natsSubscription*, natsStatus status, void* number) {
  const auto events = all_events().find(number);
  if (!events) return;
  if (status == NATS_SLOW_CONSUMER) events->slow();
  if (status == NATS_NOT_PERMITTED) events->denied(error_of(connection, status));
}

// The library's own settings, destroyed at the end; the first that is refused is remembered.
class Settings {
 public:
  Settings() { set(natsOptions_Create(&options_), "settings"); }
  ~Settings() { natsOptions_Destroy(options_); }
  Settings(const Settings&) = delete;
  Settings& operator=(const Settings&) = delete;

  void set(natsStatus status, const std::string& what) {
    if (status == NATS_OK || !wrong_.empty()) return;
    const char* const text = nats_GetLastError(nullptr);
    wrong_ = what + ": " + (text != nullptr && *text != '\0' ? text : natsStatus_GetText(status));
  }
  natsOptions* get() const { return options_; }
  const std::string& wrong() const { return wrong_; }

 private:
  natsOptions* options_ = nullptr;
  std::string wrong_;
};

void set_security(Settings& all, const NatsServer& server, const NatsCredentials& credentials) {
  natsOptions* const o = all.get();
  if (!server.user.empty()) {
    all.set(natsOptions_SetUserInfo(o, server.user.c_str(), server.password.c_str()), "user and password");
  } else if (!server.token.empty()) {
    all.set(natsOptions_SetToken(o, server.token.c_str()), "token");
  }
  if (const std::string& file = credentials.creds_file; !file.empty()) {
    all.set(natsOptions_SetUserCredentialsFromFiles(o, file.c_str(), nullptr), file);
  }
  // A server may ask for TLS although the URL does not; it is checked then as well.
  if (server.tls) all.set(natsOptions_SetSecure(o, true), "TLS");
  all.set(natsOptions_SetExpectedHostname(o, server.host.c_str()), "TLS");
  if (const std::string& file = credentials.ca_file; !file.empty()) {
    all.set(natsOptions_LoadCATrustedCertificates(o, file.c_str()), file);
  }
  if (const std::string& file = credentials.cert_file; !file.empty()) {
    all.set(natsOptions_LoadCertificatesChain(o, file.c_str(), credentials.key_file.c_str()), file);
  }
}

}  // namespace

class NatsLink::Line {
 public:
  natsSubscription* subscription = nullptr;
  void* number = nullptr;
  std::shared_ptr<Hearing> hearing;
  std::shared_ptr<std::atomic<bool>> completed = std::make_shared<std::atomic<bool>>(false);
  int64_t left_us = 0;
  std::list<std::unique_ptr<Line>>::iterator place;  // in lines_ or leaving_

  void destroy() {
    natsSubscription_Destroy(subscription);
    hearings().remove(number);
  }
};

// Lines whose last message may still come.
struct NatsLink::Done {
  std::mutex mutex;
  std::condition_variable changed;
  size_t open = 0;
};

std::thread NatsLink::connect(const NatsServer& server, const NatsCredentials& credentials, const Clock& clock,
                              std::shared_ptr<Events> events, Connected done) {
  // Shared: if no thread can be made, it is still here to be told.
  const auto tell = std::make_shared<Connected>(std::move(done));
  try {
    return std::thread([=, &clock, events = std::move(events)]() mutable {
      bool refused = false;
      std::string why;
      {
        std::shared_ptr<NatsLink> link(new NatsLink(clock, std::move(events)));
        why = link->open(server, credentials, refused);
        if (!why.empty()) link = nullptr;
        (*tell)(std::move(link), refused, why);
      }
      nats_ReleaseThreadMemory();
    });
  } catch (const std::system_error& error) {
    (*tell)(nullptr, false, std::string("no thread: ") + error.what());
    return {};
  }
}

NatsLink::NatsLink(const Clock& clock, std::shared_ptr<Events> events)
    : clock_(clock),
      number_(all_events().add(std::move(events))),
      done_(std::make_shared<Done>()),
      pump_(std::make_unique<NatsPump>()) {}

std::string NatsLink::open(const NatsServer& server, const NatsCredentials& credentials, bool& refused) {
  Settings all;
  natsOptions* const o = all.get();
  if (o == nullptr) return all.wrong();
  NatsServer plain = server;
  plain.tls = false;
  all.set(natsOptions_SetURL(o, plain.address().c_str()), "URL");
  all.set(natsOptions_SetName(o, "tertulia"), "name");
  all.set(natsOptions_SetTimeout(o, connect_timeout_ms), "timeout");
  all.set(natsOptions_SetAllowReconnect(o, false), "reconnect");
  all.set(natsOptions_SetIgnoreDiscoveredServers(o, true), "servers");
  // Its timer would close the connection while the pump reads it; whoever holds the link flushes instead.
  all.set(natsOptions_SetPingInterval(o, 0), "ping");
  all.set(natsOptions_SetSendAsap(o, true), "sending");  // else a thread that writes
  all.set(pump_->use(o), "thread");
  all.set(natsOptions_SetNoEcho(o, true), "echo");
  all.set(natsOptions_UseGlobalMessageDelivery(o, true), "delivery");
  all.set(natsOptions_SetMaxPendingMsgs(o, pending_messages_max), "pending");
  all.set(natsOptions_SetErrorHandler(o, on_error, number_), "errors");
  all.set(natsOptions_SetClosedCB(o, on_closed, number_), "end");
  set_security(all, server, credentials);
  if (!all.wrong().empty()) return all.wrong();

  const natsStatus status = natsConnection_Connect(&connection_, o);
  if (status != NATS_OK) {
    connection_ = nullptr;
    refused = status == NATS_CONNECTION_AUTH_FAILED;
    const char* const text = nats_GetLastError(nullptr);
    return text != nullptr && *text != '\0' ? text : natsStatus_GetText(status);
  }
  message_bytes_max_ = static_cast<size_t>(std::max<int64_t>(natsConnection_GetMaxPayload(connection_), 0));
  return {};
}

NatsLink::Line* NatsLink::subscribe(const std::string& subject, Heard heard) {
  auto line = std::make_unique<Line>();
  line->hearing = std::make_shared<Hearing>();
  line->hearing->heard = std::move(heard);
  line->hearing->last = [done = done_, completed = line->completed] {
    const std::lock_guard lock(done->mutex);
    if (!completed->exchange(true)) --done->open;
    done->changed.notify_all();
  };
  line->number = hearings().add(line->hearing);
  const natsStatus status =
      natsConnection_Subscribe(&line->subscription, connection_, subject.c_str(), on_message, line->number);
  if (status != NATS_OK) {
    hearings().remove(line->number);
    return nullptr;
  }
  {
    const std::lock_guard lock(done_->mutex);
    ++done_->open;
  }
  natsSubscription_SetPendingLimits(line->subscription, pending_messages_max, pending_bytes_max);
  // Refused for a subscription that the end of the connection has closed already; then nothing more is heard of it.
  if (natsSubscription_SetOnCompleteCB(line->subscription, on_complete, line->number) != NATS_OK) line->hearing->last();
  lines_.push_back(std::move(line));
  lines_.back()->place = std::prev(lines_.end());
  return lines_.back().get();
}

void NatsLink::unsubscribe(Line* line) {
  line->hearing->silent = true;
  line->left_us = clock_.now_us();
  natsSubscription_Unsubscribe(line->subscription);
  leaving_.splice(leaving_.end(), lines_, line->place);
}

void NatsLink::sweep() {
  const int64_t now = clock_.now_us();
  while (!leaving_.empty() && leaving_.front()->left_us + destroy_after_us <= now && *leaving_.front()->completed) {
    leaving_.front()->destroy();
    leaving_.pop_front();
  }
}

bool NatsLink::flush(int64_t ms) {
  return natsConnection_FlushTimeout(connection_, ms) == NATS_OK;
}

NatsLink::Sent NatsLink::publish(const std::string& subject, std::string_view bytes) {
  if (natsConnection_Buffered(connection_) > buffered_bytes_max) return Sent::full;
  switch (natsConnection_Publish(connection_, subject.c_str(), bytes.data(), static_cast<int>(bytes.size()))) {
    case NATS_OK: return Sent::yes;
    case NATS_MAX_PAYLOAD: return Sent::too_large;
    default: return Sent::broken;
  }
}

void NatsLink::hang_up() {
  pump_->hang_up();
}

NatsLink::~NatsLink() {
  hang_up();
  {
    std::unique_lock lock(done_->mutex);
    done_->changed.wait_for(lock, last_messages_wait, [this] { return done_->open == 0; });
  }
  lines_.splice(lines_.end(), leaving_);
  for (const auto& line : lines_) {
    line->hearing->silent = true;
    // One that is still being delivered is left behind: better a few bytes lost than a message in freed memory.
    if (*line->completed) line->destroy();
  }
  natsConnection_Destroy(connection_);
  all_events().remove(number_);
}

}  // namespace tertulia
