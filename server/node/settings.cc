#include "node/settings.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "base/log.h"
#include "bus/open_bus.h"
#include "node/units.h"

namespace tertulia {
namespace {

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> items;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    std::string_view item = text.substr(0, comma);
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
    if (!item.empty()) items.emplace_back(item);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return items;
}

std::string join(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ",") + item;
  return text;
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return number;
}

// Shortest form that reads back as the same number.
std::string show_number(double number) {
  std::array<char, 32> digits;
  return {digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr};
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  append_escaped(out, text);
  return out + '"';
}

// Where a setting lives: a field of Options, or of its live part.
template <class T>
struct Field {
  Field(T Options::*field) : here(field) {}        // NOLINT: meant to convert
  Field(T Options::Live::*field) : live(field) {}  // NOLINT
  T& of(Options& options) const { return here != nullptr ? options.*here : options.live.*live; }
  const T& of(const Options& options) const { return here != nullptr ? options.*here : options.live.*live; }
  bool is_live() const { return live != nullptr; }

  T Options::*here = nullptr;
  T Options::Live::*live = nullptr;
};

// `wrong` looks at a text and says what is wrong with it, empty if nothing.
Setting text(const char* name, const char* form, const char* meaning, std::string Options::*field,
             std::function<std::string(const std::string&)> wrong) {
  return {.name = name,
          .form = form,
          .meaning = meaning,
          .set =
              [field, wrong = std::move(wrong)](Options& options, const std::string& value) {
                std::string error = wrong(value);
                if (error.empty()) options.*field = value;
                return error;
              },
          .show = [field](const Options& options) { return options.*field; }};
}

Setting choice(const char* name, const char* meaning, std::string Options::*field,
               const std::vector<std::string>& choices) {
  std::string form;
  for (const std::string& each : choices) form += (form.empty() ? "" : "|") + each;
  Setting setting = text(name, form.c_str(), meaning, field, [choices, form](const std::string& value) -> std::string {
    if (std::find(choices.begin(), choices.end(), value) != choices.end()) return {};
    return quoted(value) + " is not one of " + form;
  });
  return setting;
}

Setting list(const char* name, const char* form, const char* meaning, std::vector<std::string> Options::*field,
             std::function<std::string(const std::string&)> wrong) {
  return {.name = name,
          .form = form,
          .meaning = meaning,
          .is_list = true,
          .set = [field, wrong = std::move(wrong)](Options& options, const std::string& value) -> std::string {
            std::vector<std::string> items = split(value);
            for (const std::string& item : items) {
              if (std::string error = wrong(item); !error.empty()) return error;
            }
            options.*field = std::move(items);
            return {};
          },
          .show = [field](const Options& options) { return join(options.*field); }};
}

Setting on_off(const char* name, const char* meaning, Field<bool> field) {
  return {.name = name,
          .form = "on|off",
          .meaning = meaning,
          .is_live = field.is_live(),
          .set = [field](Options& options, const std::string& value) -> std::string {
            if (value != "on" && value != "off") return quoted(value) + " is neither on nor off";
            field.of(options) = value == "on";
            return {};
          },
          .show = [field](const Options& options) { return field.of(options) ? "on" : "off"; }};
}

Setting count(const char* name, const char* meaning, Field<uint32_t> field, uint32_t min, uint32_t max) {
  return {.name = name,
          .form = "COUNT",
          .meaning = meaning,
          .is_live = field.is_live(),
          .set = [=](Options& options, const std::string& value) -> std::string {
            const auto number = parse_number<uint32_t>(value);
            if (!number) return quoted(value) + " is no whole number";
            if (*number < min || *number > max) {
              return value + " is not within " + std::to_string(min) + " and " + std::to_string(max);
            }
            field.of(options) = *number;
            return {};
          },
          .show = [field](const Options& options) { return std::to_string(field.of(options)); },
          .is_bare = true};
}

Setting rate(const char* name, const char* meaning, Field<double> field, double min) {
  return {.name = name,
          .form = "NUMBER",
          .meaning = meaning,
          .is_live = field.is_live(),
          .set = [field, min](Options& options, const std::string& value) -> std::string {
            const auto number = parse_number<double>(value);
            if (!number || !std::isfinite(*number)) return quoted(value) + " is no number";
            if (*number < min || *number > 1e9) return value + " is not within " + show_number(min) + " and 1000000000";
            field.of(options) = *number;
            return {};
          },
          .show = [field](const Options& options) { return show_number(field.of(options)); },
          .is_bare = true};
}

