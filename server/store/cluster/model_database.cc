#include "store/cluster/model_database.h"

#include <algorithm>
#include <atomic>

#include "base/check.h"

namespace tertulia::cluster {

// --- the servers ---

void ModelServers::State::apply(const Change& change) {
  for (const auto& [room, row] : change.rows) {
    Log& log = logs[room];
    CHECK(row->sequence == log.rows.size() + 1, "a log is dense");
    log.by_uuid.emplace(row->message.uuid, row->sequence);
    log.rows.push_back(row);
  }
  for (const auto& [key, sequence] : change.markers) {
    Sequence& marker = markers[key];
    marker = std::max(marker, sequence);
  }
  for (const Record& record : change.records) records[{record.room, record.name}] = record;
}

const ModelServers::Log& ModelServers::State::log(const std::string& room) const {
  static const Log none;
  const auto found = logs.find(room);
  return found == logs.end() ? none : found->second;
}

Position ModelServers::State::head(const std::string& room) const {
  const Log& of_room = log(room);
  return of_room.rows.empty() ? Position{0, chain_start(room)} : of_room.rows.back()->position();
}

bool ModelServers::State::contains(const std::string& room, const Position& position) const {
  if (position.sequence == 0) return position.chain == chain_start(room);
  const Log& of_room = log(room);
  return position.sequence <= of_room.rows.size() && of_room.rows[position.sequence - 1]->chain == position.chain;
}

bool ModelServers::State::alive(const std::string& node) const {
  const auto found = records.find({"", node});
  return found != records.end() && found->second.live;
}

void ModelServers::Primary::commit(Change change, bool clean) {
  visible.apply(change);
  journal.push_back(std::make_shared<const Change>(std::move(change)));
  if (clean && !deposed) prove(journal.size());
}

void ModelServers::Primary::prove(size_t commits) {
  for (; proven < commits; ++proven) majority.apply(*journal[proven]);
}

ModelServers::ModelServers(const Traits& traits) : traits_(traits), primary_(std::make_shared<Primary>()) {}

void ModelServers::replace(size_t commits) {
  const std::shared_ptr<Primary> old = std::exchange(primary_, std::make_shared<Primary>());
  old->deposed = true;
  CHECK(commits <= old->journal.size(), "only what was committed can be kept");
  for (size_t i = 0; i < commits; ++i) primary_->visible.apply(*old->journal[i]);
  primary_->journal.assign(old->journal.begin(), old->journal.begin() + static_cast<ptrdiff_t>(commits));
  primary_->prove(commits);
}

void ModelServers::failover(bool deposed_lives, size_t keep) {
  const std::lock_guard lock(mutex_);
  replace(std::min(primary_->proven + keep, primary_->journal.size()));
  if (!deposed_lives) ++cuts_;
}

void ModelServers::cut() {
  const std::lock_guard lock(mutex_);
  ++cuts_;
}

void ModelServers::go_back(size_t commits) {
  const std::lock_guard lock(mutex_);
  replace(std::min(commits, primary_->journal.size()));
  ++cuts_;
  late_.clear();
}

void ModelServers::prove_all() {
  const std::lock_guard lock(mutex_);
  primary_->prove(primary_->journal.size());
}

void ModelServers::poison(std::function<bool(const Message&)> poison) {
  const std::lock_guard lock(mutex_);
  poison_ = std::move(poison);
}

bool ModelServers::land_one() {
  const std::lock_guard lock(mutex_);
  if (late_.empty()) return false;
  const auto deed = std::move(late_.front());
  late_.pop_front();
  deed(*primary_);
  return true;
}

size_t ModelServers::commits() const {
  const std::lock_guard lock(mutex_);
  return primary_->journal.size();
}

size_t ModelServers::proven_commits() const {
  const std::lock_guard lock(mutex_);
  return primary_->proven;
}

std::vector<Row> ModelServers::log(const std::string& room, bool majority) const {
  const std::lock_guard lock(mutex_);
  std::vector<Row> rows;
  for (const auto& row : (majority ? primary_->majority : primary_->visible).log(room).rows) rows.push_back(*row);
  return rows;
}

std::vector<std::string> ModelServers::rooms() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> rooms;
  for (const auto& [room, log] : primary_->visible.logs) rooms.push_back(room);
  return rooms;
}

