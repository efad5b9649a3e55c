// A connection between a client and a node: bytes that arrive in order and a little later, a kernel that takes only so
// much, and ends of every kind.
//
// Thread: one. Memory: what is under way. Ends: when both ends have let go.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "node/transport.h"
#include "protocol/websocket.h"
#include "scheduler.h"

namespace tertulia::simulation {

class WireClient {
 public:
  virtual ~WireClient() = default;
  // A text from the server.
  virtual void wire_text(std::string_view text) = 0;
  // Nothing more will come. code: of the server's close frame; 1005: it had none, or there was none.
  virtual void wire_ended(int code) = 0;
};

class Wire : public std::enable_shared_from_this<Wire> {
 public:
  Wire(Scheduler& scheduler, Loop& loop, WireClient& client, size_t window_bytes);

  // --- the client ---
  void send(std::string_view text);
  // With a close frame.
  void close(uint16_t code);
  // Without a word. `told`: the other end hears of it; else it must find out by itself.
  void cut(bool told);
  // Nobody is at the other end, whether the client knows it or not.
  bool ended() const { return ended_; }
  // Reads nothing for so long.
  void stall(int64_t us);

  // --- the node ---
  std::unique_ptr<Transport> transport();
  // The process is gone: the client hears of it, or not.
  void node_is_gone(bool told);
  // Called for each text when it is sent.
  std::function<void(std::string_view)> on_sent;

 private:
  class Door;
  void to_server(std::string frame);
  void to_client(int64_t bytes, Function<void(WireClient&)> what);
  void assemble(std::string_view bytes);
  int64_t take(std::span<const iovec> pieces);
  void writable_again();
  void flush();
  void end_server();

  Scheduler& scheduler_;
  Loop& loop_;
  WireClient* client_;  // null: it has let go
  TransportUser* user_ = nullptr;
  size_t window_;
  bool reading_ = true, wants_writable_ = false, ended_ = false, client_cut_ = false, flushing_ = false;
  bool user_told_ = false;
  int close_code_ = 1005;
  int64_t to_client_us_ = 0, to_server_us_ = 0;
  std::string half_;
  std::deque<std::string> unread_;
};

}  // namespace tertulia::simulation