template <class T>
Setting size(const char* name, const char* meaning, Field<T> field, uint64_t min, uint64_t max) {
  return {.name = name,
          .form = "SIZE",
          .meaning = meaning,
          .is_live = field.is_live(),
          .set = [=](Options& options, const std::string& value) -> std::string {
            const auto bytes = parse_size(value);
            if (!bytes) return quoted(value) + " is no size; write bytes, or as 64KiB, 8MiB";
            if (*bytes < min || *bytes > max) {
              return value + " is not within " + show_size(min) + " and " + show_size(max);
            }
            field.of(options) = static_cast<T>(*bytes);
            return {};
          },
          .show = [field](const Options& options) { return show_size(static_cast<uint64_t>(field.of(options))); }};
}

Setting duration(const char* name, const char* meaning, int64_t Options::*field, int64_t min_ms, int64_t max_ms) {
  return {.name = name,
          .form = "DURATION",
          .meaning = meaning,
          .set = [=](Options& options, const std::string& value) -> std::string {
            const auto ms = parse_duration_ms(value);
            if (!ms) return quoted(value) + " is no duration; write it with its unit, as 500ms, 2s, 10m";
            if (*ms < min_ms || *ms > max_ms) {
              return value + " is not within " + show_duration(min_ms) + " and " + show_duration(max_ms);
            }
            options.*field = *ms;
            return {};
          },
          .show = [field](const Options& options) { return show_duration(options.*field); }};
}

// --- what a single value must look like ---

std::string wrong_address(const std::string& value) {
  const std::string hint = quoted(value) + " is no address; write HOST:PORT, as 127.0.0.1:8080 or [::1]:8080";
  const size_t colon = value.rfind(':');
  if (colon == std::string::npos || colon == 0) return hint;
  std::string host = value.substr(0, colon);
  const bool in_brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (in_brackets) {
    in6_addr ignored;
    if (inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &ignored) != 1) return hint;
  } else {
    for (const char c : host) {
      if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-'))
        return hint;
    }
  }
  const auto port = parse_number<uint32_t>(value.substr(colon + 1));
  if (!port) return hint;
  if (*port > 65535) return std::to_string(*port) + " is no port; the highest is 65535 (0: any free one)";
  return {};
}

std::string wrong_origin(const std::string& value) {
  const std::string hint =
      quoted(value) + " is no origin; write scheme, host and port only, as https://chat.example.org";
  const size_t scheme = value.starts_with("https://") ? 8 : value.starts_with("http://") ? 7 : 0;
  if (scheme == 0 || value.size() == scheme) return hint;
  for (const char c : value.substr(scheme)) {
    if (c <= ' ' || c >= 0x7f || c == '/' || c == '?' || c == '#' || c == '@' || c == '*' || (c >= 'A' && c <= 'Z'))
      return hint;
  }
  return {};
}

std::string wrong_network(const std::string& value) {
  const std::string hint = quoted(value) + " is no network; write it as 10.0.0.0/8 or fd00::/8, or a single address";
  const size_t slash = value.find('/');
  const std::string address = value.substr(0, slash);
  in6_addr ignored;
  const bool v4 = inet_pton(AF_INET, address.c_str(), &ignored) == 1;
  if (!v4 && inet_pton(AF_INET6, address.c_str(), &ignored) != 1) return hint;
  if (slash == std::string::npos) return {};
  const auto bits = parse_number<uint32_t>(value.substr(slash + 1));
  return bits && *bits <= (v4 ? 32u : 128u) ? std::string() : hint;
}

std::string wrong_path(const std::string& value) {
  if (value.empty()) return "is empty; name a directory";
  if (value.find('\0') != std::string::npos) return "holds a NUL";
  return {};
}

std::string any_file(const std::string& value) {
  return value.find('\0') != std::string::npos ? "holds a NUL" : "";
}