bool ModelServers::has(const std::string& room, const Position& position, bool majority) const {
  const std::lock_guard lock(mutex_);
  return (majority ? primary_->majority : primary_->visible).contains(room, position);
}

std::vector<std::pair<std::string, Row>> ModelServers::rows_behind(size_t commits) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<std::string, Row>> rows;
  for (size_t i = commits; i < primary_->journal.size(); ++i)
    for (const auto& [room, row] : primary_->journal[i]->rows) rows.emplace_back(room, *row);
  return rows;
}

void ModelServers::on_row(std::function<void(const std::string& room, const Row& row)> look) {
  const std::lock_guard lock(mutex_);
  on_row_ = std::move(look);
}

void ModelServers::on_record(std::function<void(const Record& record, bool deposed)> look) {
  const std::lock_guard lock(mutex_);
  on_record_ = std::move(look);
}

std::optional<Record> ModelServers::record(const std::string& room, const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = primary_->visible.records.find({room, name});
  if (found == primary_->visible.records.end()) return std::nullopt;
  return found->second;
}

std::vector<Record> ModelServers::records() const {
  const std::lock_guard lock(mutex_);
  std::vector<Record> records;
  for (const auto& [key, record] : primary_->visible.records) records.push_back(record);
  return records;
}

// --- one node's door ---

const char* name_of(ModelCall call) {
  switch (call) {
    case ModelCall::append: return "append";
    case ModelCall::read: return "read";
    case ModelCall::read_range: return "read_range";
    case ModelCall::find: return "find";
    case ModelCall::heads: return "heads";
    case ModelCall::mark: return "mark";
    case ModelCall::write_markers: return "write_markers";
    case ModelCall::read_markers: return "read_markers";
    case ModelCall::load: return "load";
    case ModelCall::put: return "put";
    case ModelCall::list: return "list";
    case ModelCall::count: return "count";
    case ModelCall::of_user: return "of_user";
    case ModelCall::of_node: return "of_node";
    case ModelCall::rooms: return "rooms";
    case ModelCall::newest: return "newest";
  }
  return "";
}

bool writes(ModelCall call) {
  return call == ModelCall::append || call == ModelCall::mark || call == ModelCall::write_markers ||
         call == ModelCall::put;
}

const char* name_of(ModelFault fault) {
  switch (fault) {
    case ModelFault::none: return "none";
    case ModelFault::not_now: return "not_now";
    case ModelFault::lost_before: return "lost_before";
    case ModelFault::lost_after: return "lost_after";
    case ModelFault::lost_half: return "lost_half";
    case ModelFault::warning: return "warning";
    case ModelFault::late: return "late";
  }
  return "";
}

struct ModelDatabase::Faults {
  mutable std::mutex mutex;
  std::map<ModelCall, std::deque<ModelFault>> next;  // under mutex, as all that follows
  std::map<ModelCall, size_t> calls;
  ModelFault all_writes = ModelFault::none;
  bool away = false;
  uint64_t cuts = 0;
  int64_t slow_us = 0;
  size_t links = 0;
  size_t prepares = 0;
  std::function<ModelFault(const ModelStep&)> hook;  // constant after the first call
};

class ModelLink final : public Link {
 public:
  using Primary = ModelServers::Primary;
  using State = ModelServers::State;
  using Change = ModelServers::Change;
  using Key = ModelServers::Key;

  ModelLink(std::shared_ptr<ModelServers> servers, std::shared_ptr<ModelDatabase::Faults> faults, Worker& worker,
            size_t number)
      : servers_(std::move(servers)), faults_(std::move(faults)), worker_(worker), number_(number) {}

