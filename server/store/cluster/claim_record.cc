#include "store/cluster/claim_record.h"

#include <algorithm>
#include <array>
#include <utility>

#include "protocol/json_reader.h"

namespace tertulia::cluster {
namespace {

using Kind = ClaimState::Kind;

// Enough for those who write a claim while one of them waits for a lost reply.
constexpr size_t trail_max = 8;

constexpr std::array<std::pair<Kind, std::string_view>, 5> kind_names = {{{Kind::none, "forgotten"},
                                                                          {Kind::present, "present"},
                                                                          {Kind::grace, "grace"},
                                                                          {Kind::reloading, "reloading"},
                                                                          {Kind::ended, "ended"}}};

class StateReader final : public JsonVisitor {
 public:
  explicit StateReader(ClaimState& state) : state_(state) {}

  void on_value(uint32_t depth, std::string_view key, JsonKind kind, std::string_view text) override {
    if (depth == 1) list_ = nullptr;
    if (kind == JsonKind::array) {
      if (depth == 1 && key == "sessions") list_ = &state_.sessions;
      if (depth == 1 && key == "trail") list_ = &state_.trail;
      return;
    }
    if (kind != JsonKind::string) return;
    if (depth == 2 && list_ != nullptr) list_->emplace_back(text);
    if (depth != 1) return;
    if (key == "name") state_.shown = text;
    if (key == "keeper") state_.keeper = text;
    if (key == "is") {
      auto found =
          std::find_if(kind_names.begin(), kind_names.end(), [&](const auto& each) { return each.second == text; });
      known = found != kind_names.end();
      if (known) state_.kind = found->first;
    }
  }

  bool known = false;

 private:
  ClaimState& state_;
  std::vector<std::string>* list_ = nullptr;
};

void append_list(std::string& out, std::string_view key, const std::vector<std::string>& texts) {
  if (texts.empty()) return;
  out += ",\"";
  out += key;
  out += "\":[";
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) out += ',';
    append_json_string(out, texts[i]);
  }
  out += ']';
}

// What he was called before is dead, so it goes too.
bool remove_actor(ClaimState& state, const Actor& actor) {
  return std::erase_if(state.sessions, [&](const std::string& node) {
           return node == actor.node || actor.formerly.contains(node);
         }) > 0;
}

void add(std::vector<std::string>& nodes, const std::string& node) {
  auto place = std::lower_bound(nodes.begin(), nodes.end(), node);
  if (place == nodes.end() || *place != node) nodes.insert(place, node);
}

void end(ClaimState& state, const Actor& actor) {
  state.kind = Kind::ended;
  state.sessions.clear();
  state.keeper = actor.node;
}

}  // namespace

bool ClaimState::here(const std::string& node) const {
  return std::binary_search(sessions.begin(), sessions.end(), node);
}

std::vector<std::string> ClaimState::nodes() const {
  if (!live()) return {};
  std::vector<std::string> all = sessions;
  if (!keeper.empty()) add(all, keeper);
  return all;
}

std::optional<ClaimState> claim_of(const Record& record) {
  ClaimState state;
  if (record.version == 0) return state;
  StateReader reader(state);
  if (read_json(record.state, reader) || !reader.known) return std::nullopt;
  state.user = record.user;
  std::sort(state.sessions.begin(), state.sessions.end());
  return state;
}

Put claim_put(const Record& made_from, ClaimState state, const std::string& mark) {
  state.trail.push_back(mark);
  if (state.trail.size() > trail_max) state.trail.erase(state.trail.begin());
  Put put;
  Record& record = put.record;
  record.room = made_from.room;
  record.name = made_from.name;
  record.version = made_from.version;
  record.live = state.live();
  record.user = state.user;
  record.nodes = state.nodes();
  for (const auto& [kind, name] : kind_names) {
    if (kind != state.kind) continue;
    record.state = "{\"is\":\"";
    record.state += name;
    record.state += '"';
  }
  if (!state.shown.empty()) {
    record.state += ",\"name\":";
    append_json_string(record.state, state.shown);
  }
  append_list(record.state, "sessions", state.sessions);
  if (!state.keeper.empty()) {
    record.state += ",\"keeper\":";
    append_json_string(record.state, state.keeper);
  }
  append_list(record.state, "trail", state.trail);
  record.state += '}';
  return put;
}

bool has_mark(const ClaimState& state, std::string_view mark) {
  return std::find(state.trail.begin(), state.trail.end(), mark) != state.trail.end();
}

Claimed claim(ClaimState& state, const Actor& actor, const std::string& user, const std::string& shown) {
  Claimed result;
  if (state.live() && state.user != user) {
    if (state.kind == Kind::present) return result;
    if (state.kind == Kind::grace) {
      result.status = Claimed::Status::waiting;
      return result;
    }
    result.robbed_user = state.user;
    result.robbed_shown = state.shown;
  }
  result.status = Claimed::Status::granted;
  result.began = !state.live() || state.user != user;
  if (!result.began && state.kind == Kind::present && state.here(actor.node)) return result;
  result.changed = true;
  if (state.kind != Kind::present) {
    // Known by the name he comes with; while sessions are there, by that of the first of them.
    state.shown = shown;
    state.sessions.clear();
  }
  remove_actor(state, actor);
  add(state.sessions, actor.node);
  state.kind = Kind::present;
  state.user = user;
  state.keeper.clear();
  return result;
}

Left leave(ClaimState& state, const Actor& actor, const std::string& user, Leaving how) {
  Left result;
  if (state.kind != Kind::present || state.user != user || !remove_actor(state, actor)) return result;
  result.changed = true;
  if (!state.sessions.empty()) return result;
  result.last = true;
  if (how == Leaving::clean) {
    end(state, actor);
    result.ended = true;
    return result;
  }
  state.kind = how == Leaving::reloading ? Kind::reloading : Kind::grace;
  state.keeper = actor.node;
  return result;
}

Left expire(ClaimState& state, const Actor& actor, const std::string& user) {
  Left result;
  const bool counting = state.kind == Kind::grace || state.kind == Kind::reloading;
  if (!counting || state.user != user || state.keeper != actor.node) return result;
  end(state, actor);
  result.changed = result.last = result.ended = true;
  return result;
}

Inherited nodes_died(ClaimState& state, const Actor& actor, const std::set<std::string>& dead) {
  Inherited result;
  if (!state.live()) return result;
  if (std::erase_if(state.sessions, [&](const std::string& node) { return dead.contains(node); }) > 0) {
    result.changed = true;
    if (state.sessions.empty()) {
      state.kind = Kind::grace;
      state.keeper = actor.node;
      result.keeper = true;
    }
  }
  if (!state.keeper.empty() && dead.contains(state.keeper)) {
    state.keeper = actor.node;
    result.changed = result.keeper = true;
  }
  return result;
}

bool forget(ClaimState& state, const Actor& actor, bool dead_too) {
  if (state.kind != Kind::ended || (state.keeper != actor.node && !dead_too)) return false;
  state = {.trail = std::move(state.trail)};
  return true;
}

}  // namespace tertulia::cluster