bool has_scheme(const std::string& value, std::initializer_list<const char*> schemes) {
  return std::any_of(schemes.begin(), schemes.end(), [&](const char* scheme) {
    const std::string prefix = std::string(scheme) + "://";
    return value.starts_with(prefix) && value.size() > prefix.size();
  });
}

std::string wrong_store(const std::string& value) {
  if (value == "sqlite" || value == "memory" ||
      has_scheme(value, {"postgresql", "postgres", "mongodb", "mongodb+srv"})) {
    return {};
  }
  return quoted(without_credentials(value)) + " is not one of sqlite|memory|postgresql://HOST/NAME|mongodb://HOST/NAME";
}

Setting secret(Setting setting) {
  setting.is_secret = true;
  return setting;
}

std::vector<Setting> make_settings() {
  using O = Options;
  using L = Options::Live;
  constexpr int64_t second = 1'000, hour = 3'600'000;
  // Durations may be set far below their defaults, so that tests need not wait; each is still long enough to be one.
  std::vector<Setting> all = {
      text("listen", "HOST:PORT", "Where clients connect; port 0 takes any free one", &O::listen, wrong_address),
      text("internal-listen", "HOST:PORT",
           "Where /healthz, /readyz, /metrics and POST /drain are answered; not for the public", &O::internal_listen,
           wrong_address),
      text("data-dir", "DIR", "Where the embedded store keeps its files; made if it is missing", &O::data_dir,
           wrong_path),
      secret(text("store", "sqlite|memory|URL",
                  "What keeps the logs: sqlite under --data-dir, memory (lost at the end), or for several nodes the "
                  "postgresql:// or mongodb:// URL of a database; credentials are better given by TERTULIA_STORE",
                  &O::store, wrong_store)),
      secret(
          text("bus", "local|URL,...",
               "What tells of new messages: local within one node, or the nats:// URLs of servers that all nodes use",
               &O::bus, wrong_bus)),
      text("nats-creds", "FILE", "A NATS user's .creds file, for the bus", &O::nats_creds, any_file),
      text("nats-ca", "FILE", "Who signs the certificates of the bus, besides the system's authorities", &O::nats_ca,
           any_file),
      text("nats-cert", "FILE", "This node's own certificate for the bus", &O::nats_cert, any_file),
      text("nats-key", "FILE", "The key of --nats-cert", &O::nats_key, any_file),
      count("shards", "Threads that serve sessions", &O::shards, 1, 64),
      list("allowed-origins", "ORIGIN,...", "Pages of these origins may connect, besides the server's own",
           &O::allowed_origins, wrong_origin),
      on_off("require-origin", "Refuse clients that send no Origin (all that are not browsers)", &O::require_origin),
      list("trusted-proxies", "CIDR,...", "From these the right-most untrusted X-Forwarded-For is the client's address",
           &O::trusted_proxies, wrong_network),
      on_off("proxy-protocol", "Connections from --trusted-proxies begin with PROXY protocol v2", &O::proxy_protocol),
      choice("log-format", "How the log is written; auto: plain on a terminal, else json", &O::log_format,
             {"auto", "json", "plain"}),
      choice("log-level", "The least important lines that are written", &O::log_level,
             {"debug", "info", "warn", "error"}),

      count("max-messages-history", "Messages shown to who joins without a past", &L::max_messages_history, 0, 1000),
      on_off("rate-limits", "Allowances and caps for each session and address; off only for benchmarks",
             &L::rate_limits),
      rate("session-messages-per-second", "A session's messages on the average; faster ones are read more slowly",
           &L::session_messages_per_second, 0.001),
      rate("session-messages-burst", "A session's messages at once", &L::session_messages_burst, 1),
      size<double>("session-bytes-per-second", "A session's bytes on the average", &L::session_bytes_per_second, 1,
                   1ull << 40),
      size<double>("session-bytes-burst", "A session's bytes at once", &L::session_bytes_burst, 1, 1ull << 40),
      rate("address-messages-per-second", "The same for all sessions of one address", &L::address_messages_per_second,
           0.001),
      rate("address-messages-burst", "The same for all sessions of one address", &L::address_messages_burst, 1),
      size<double>("address-bytes-per-second", "The same for all sessions of one address", &L::address_bytes_per_second,
                   1, 1ull << 40),
      size<double>("address-bytes-burst", "The same for all sessions of one address", &L::address_bytes_burst, 1,
                   1ull << 40),
      count("address-connections-max", "Connections of one address", &L::address_connections_max, 1, 10'000'000),

      duration("drain-window", "At the end, members are sent away spread over so long", &O::drain_window_ms, 0, hour),
      duration("name-grace", "A name is kept so long for a user who was cut off", &O::name_grace_ms, 0, hour),
      duration("lease", "Several nodes: one that has not renewed its lease for so long is taken for dead", &O::lease_ms,
               100, hour),
      duration("lease-renew", "Several nodes: each renews its lease so often", &O::lease_renew_ms, 20, hour),
      duration("heartbeat", "A session that got nothing else for so long gets a heartbeat", &O::heartbeat_ms, 10, hour),
      duration("ping-interval", "The server pings each session so often", &O::ping_interval_ms, 10, hour),
      duration("silent", "A session from which nothing came for so long is closed with 4008", &O::silent_ms, 20, hour),
      duration("stalled", "A session that has output waiting and took and sent nothing for so long is closed with 4008",
               &O::stalled_ms, 20, hour),
      duration("classic-silent", "The two limits above for classic sessions, whose scripts block for long",
               &O::classic_silent_ms, 20, 24 * hour),
      duration("no-room", "A connection without a room may idle for so long", &O::no_room_ms, 20, 24 * hour),
      duration("handshake", "A request's head, and before a join a started frame, must be complete within",
               &O::handshake_ms, 20, 600 * second),
      duration("first-join-wait", "A classic text that came before any join waits so long for one",
               &O::first_join_wait_ms, 0, 600 * second),
      duration("vanished", "A host that acknowledged nothing for so long while bytes are under way is gone",
               &O::vanished_ms, 20, hour),

      size<uint32_t>("message-bytes-max", "The largest frame taken as a message", &O::message_bytes_max, 1 << 10,
                     1 << 20),
      count("connections-max", "Connections in all; beyond it the longest without a room go first", &O::connections_max,
            1, 10'000'000),
      size<uint32_t>("tail-bytes-max", "Newest messages of a room kept ready in each shard's memory",
                     &O::tail_bytes_max, 4 << 10, 256 << 20),
      count("rooms-per-session-max", "Rooms that one session may join", &O::rooms_per_session_max, 1, 100'000),
      count("members-per-room-max", "Members of one room", &O::members_per_room_max, 1, 10'000'000),
      count("rooms-max", "Rooms with members at a time", &O::rooms_max, 1, 100'000'000),
  };
  return all;
}

// Letters to change, add, drop or swap to get from a to b.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::string Setting::variable() const {
  std::string variable = "TERTULIA_";
  for (const char c : name) variable += c == '-' ? '_' : static_cast<char>(c - 'a' + 'A');
  return variable;
}