  Failure append(const std::vector<RoomBatch*>& rooms, const std::string& node) override;
  Failure read(const std::string& room, const Position& after, size_t limit, size_t bytes_max, Rows& rows) override;
  Failure read_range(const std::string& room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max,
                     Rows& rows) override;
  Failure find(const std::string& room, const std::string& uuid, Rows& rows) override;
  Failure heads(const std::vector<std::string>& rooms, std::vector<Position>& heads) override;
  bool reads_need_mark() const override {
    return servers_->traits_.reads_need_mark && !servers_->traits_.unsafe_needs_no_mark;
  }
  Failure mark() override;
  Failure write_markers(const std::map<std::pair<std::string, std::string>, Sequence>& markers) override;
  Failure read_markers(const std::string& room, const std::vector<std::string>& users,
                       std::vector<Sequence>& markers) override;
  Failure load(const std::vector<std::pair<std::string, std::string>>& keys, std::vector<Record>& records) override;
  Failure put(std::vector<Put>& puts, const std::string& node) override;
  Failure list(const std::string& room, const std::string& after, size_t limit, std::vector<Record>& records) override;
  Failure count(const std::string& room, uint64_t& live) override;
  Failure of_user(const std::string& room, const std::string& user, std::vector<Record>& records) override;
  Failure of_node(const std::string& node, size_t limit, std::vector<Record>& records) override;
  Failure rooms(const std::string& after, size_t limit, std::vector<std::string>& names) override;
  Failure newest(const std::string& room, Sequence& sequence) override;
  uint64_t connects() const override { return connects_; }

 private:
  // What a deed is told and answers.
  struct Deed {
    bool clean = true;  // a majority gets what it commits
    bool half = false;  // ModelFault::lost_half
    bool committed = false;
  };
  // An append or a put that owns what it needs, for ModelFault::late.
  using Late = std::function<void(Primary&)>;

  // A call with its steps around it. `act(primary, deed)` is done at most once, with the servers' lock held, and fails
  // only definitely; make_late() makes a Late of it.
  template <class Act, class MakeLate>
  Failure call(ModelCall kind, std::string_view room, Act act, MakeLate make_late);
  template <class Act>
  Failure call(ModelCall kind, std::string_view room, Act act) {
    return call(kind, room, act, [] { return Late(); });
  }
  // A call that only reads.
  template <class Look>
  Failure look(ModelCall kind, std::string_view room, Look look_at) {
    return call(kind, room, [&](Primary& primary, Deed&) {
      look_at(servers_->traits_.reads_need_mark ? primary.visible : primary.majority);
      read_on_ = connects_;
      return Failure{};
    });
  }
  // REQUIRES: the servers' lock held.
  static Failure append_to(ModelServers& servers, Primary& primary, const std::vector<RoomBatch*>& rooms,
                           const std::string& node, Deed& deed);
  static Failure put_to(ModelServers& servers, Primary& primary, std::vector<Put>& puts, const std::string& node,
                        Deed& deed);
  bool connected() const;
  bool connect();
  Failure lost(ModelCall kind) {
    primary_ = nullptr;
    return {writes(kind) ? Trouble::unknown : Trouble::not_now, "model: the connection was lost"};
  }

  const std::shared_ptr<ModelServers> servers_;
  const std::shared_ptr<ModelDatabase::Faults> faults_;
  Worker& worker_;
  const size_t number_;

  std::shared_ptr<Primary> primary_;  // connected to; null: to none
  uint64_t servers_cuts_ = 0, faults_cuts_ = 0;
  uint64_t connects_ = 0;
  uint64_t read_on_ = 0;  // the connection of reads that no mark has proven; 0: there are none
};

bool ModelLink::connected() const {
  const std::scoped_lock lock(servers_->mutex_, faults_->mutex);
  return primary_ && !faults_->away && servers_cuts_ == servers_->cuts_ && faults_cuts_ == faults_->cuts;
}

bool ModelLink::connect() {
  if (connected()) return true;
  const std::scoped_lock lock(servers_->mutex_, faults_->mutex);
  primary_ = nullptr;
  if (faults_->away) return false;
  primary_ = servers_->primary_;
  servers_cuts_ = servers_->cuts_;
  faults_cuts_ = faults_->cuts;
  ++connects_;
  return true;
}

