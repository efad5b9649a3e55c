#include "wire.h"

#include <algorithm>
#include <utility>

namespace tertulia::simulation {

class Wire::Door final : public Transport {
 public:
  explicit Door(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}
  ~Door() override {
    wire_->user_ = nullptr;
    wire_->node_is_gone(true);
  }
  void set_user(TransportUser* user) override { wire_->user_ = user; }
  int64_t send(std::span<const iovec> pieces) override { return wire_->take(pieces); }
  void want_writable() override {
    wire_->wants_writable_ = true;
    if (wire_->window_ > 0) wire_->writable_again();
  }
  void set_reading(bool on) override {
    wire_->reading_ = on;
    if (on) wire_->flush();
  }
  void close() override { end(); }
  void abort() override { end(); }
  TransportHealth health() const override { return {}; }

 private:
  void end() {
    if (std::exchange(wire_->ended_, true)) return;
    wire_->to_client(0, [code = wire_->close_code_](WireClient& client) { client.wire_ended(code); });
    wire_->end_server();
  }
  const std::shared_ptr<Wire> wire_;
};

Wire::Wire(Scheduler& scheduler, Loop& loop, WireClient& client, size_t window_bytes)
    : scheduler_(scheduler), loop_(loop), client_(&client), window_(window_bytes) {}

std::unique_ptr<Transport> Wire::transport() {
  return std::make_unique<Door>(shared_from_this());
}

void Wire::to_server(std::string bytes) {
  to_server_us_ = std::max(to_server_us_, scheduler_.now_us() + scheduler_.chance.between(20, 800));
  scheduler_.at(
      to_server_us_,
      [self = shared_from_this(), bytes = std::move(bytes)]() mutable {
        self->unread_.push_back(std::move(bytes));
        self->flush();
      },
      loop_.process());
}

// As a loop would: not from inside a call of the session.
void Wire::flush() {
  if (flushing_ || unread_.empty()) return;
  flushing_ = true;
  loop_.post([self = shared_from_this()] {
    self->flushing_ = false;
    if (self->user_ == nullptr || self->ended_ || !self->reading_ || self->unread_.empty()) return;
    std::string bytes = std::move(self->unread_.front());
    self->unread_.pop_front();
    self->user_->on_bytes(bytes.data(), bytes.size());
    self->flush();
  });
}

void Wire::send(std::string_view text) {
  if (client_ == nullptr) return;
  std::string frame;
  append_frame(frame, Opcode::text, text);
  const size_t head = frame.size() - text.size();
  frame[1] = static_cast<char>(static_cast<uint8_t>(frame[1]) | 0x80);
  frame.insert(head, 4, '\0');  // a mask of zeros changes nothing
  to_server(std::move(frame));
}

void Wire::close(uint16_t code) {
  const char payload[2] = {static_cast<char>(code >> 8), static_cast<char>(code & 255)};
  std::string frame;
  append_frame(frame, Opcode::close, {payload, 2});
  frame[1] = static_cast<char>(static_cast<uint8_t>(frame[1]) | 0x80);
  frame.insert(2, 4, '\0');
  to_server(std::move(frame));
  cut(true);
}

void Wire::cut(bool told) {
  if (client_ == nullptr) return;
  client_ = nullptr;
  if (!told) return;
  to_server_us_ = std::max(to_server_us_, scheduler_.now_us() + scheduler_.chance.between(20, 3'000));
  scheduler_.at(
      to_server_us_, [self = shared_from_this()] { self->end_server(); }, loop_.process());
}

void Wire::end_server() {
  ended_ = true;
  loop_.post([self = shared_from_this()] {
    if (self->user_ != nullptr && !std::exchange(self->user_told_, true)) self->user_->on_closed();
  });
}

void Wire::stall(int64_t us) {
  to_client_us_ = std::max(to_client_us_, scheduler_.now_us() + us);
}

void Wire::node_is_gone(bool told) {
  if (std::exchange(ended_, true) || !told) return;
  to_client(0, [](WireClient& client) { client.wire_ended(1005); });
}

// Belongs to no process: it is on its way.
void Wire::to_client(int64_t bytes, Function<void(WireClient&)> what) {
  to_client_us_ = std::max(to_client_us_, scheduler_.now_us() + scheduler_.chance.between(20, 800));
  scheduler_.at(to_client_us_, [self = shared_from_this(), bytes, what = std::move(what)] {
    self->window_ += static_cast<size_t>(bytes);
    if (bytes > 0 && self->wants_writable_) self->writable_again();
    if (self->client_ != nullptr) what(*self->client_);
  });
}

void Wire::writable_again() {
  wants_writable_ = false;
  loop_.post([self = shared_from_this()] {
    if (self->user_ != nullptr && !self->ended_) self->user_->on_writable();
  });
}

int64_t Wire::take(std::span<const iovec> pieces) {
  int64_t taken = 0;
  for (const iovec& piece : pieces) {
    const size_t bytes = std::min(piece.iov_len, window_);
    window_ -= bytes;
    half_.append(static_cast<const char*>(piece.iov_base), bytes);
    taken += static_cast<int64_t>(bytes);
    if (bytes < piece.iov_len) break;
  }
  if (taken > 0) {
    to_client(taken, [](WireClient&) {});
    assemble({});
  }
  return taken;
}

void Wire::assemble(std::string_view) {
  size_t at = 0;
  for (;;) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(half_[at + i]); };
    const size_t have = half_.size() - at;
    if (have < 2) break;
    size_t length = byte(1), head = 2;
    if (length == 126) {
      if (have < 4) break;
      length = static_cast<size_t>(byte(2)) << 8 | byte(3);
      head = 4;
    } else if (length == 127) {
      if (have < 10) break;
      length = 0;
      for (size_t i = 2; i < 10; ++i) length = length << 8 | byte(i);
      head = 10;
    }
    if (have < head + length) break;
    const std::string payload = half_.substr(at + head, length);
    switch (static_cast<Opcode>(byte(0) & 15)) {
      case Opcode::text:
        if (on_sent) on_sent(payload);
        to_client(0, [payload](WireClient& client) { client.wire_text(payload); });
        break;
      case Opcode::ping:
        to_client(0, [self = shared_from_this()](WireClient&) {
          std::string pong("\x8a\x80\0\0\0\0", 6);
          self->to_server(std::move(pong));
        });
        break;
      case Opcode::close: close_code_ = length >= 2 ? byte(head) << 8 | byte(head + 1) : 1005; break;
      default: break;
    }
    at += head + length;
  }
  half_.erase(0, at);
}

}  // namespace tertulia::simulation