const std::vector<Setting>& settings() {
  static const std::vector<Setting> all = make_settings();
  return all;
}

const Setting* find_setting(std::string_view name) {
  for (const Setting& setting : settings()) {
    if (setting.name == name) return &setting;
  }
  return nullptr;
}

std::string Setting::shown(const Options& options) const {
  return is_secret ? without_credentials(show(options)) : show(options);
}

std::string without_credentials(std::string_view text) {
  std::string out;
  // Each URL with what follows it: a password may hold slashes, commas and @, so all before the last @ is hidden.
  while (true) {
    const size_t scheme = text.find("://");
    if (scheme == std::string_view::npos) break;
    const size_t begin = scheme + 3;
    const size_t next = text.find("://", begin);
    size_t end = text.size();
    if (next != std::string_view::npos) {
      const size_t comma = text.rfind(',', next);
      if (comma != std::string_view::npos && comma >= begin) end = comma;
    }
    const std::string_view rest = text.substr(begin, end - begin);
    const size_t at = rest.rfind('@');
    out += text.substr(0, begin);
    if (at != std::string_view::npos) out += "***";
    out += at == std::string_view::npos ? rest : rest.substr(at);
    text.remove_prefix(end);
  }
  out += text;
  for (const char* word : {"password", "passwd", "token", "secret"}) {
    for (size_t from = 0;;) {
      const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; };
      const std::string_view wanted = word;
      const auto found =
          std::search(out.begin() + static_cast<ptrdiff_t>(from), out.end(), wanted.begin(), wanted.end(), same);
      if (found == out.end()) break;
      from = static_cast<size_t>(found - out.begin()) + wanted.size();
      const size_t equals = out.find_first_of("=&", from);
      if (equals == std::string::npos || out[equals] != '=') continue;
      const size_t end = std::min(out.find('&', equals), out.size());
      out.replace(equals + 1, end - equals - 1, "***");
    }
  }
  return out;
}