template <class Act, class MakeLate>
Failure ModelLink::call(ModelCall kind, std::string_view room, Act act, MakeLate make_late) {
  ModelFault fault = ModelFault::none;
  int64_t slow_us = 0;
  {
    const std::lock_guard lock(faults_->mutex);
    ++faults_->calls[kind];
    slow_us = faults_->slow_us;
    std::deque<ModelFault>& told = faults_->next[kind];
    if (!told.empty()) {
      fault = told.front();
      told.pop_front();
    } else if (writes(kind)) {
      fault = faults_->all_writes;
    }
  }
  if (!connect()) return {Trouble::not_now, "model: no connection"};
  if (kind == ModelCall::mark && read_on_ != 0 && read_on_ != connects_) {
    read_on_ = 0;
    return {Trouble::unknown, "model: what was read was read on another connection"};
  }
  if (faults_->hook) {
    const ModelFault chosen = faults_->hook({kind, false, number_, room});
    if (fault == ModelFault::none) fault = chosen;
  }
  if (slow_us > 0) (void)worker_.pause_us(slow_us);
  if (fault == ModelFault::not_now || (fault != ModelFault::none && !writes(kind)))
    return {Trouble::not_now, "model: told to fail"};
  // What was sent may land although the connection is gone by now.
  if (fault != ModelFault::late && (!connected() || fault == ModelFault::lost_before)) return lost(kind);

  Failure failure;
  {
    const std::lock_guard lock(servers_->mutex_);
    if (fault == ModelFault::late) {
      if (Late late = make_late()) servers_->late_.push_back(std::move(late));
    } else {
      Deed deed{fault != ModelFault::warning, fault == ModelFault::lost_half, false};
      failure = act(*primary_, deed);
      if (!failure && deed.committed && (!deed.clean || primary_->deposed) &&
          !servers_->traits_.unsafe_warning_is_success)
        failure = {Trouble::unknown, "model: committed with a warning"};
    }
  }
  if (faults_->hook) (void)faults_->hook({kind, true, number_, room});
  const bool reply = fault == ModelFault::none || fault == ModelFault::warning;
  return reply && connected() ? failure : lost(kind);
}

Failure ModelLink::append_to(ModelServers& servers, Primary& primary, const std::vector<RoomBatch*>& rooms,
                             const std::string& node, Deed& deed) {
  if (servers.traits_.judges_leases && !node.empty() && !primary.visible.alive(node))
    return {Trouble::fenced, "model: the lease of " + node + " is gone"};
  if (servers.poison_)
    for (const RoomBatch* batch : rooms)
      for (const Message* message : batch->messages)
        if (primary.visible.log(batch->room).by_uuid.count(message->uuid) == 0 && servers.poison_(*message))
          return {Trouble::message, "model: a poisoned message"};
  Change change;
  bool repeats_unproven = false;
  for (RoomBatch* batch : rooms) {
    batch->placed.clear();
    batch->fits = primary.visible.contains(batch->room, batch->known);
    if (!batch->fits) continue;
    const ModelServers::Log& log = primary.visible.log(batch->room);
    Position head = primary.visible.head(batch->room);
    size_t left = deed.half ? batch->messages.size() / 2 : batch->messages.size();
    for (const Message* message : batch->messages) {
      Placed& placed = batch->placed.emplace_back();
      const auto found = log.by_uuid.find(message->uuid);
      if (found != log.by_uuid.end() && !servers.traits_.unsafe_forgets_uuids) {
        placed.row = *log.rows[found->second - 1];
        repeats_unproven |= found->second > primary.majority.log(batch->room).rows.size();
        continue;
      }
      if (left == 0) continue;
      --left;
      auto row = std::make_shared<Row>();
      row->sequence = head.sequence + 1;
      row->previous = head.chain;
      row->chain = chain_next(head.chain, row->sequence, *message);
      row->message = *message;
      head = row->position();
      placed.added = true;
      placed.row = *row;
      change.rows.emplace_back(batch->room, std::move(row));
    }
  }
  // Nothing to commit: nothing is proven by it either, unless the database itself answers for what it finds.
  if (change.empty() && !(repeats_unproven && !servers.traits_.reads_need_mark)) return {};
  deed.committed = true;
  if (servers.on_row_ && !primary.deposed)
    for (const auto& [room, row] : change.rows) servers.on_row_(room, *row);
  primary.commit(std::move(change), deed.clean);
  return {};
}

