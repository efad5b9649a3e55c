// Every setting of a node, with its default. Filled by config.h from flags, environment and file; settings.cc gives
// each its name (the field's, with dashes and without the _ms), its meaning and its bounds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tertulia {

struct Options {
  std::string listen = "127.0.0.1:8080";
  std::string internal_listen = "127.0.0.1:9090";
  std::string data_dir = "./data";
  std::string store = "sqlite";  // sqlite, memory, or the URL of a database that several nodes share
  std::string bus = "local";     // local, or the URLs of NATS servers
  // Files; empty: none.
  std::string nats_creds;
  std::string nats_ca;
  std::string nats_cert;
  std::string nats_key;
  uint32_t shards = 2;
  std::vector<std::string> allowed_origins;  // besides the server's own
  std::vector<std::string> trusted_proxies;  // CIDR
  bool proxy_protocol = false;
  bool require_origin = false;      // refuse who sends no Origin (is no browser)
  std::string log_format = "auto";  // json, plain; auto: plain on a terminal, else json
  std::string log_level = "info";

  // Several nodes may have them in common.
  bool shares_store() const { return store.find("://") != std::string::npos; }
  bool shares_bus() const { return bus.find("://") != std::string::npos; }

  // May be changed while running (SIGHUP): see Live.
  struct Live {
    uint32_t max_messages_history = 100;
    bool rate_limits = true;
    // A session, and an address, may send this much on the average and in a burst; beyond it is read more slowly.
    double session_messages_per_second = 20;
    double session_messages_burst = 200;
    double session_bytes_per_second = 256 << 10;
    double session_bytes_burst = 1 << 20;
    double address_messages_per_second = 400;
    double address_messages_burst = 4000;
    double address_bytes_per_second = 8 << 20;
    double address_bytes_burst = 32 << 20;
    uint32_t address_connections_max = 500;
    bool operator==(const Live&) const = default;
  } live;

  // Durations.
  int64_t drain_window_ms = 2'000;
  int64_t name_grace_ms = 10'000;
  int64_t lease_ms = 6'000;        // a node whose lease was not renewed for so long is taken for dead
  int64_t lease_renew_ms = 2'000;  // so often it is renewed
  int64_t heartbeat_ms = 20'000;
  int64_t ping_interval_ms = 15'000;
  int64_t silent_ms = 25'000;           // v2: nothing came for so long: 4008
  int64_t stalled_ms = 60'000;          // v2: output waits and not a byte was taken: 4008
  int64_t classic_silent_ms = 600'000;  // both limits for classic sessions
  int64_t no_room_ms = 600'000;         // a connection without a room may idle for so long
  int64_t handshake_ms = 10'000;        // request head, and a started frame before a join
  int64_t first_join_wait_ms = 10'000;  // classic: a text that came before any join waits so long for one
  int64_t vanished_ms = 60'000;         // no ACK for so long while bytes are unacknowledged

  // Sizes and counts.
  uint32_t message_bytes_max = 64 << 10;
  uint32_t connections_max = 20'000;
  uint32_t tail_bytes_max = 1 << 20;  // a room, a shard
  uint32_t rooms_per_session_max = 128;
  uint32_t members_per_room_max = 100'000;
  uint32_t rooms_max = 1'000'000;
};

}  // namespace tertulia