std::vector<std::string> advice(const Options& o, const std::function<bool(std::string_view)>& is_set) {
  std::vector<std::string> sentences;
  if (o.shares_store() && !o.shares_bus()) {
    sentences.push_back(
        "store is shared and bus is local: right for one node; of other nodes on this store nobody here would see a "
        "message sooner than it is found in the store, about a second later, nor who comes, goes and types. Give all "
        "nodes the same --bus nats://...");
  }
  if (o.shares_store() && is_set("data-dir")) {
    sentences.push_back("data-dir is not used: the store keeps everything in its database");
  }
  return sentences;
}

std::string nearest_setting(std::string_view name) {
  if (name.size() > 64) return {};
  std::string plain(name);
  for (char& c : plain) c = c == '_' ? '-' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  std::string nearest;
  size_t best = std::max<size_t>(2, plain.size() / 3) + 1;
  for (const Setting& setting : settings()) {
    const size_t steps = distance(plain, setting.name);
    if (steps < best) {
      best = steps;
      nearest = setting.name;
    }
  }
  return nearest;
}

std::vector<std::string> broken_relations(const Options& o, const std::function<std::string(std::string_view)>& show) {
  std::vector<std::string> broken;
  const auto need = [&](bool good, const char* one, const char* is, const char* other, const char* otherwise) {
    if (!good) broken.push_back(show(one) + " must be " + is + " " + show(other) + ": " + otherwise);
  };
  const Options::Live& l = o.live;
  need(o.ping_interval_ms < o.silent_ms, "ping-interval", "shorter than", "silent",
       "a healthy session would be closed before its pong could come");
  need(o.ping_interval_ms < o.classic_silent_ms, "ping-interval", "shorter than", "classic-silent",
       "a healthy session would be closed before its pong could come");
  need(o.message_bytes_max <= o.tail_bytes_max, "message-bytes-max", "at most", "tail-bytes-max",
       "the newest message must fit into memory");
  need(o.message_bytes_max <= l.session_bytes_burst, "message-bytes-max", "at most", "session-bytes-burst",
       "the largest message could never be read");
  need(l.session_messages_per_second <= l.address_messages_per_second, "session-messages-per-second", "at most",
       "address-messages-per-second", "one session would already be more than its address may");
  need(l.session_messages_burst <= l.address_messages_burst, "session-messages-burst", "at most",
       "address-messages-burst", "one session would already be more than its address may");
  need(l.session_bytes_per_second <= l.address_bytes_per_second, "session-bytes-per-second", "at most",
       "address-bytes-per-second", "one session would already be more than its address may");
  need(l.session_bytes_burst <= l.address_bytes_burst, "session-bytes-burst", "at most", "address-bytes-burst",
       "one session would already be more than its address may");
  need(o.listen != o.internal_listen || o.listen.ends_with(":0"), "internal-listen", "another address than", "listen",
       "metrics and drain are not for the public");
  if (o.nats_cert.empty() != o.nats_key.empty()) {
    broken.push_back("nats-cert and nats-key belong together: one of them is missing");
  }
  if (o.lease_ms <= 2 * o.lease_renew_ms) {
    broken.push_back(show("lease") + " must be longer than twice " + show("lease-renew") +
                     ": one renewal that is late would be taken for the node's death");
  }
  if (o.shares_bus() && !o.shares_store()) {
    broken.push_back(show("bus") + " needs a store that all nodes share, not " + show("store") +
                     ": nodes that hear of each other's messages must keep them in one log");
  }
  if (o.proxy_protocol && o.trusted_proxies.empty()) {
    broken.push_back(show("proxy-protocol") + " needs trusted-proxies: name the networks of the proxies");
  }
  return broken;
}

}  // namespace tertulia