Failure ModelLink::append(const std::vector<RoomBatch*>& rooms, const std::string& node) {
  return call(
      ModelCall::append, rooms.empty() ? "" : std::string_view(rooms.front()->room),
      [&](Primary& primary, Deed& deed) {
        read_on_ = connects_;
        if (servers_->traits_.unsafe_answers_before_commit) {
          Primary only_sent = primary;
          return append_to(*servers_, only_sent, rooms, node, deed);
        }
        return append_to(*servers_, primary, rooms, node, deed);
      },
      [&] {
        struct Sent {
          std::vector<RoomBatch> batches;
          std::deque<Message> messages;
        };
        auto sent = std::make_shared<Sent>();
        for (const RoomBatch* batch : rooms) {
          RoomBatch& copy = sent->batches.emplace_back(RoomBatch{batch->room, batch->known, {}, true, {}});
          for (const Message* message : batch->messages)
            copy.messages.push_back(&sent->messages.emplace_back(*message));
        }
        return Late([sent, node, servers = servers_.get()](Primary& primary) {
          std::vector<RoomBatch*> again;
          for (RoomBatch& batch : sent->batches) again.push_back(&batch);
          Deed deed;
          (void)append_to(*servers, primary, again, node, deed);
        });
      });
}

Failure ModelLink::mark() {
  if (servers_->traits_.unsafe_mark_commits_nothing) return {};
  return call(ModelCall::mark, "", [&](Primary& primary, Deed& deed) {
    deed.committed = true;
    primary.commit({}, deed.clean);
    if (deed.clean && !primary.deposed) read_on_ = 0;
    return Failure{};
  });
}

// --- logs ---

namespace {

void add_row(Rows& rows, const Row& row, size_t& bytes, size_t bytes_max, bool& full) {
  bytes += row.message.bytes();
  full = bytes > bytes_max && !rows.rows.empty();
  if (!full) rows.rows.push_back(row);
}

}  // namespace

Failure ModelLink::read(const std::string& room, const Position& after, size_t limit, size_t bytes_max, Rows& rows) {
  return look(ModelCall::read, room, [&](const State& state) {
    rows = {};
    rows.head = state.head(room);
    rows.status = state.contains(room, after) || servers_->traits_.unsafe_any_past_fits ? Rows::Status::ok
                                                                                        : Rows::Status::does_not_fit;
    if (rows.status != Rows::Status::ok) return;
    const auto& all = state.log(room).rows;
    size_t bytes = 0;
    bool full = false;
    for (size_t i = after.sequence; i < all.size() && rows.rows.size() < limit && !full; ++i)
      add_row(rows, *all[i], bytes, bytes_max, full);
    if (servers_->traits_.unsafe_reads_have_holes && rows.rows.size() > 2) rows.rows.erase(rows.rows.begin() + 1);
  });
}

Failure ModelLink::read_range(const std::string& room, Sequence sequence, bool backwards, size_t limit,
                              size_t bytes_max, Rows& rows) {
  return look(ModelCall::read_range, room, [&](const State& state) {
    rows = {};
    rows.head = state.head(room);
    rows.status = Rows::Status::ok;
    const auto& all = state.log(room).rows;
    size_t bytes = 0;
    bool full = false;
    if (backwards) {
      const size_t end = sequence == 0 ? 0 : std::min<size_t>(sequence - 1, all.size());
      for (size_t i = end; i > 0 && rows.rows.size() < limit && !full; --i)
        add_row(rows, *all[i - 1], bytes, bytes_max, full);
      std::reverse(rows.rows.begin(), rows.rows.end());
    } else {
      for (size_t i = std::min<size_t>(sequence, all.size()); i < all.size() && rows.rows.size() < limit && !full; ++i)
        add_row(rows, *all[i], bytes, bytes_max, full);
    }
  });
}

