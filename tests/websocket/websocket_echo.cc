// websocket_echo PORT: sends every WebSocket message back as it came, on 127.0.0.1, whatever the path. Port 0 takes a
// free one and prints it.
//
// What the published conformance suite is run against: the server's own listener, HTTP, transport and frames, with
// limits raised so far that the suite's largest messages fit. A test program; it is never installed.
#include <signal.h>

#include <cstdio>
#include <deque>
#include <memory>
#include <string>

#include "net/listener.h"
#include "net/public_site.h"
#include "protocol/websocket.h"

namespace tertulia {
namespace {

constexpr WebSocketLimits kLimits{
    .message_bytes_max = 32 << 20,
    .skipped_bytes_max = 64 << 20,
    // 9.3.1 and 9.4.1 cut 4 MiB into pieces of 64 bytes, and their engine ends with an empty one.
    .fragments_max = 65'537,
    .fragment_charge_bytes = 0,
    .binary_allowed = true,
};

// Nothing more is read from a peer who leaves so much of the echo in here.
constexpr size_t kUnsentBytesMax = 1 << 20;

// Ends: destroys itself with its connection.
class EchoSession final : public TransportUser, private WebSocketReader::Handler {
 public:
  explicit EchoSession(std::unique_ptr<Transport> transport) : transport_(std::move(transport)) {
    transport_->set_user(this);
  }

  void on_bytes(char* data, size_t size) override {
    if (ended_) return;
    const WebSocketReader::Fed fed = reader_.feed(data, size, *this);
    if (fed.status == WebSocketReader::Status::failed) {
      end(reader_.fail_code(), reader_.fail_reason());
    }
    flush();
  }
  void on_writable() override { flush(); }
  void on_closed() override { delete this; }

 private:
  bool on_message(Opcode kind, std::string_view payload) override {
    append_frame(out_, kind, payload);
    return true;
  }
  bool on_too_large(uint64_t) override {
    end(CloseCode::too_big, "");
    return false;
  }
  bool on_ping(std::string_view payload) override {
    append_frame(out_, Opcode::pong, payload);
    return true;
  }
  bool on_pong(std::string_view) override { return true; }
  void on_close(CloseCode code, std::string_view) override { end(code, ""); }

  void end(CloseCode code, std::string_view reason) {
    append_close_frame(out_, code, reason);
    ended_ = true;
  }

  void flush() {
    while (sent_ < out_.size()) {
      const iovec piece{out_.data() + sent_, out_.size() - sent_};
      const int64_t sent = transport_->send({&piece, 1});
      if (sent < 0) return;
      if (sent == 0) {
        transport_->set_reading(out_.size() - sent_ < kUnsentBytesMax);
        return transport_->want_writable();
      }
      sent_ += static_cast<size_t>(sent);
    }
    out_.clear();
    if (out_.capacity() > kUnsentBytesMax) out_.shrink_to_fit();
    sent_ = 0;
    if (ended_) {
      transport_->close();
    } else {
      transport_->set_reading(true);
    }
  }

  std::unique_ptr<Transport> transport_;
  WebSocketReader reader_{kLimits};
  std::string out_;
  size_t sent_ = 0;
  bool ended_ = false;
};

class EchoOpener final : public SessionOpener {
 public:
  void open(std::unique_ptr<Transport> transport, Greeting) override { new EchoSession(std::move(transport)); }
};

class EchoSite final : public HttpSite {
 public:
  HttpAnswer answer(const HttpRequest& request) override { return answer_upgrade(request, {{"*"}, false}); }
};

int run(const std::string& port) {
  const SystemClock clock;
  Log log(clock, 2, LogFormat::plain, LogLevel::info);
  raise_open_files_limit();
  ConnectionCounts counts(10'000, 0), refusals(16, 0);
  EventLoop loop("echo");
  EchoSite site;
  EchoOpener opener;
  const TrustedProxies nobody;
  ShardMetrics metrics;
  HttpService service({loop, site, &opener, counts, nobody, clock, log, metrics});
  Listener listener(loop, {&service}, counts, refusals, log);
  const std::string wrong = listener.open("127.0.0.1:" + port, "PORT");
  if (!wrong.empty()) {
    std::fprintf(stderr, "%s\n", wrong.c_str());
    return 1;
  }
  std::printf("%u\n", listener.port());
  std::fflush(stdout);
  loop.run();  // until a signal ends the process
  return 0;
}

}  // namespace
}  // namespace tertulia

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: websocket_echo PORT (0: a free one, which is printed)\n");
    return 2;
  }
  return tertulia::run(argv[1]);
}