Failure ModelLink::find(const std::string& room, const std::string& uuid, Rows& rows) {
  return look(ModelCall::find, room, [&](const State& state) {
    rows = {};
    rows.head = state.head(room);
    rows.status = Rows::Status::ok;
    const ModelServers::Log& log = state.log(room);
    const auto found = log.by_uuid.find(uuid);
    if (found != log.by_uuid.end()) rows.rows.push_back(*log.rows[found->second - 1]);
  });
}

Failure ModelLink::heads(const std::vector<std::string>& rooms, std::vector<Position>& heads) {
  return look(ModelCall::heads, rooms.empty() ? "" : std::string_view(rooms.front()), [&](const State& state) {
    heads.clear();
    for (const std::string& room : rooms) heads.push_back(state.head(room));
  });
}

// --- read markers ---

Failure ModelLink::write_markers(const std::map<std::pair<std::string, std::string>, Sequence>& markers) {
  return call(ModelCall::write_markers, markers.empty() ? "" : std::string_view(markers.begin()->first.first),
              [&](Primary& primary, Deed& deed) {
                Change change;
                change.markers = markers;
                deed.committed = true;
                primary.commit(std::move(change), deed.clean);
                return Failure{};
              });
}

Failure ModelLink::read_markers(const std::string& room, const std::vector<std::string>& users,
                                std::vector<Sequence>& markers) {
  return look(ModelCall::read_markers, room, [&](const State& state) {
    markers.clear();
    for (const std::string& user : users) {
      const auto found = state.markers.find({room, user});
      markers.push_back(found == state.markers.end() ? 0 : found->second);
    }
  });
}

// --- records ---

Failure ModelLink::load(const std::vector<std::pair<std::string, std::string>>& keys, std::vector<Record>& records) {
  return look(ModelCall::load, keys.empty() ? "" : std::string_view(keys.front().first), [&](const State& state) {
    records.clear();
    for (const Key& key : keys) {
      const auto found = state.records.find(key);
      if (found != state.records.end()) {
        records.push_back(found->second);
        continue;
      }
      Record& none = records.emplace_back();
      none.room = key.first;
      none.name = key.second;
    }
  });
}

Failure ModelLink::put_to(ModelServers& servers, Primary& primary, std::vector<Put>& puts, const std::string& node,
                          Deed& deed) {
  if (servers.traits_.judges_leases && !node.empty() && !primary.visible.alive(node))
    return {Trouble::fenced, "model: the lease of " + node + " is gone"};
  size_t left = deed.half ? puts.size() / 2 : puts.size();
  for (Put& put : puts) {
    put.won = false;
    if (left == 0) continue;
    --left;
    const auto found = primary.visible.records.find({put.record.room, put.record.name});
    const uint64_t version = found == primary.visible.records.end() ? 0 : found->second.version;
    if (version != put.record.version && !servers.traits_.unsafe_put_always_wins) continue;
    Change change;
    change.records.push_back(put.record);
    change.records.back().version = version + 1;
    deed.committed = true;
    put.won = true;
    if (servers.on_record_) servers.on_record_(change.records.back(), primary.deposed);
    primary.commit(std::move(change), deed.clean);
  }
  return {};
}

Failure ModelLink::put(std::vector<Put>& puts, const std::string& node) {
  return call(
      ModelCall::put, puts.empty() ? "" : std::string_view(puts.front().record.room),
      [&](Primary& primary, Deed& deed) { return put_to(*servers_, primary, puts, node, deed); },
      [&] {
        return Late([copy = puts, node, servers = servers_.get()](Primary& primary) mutable {
          Deed deed;
          (void)put_to(*servers, primary, copy, node, deed);
        });
      });
}

Failure ModelLink::list(const std::string& room, const std::string& after, size_t limit, std::vector<Record>& records) {
  return look(ModelCall::list, room, [&](const State& state) {
    records.clear();
    for (auto at = state.records.upper_bound({room, after});
         at != state.records.end() && at->first.first == room && records.size() < limit; ++at)
      if (at->second.live) records.push_back(at->second);
  });
}

Failure ModelLink::count(const std::string& room, uint64_t& live) {
  return look(ModelCall::count, room, [&](const State& state) {
    live = 0;
    for (auto at = state.records.lower_bound({room, ""}); at != state.records.end() && at->first.first == room; ++at)
      live += at->second.live ? 1 : 0;
  });
}

Failure ModelLink::of_user(const std::string& room, const std::string& user, std::vector<Record>& records) {
  return look(ModelCall::of_user, room, [&](const State& state) {
    records.clear();
    for (auto at = state.records.lower_bound({room, ""}); at != state.records.end() && at->first.first == room; ++at)
      if (at->second.user == user) records.push_back(at->second);
  });
}

Failure ModelLink::of_node(const std::string& node, size_t limit, std::vector<Record>& records) {
  return look(ModelCall::of_node, node, [&](const State& state) {
    records.clear();
    for (const auto& [key, record] : state.records) {
      if (records.size() >= limit) return;
      if (key.first.empty() || !record.live) continue;
      if (std::find(record.nodes.begin(), record.nodes.end(), node) != record.nodes.end()) records.push_back(record);
    }
  });
}

Failure ModelLink::rooms(const std::string& after, size_t limit, std::vector<std::string>& names) {
  return look(ModelCall::rooms, after, [&](const State& state) {
    names.clear();
    for (auto at = state.logs.upper_bound(after); at != state.logs.end() && names.size() < limit; ++at)
      if (!at->second.rows.empty()) names.push_back(at->first);
  });
}

Failure ModelLink::newest(const std::string& room, Sequence& sequence) {
  return look(ModelCall::newest, room, [&](const State& state) {
    const auto& rows = state.log(room).rows;
    sequence = rows.empty() ? 0 : rows.back()->sequence;
  });
}

// --- the door ---

ModelDatabase::ModelDatabase(std::shared_ptr<ModelServers> servers)
    : servers_(std::move(servers)), faults_(std::make_shared<Faults>()) {}

ModelDatabase::~ModelDatabase() = default;

std::string ModelDatabase::prepare() {
  const std::lock_guard lock(faults_->mutex);
  ++faults_->prepares;
  return faults_->away ? "model: away, as the test wants it" : "";
}

std::unique_ptr<Link> ModelDatabase::link(Worker& worker) {
  size_t number = 0;
  {
    const std::lock_guard lock(faults_->mutex);
    number = faults_->links++;
  }
  return std::make_unique<ModelLink>(servers_, faults_, worker, number);
}

void ModelDatabase::next(ModelCall call, ModelFault fault, size_t times) {
  const std::lock_guard lock(faults_->mutex);
  faults_->next[call].insert(faults_->next[call].end(), times, fault);
}

void ModelDatabase::all_writes(ModelFault fault) {
  const std::lock_guard lock(faults_->mutex);
  faults_->all_writes = fault;
}

void ModelDatabase::be_away(bool away) {
  const std::lock_guard lock(faults_->mutex);
  if (std::exchange(faults_->away, away) != away) ++faults_->cuts;
}

void ModelDatabase::cut() {
  const std::lock_guard lock(faults_->mutex);
  ++faults_->cuts;
}

void ModelDatabase::be_slow(int64_t us) {
  const std::lock_guard lock(faults_->mutex);
  faults_->slow_us = us;
}

void ModelDatabase::on_step(std::function<ModelFault(const ModelStep&)> hook) {
  const std::lock_guard lock(faults_->mutex);
  faults_->hook = std::move(hook);
}

size_t ModelDatabase::prepares() const {
  const std::lock_guard lock(faults_->mutex);
  return faults_->prepares;
}

size_t ModelDatabase::calls(ModelCall call) const {
  const std::lock_guard lock(faults_->mutex);
  const auto found = faults_->calls.find(call);
  return found == faults_->calls.end() ? 0 : found->second;
}

}  // namespace tertulia::cluster
