#include "world.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/check.h"
#include "protocol/base64url.h"

namespace tertulia::simulation {

using cluster::ModelCall;
using cluster::ModelDatabase;
using cluster::ModelFault;
using cluster::ModelServers;
using cluster::ModelStep;

namespace {

constexpr int64_t second_us = 1'000'000;
// Everybody must have arrived so long after the faults have ended: leases and graces run out, back-offs too.
constexpr int64_t heal_us = 20 * second_us;
constexpr uint64_t steps_max = 3'000'000;

std::string user_key(Chance& chance) {
  uint8_t bits[32];
  chance.fill(bits);
  std::string key;
  append_base64url(key, bits);
  return key;
}

}  // namespace

// One life of a node.
struct World::Server {
  int index = 0;
  std::shared_ptr<Process> process = std::make_shared<Process>();
  ModelDatabase* door = nullptr;
  std::unique_ptr<Chance> chance;
  std::unique_ptr<Log> log;
  std::unique_ptr<ModelBus> bus;
  std::unique_ptr<ClusterStore> store;
  std::vector<std::unique_ptr<Loop>> loops;
  std::unique_ptr<Node> node;
  bool up = false, ended = false;
  std::vector<std::weak_ptr<Wire>> wires;
};

World::World(uint64_t seed, bool keep_trace, bool print, Break broken, uint32_t kinds)
    : seed_(seed), scheduler_(seed * 2 + 1), trace_(scheduler_, keep_trace, print), net_(scheduler_) {
  Chance& chance = scheduler_.chance;
  kinds_ = static_cast<uint32_t>(chance.draw());
  if (chance.one_in(20)) kinds_ = 0;                     // a fine day
  if (!chance.one_in(4)) kinds_ &= ~uint32_t{restores};  // else little else would ever be judged
  if (kinds != 0) kinds_ = kinds & ~uint32_t{fine_day};
  ModelServers::Traits traits;
  traits.reads_need_mark = !chance.one_in(3);
  if (broken != nullptr) broken(traits);
  database_ = std::make_shared<ModelServers>(traits);
  own_oracle_ = std::make_unique<Oracle>(database_, trace_);
  oracle_ = own_oracle_.get();
  database_->on_row([this](const std::string& room, const Row& row) {
    trace_.say("row", room, row.position(), row.message.uuid);
    ++result_.messages;
    oracle_->committed(room, row);
    if (kinds_ == 0) expect_everywhere(room, row.sequence);
  });
  database_->on_record([this](const cluster::Record& record, bool deposed) {
    if (record.room.empty() && record.live && record.version > 1) return;  // a renewal
    trace_.say(deposed ? "on the old primary: record" : "record", record.room, record.name, "version", record.version,
               record.live ? "live" : "dead", record.user);
  });
  log_fd_ = print ? STDOUT_FILENO : ::open("/dev/null", O_WRONLY | O_CLOEXEC);

  nodes_count_ = static_cast<size_t>(chance.between(2, 3));
  shards_count_ = chance.one_in(3) ? 2 : 1;
  options_.name_grace_ms = 1'000;
  options_.heartbeat_ms = 1'000;
  options_.ping_interval_ms = 1'500;
  options_.silent_ms = 4'000;
  options_.stalled_ms = 6'000;
  options_.live.max_messages_history = static_cast<uint32_t>(chance.between(3, 30));
  if (chance.one_in(3)) options_.tail_bytes_max = 2'000;
  store_options_.claims.name_grace_ms = options_.name_grace_ms;
  store_options_.lease_ms = 1'500;
  store_options_.lease_renew_ms = 500;
}

World::~World() {
  if (log_fd_ != STDOUT_FILENO) ::close(log_fd_);
}

// --- nodes ---

void World::boot(int index) {
  auto server = std::make_shared<Server>();
  server->index = index;
  server->process->name = "node" + std::to_string(index);
  server->chance = std::make_unique<Chance>(scheduler_.chance.draw());
  servers_[static_cast<size_t>(index)] = server;
  all_servers_.push_back(server);
  trace_.say("node", index, "starts");
  Strand::start(scheduler_, server->process, [this, server] {
    auto database = std::make_unique<ModelDatabase>(database_);
    server->door = database.get();
    server->door->on_step([this, s = server.get()](const ModelStep& step) { return step_of(*s, step); });
    server->log = std::make_unique<Log>(scheduler_, log_fd_, LogFormat::plain,
                                        log_fd_ == STDOUT_FILENO ? LogLevel::info : LogLevel::error);
    server->bus = std::make_unique<ModelBus>(net_, server->index, server->process);
    StoreOptions options = store_options_;
    options.log = server->log.get();
    server->store =
        std::make_unique<ClusterStore>(std::move(database), std::make_unique<FiberWorkers>(scheduler_, server->process),
                                       options, scheduler_, *server->chance);
    const std::string trouble = server->store->start();
    if (!server->process->alive || !trouble.empty()) {
      if (!trouble.empty()) trace_.say("node", server->index, "does not start:", trouble);
      end_server(server);
      return;
    }
    std::vector<Node::Loop> doors;
    for (size_t i = 0; i < shards_count_; ++i) {
      server->loops.push_back(std::make_unique<Loop>(scheduler_, server->process));
      doors.push_back({server->loops.back().get(), server->loops.back().get()});
    }
    server->node = std::make_unique<Node>(scheduler_, *server->chance, *server->log, *server->store, *server->bus,
                                          options_, "simulation", doors);
    server->node->start();
    server->up = true;
    trace_.say("node", server->index, "is up as", server->store->node());
  });
}

void World::end_server(const std::shared_ptr<Server>& server) {
  server->process->alive = false;
  server->node = nullptr;
  server->store = nullptr;  // ends its workers
  server->bus = nullptr;
  server->ended = true;
  const size_t at = static_cast<size_t>(server->index);
  if (servers_[at] != server || healing_ || scheduler_.now_us() > faults_end_us_ + heal_us) return;
}

void World::kill(int index) {
  const std::shared_ptr<Server> server = servers_[static_cast<size_t>(index)];
  if (!server->process->alive) return;
  trace_.say("node", index, "is killed");
  ++result_.kills;
  const bool was_up = std::exchange(server->up, false);
  server->process->alive = false;
  scheduler_.resume(server->process);
  if (server->door != nullptr) server->door->be_away(true);
  const bool told = scheduler_.chance.percent(80);  // else the whole machine is gone
  for (const auto& weak : server->wires)
    if (const auto wire = weak.lock()) wire->node_is_gone(told);
  if (was_up) Strand::start(scheduler_, server->process, [this, server] { end_server(server); });
  const int64_t down_us = scheduler_.chance.between(100'000, 3 * second_us);
  scheduler_.after(down_us, [this, index] {
    if (!servers_[static_cast<size_t>(index)]->process->alive) boot(index);
  });
}

std::shared_ptr<Wire> World::connect(WireClient& client, Dialect dialect, const std::string& who) {
  const size_t index = static_cast<size_t>(scheduler_.chance.upto(static_cast<int64_t>(nodes_count_)));
  const std::shared_ptr<Server> server = servers_[index];
  if (!server->up) return nullptr;
  const size_t shard = static_cast<size_t>(scheduler_.chance.upto(static_cast<int64_t>(shards_count_)));
  Loop& loop = *server->loops[shard];
  const size_t window = may(small_windows) && scheduler_.chance.one_in(2)
                            ? static_cast<size_t>(scheduler_.chance.between(100, 1'500))
                            : 65'536;
  auto wire = std::make_shared<Wire>(scheduler_, loop, client, window);
  trace_.say(who, "connects to node", index, "shard", shard);
  wire->on_sent = [this, oracle = oracle_, &client](std::string_view text) {
    const Client& of = static_cast<Client&>(client);
    // A join's answer: from now on he speaks under his name.
    const bool v2_join = text.find(R"("sessionId":)") != std::string_view::npos;
    if (!v2_join && text.find(R"("result":"OK")") == std::string_view::npos) return;
    std::string user = of.user_id();
    if (v2_join) {
      const size_t at = text.find(R"("userId":")") + 10;
      user = text.substr(at, text.find('"', at) - at);
    }
    if (const std::string* room = of.room_joined_by(text)) oracle->admitted(*room, of.name(), user);
  };
  server->wires.push_back(wire);
  loop.post([server, shard, wire, dialect] {
    if (server->node)
      server->node->shard(shard).open(wire->transport(), {dialect, "192.0.2." + std::to_string(server->index)});
  });
  return wire;
}

// What each call of a node's database meets.
ModelFault World::step_of(Server& server, const ModelStep& step) {
  Chance& chance = scheduler_.chance;
  if (Strand* const strand = Strand::current()) {
    int64_t us = chance.between(50, 900);
    if (chance.one_in(40)) us = chance.between(1'000, 30'000);
    if (slow_ && chance.one_in(6)) us = chance.between(50'000, 400'000);
    if (!server.process->alive) us = 1;
    strand->wait_us(us);
  }
  if (step.after) return ModelFault::none;
  if (!server.process->alive) return chance.one_in(2) ? ModelFault::late : ModelFault::lost_before;
  if (chance.upto(1000) >= call_fault_permille_) return ModelFault::none;
  static constexpr ModelFault all[] = {ModelFault::not_now,   ModelFault::lost_before, ModelFault::lost_after,
                                       ModelFault::lost_half, ModelFault::warning,     ModelFault::late};
  const ModelFault fault = all[chance.upto(6)];
  trace_.say("node", server.index, name_of(step.call), "meets", name_of(fault));
  ++result_.lost;
  return fault;
}

// On a day without faults whoever is a member sees a message soon, without a question to the store.
void World::expect_everywhere(const std::string& room, Sequence sequence) {
  for (const auto& client : clients_) {
    if (!client->member_of(room)) continue;
    scheduler_.after(500'000, [this, client = client.get(), room, sequence] {
      if (!client->member_of(room)) return;
      const std::optional<Position> held = client->held_of(room);
      if (!held || held->sequence < sequence)
        oracle_->fault("not seen though nothing failed:", client->settings().who, room, sequence);
    });
  }
}

// --- what happens ---

void World::plan() {
  Chance& chance = scheduler_.chance;
  const int64_t now = scheduler_.now_us();
  faults_end_us_ = now + chance.between(4, 8) * second_us;
  rooms_ = {"alpha"};
  if (chance.one_in(2)) rooms_.push_back("beta");
  if (may(bus_losses)) {
    net_.lose_percent = chance.between(1, 30);
    net_.repeat_percent = chance.between(0, 20);
    net_.delay_max_us = chance.between(200, 40'000);
  }
  if (may(call_faults)) call_fault_permille_ = chance.between(2, 80);

  const int64_t clients_count = chance.between(3, 5);
  for (int64_t i = 0; i < clients_count; ++i) {
    Client::Settings settings;
    settings.who = "c" + std::to_string(i);
    settings.name = may(rivals) && chance.one_in(2) ? "rival" : "name" + std::to_string(i);
    settings.dialect = chance.one_in(4) ? Dialect::classic : Dialect::v2;
    settings.user_key = user_key(chance);
    if (chance.one_in(3)) settings.silent_us = 7 * second_us;
    settings.rooms = rooms_;
    if (settings.dialect == Dialect::classic || chance.one_in(3))
      settings.rooms = {rooms_[chance.draw() % rooms_.size()]};
    // Another tab of the same user.
    if (i > 0 && settings.dialect == Dialect::v2 && chance.one_in(5)) {
      const Client::Settings& first = clients_[static_cast<size_t>(chance.upto(i))]->settings();
      if (first.dialect == Dialect::v2) {
        settings.user_key = first.user_key;
        settings.name = first.name;
      }
    }
    clients_.push_back(std::make_unique<Client>(scheduler_, *oracle_, trace_, static_cast<Doors&>(*this), settings));
    scheduler_.after(chance.between(1, second_us), [client = clients_.back().get()] { client->start(); });
    const int64_t says = chance.between(2, 12);
    for (int64_t n = 0; n < says; ++n) {
      scheduler_.at(chance.between(now, faults_end_us_),
                    [client = clients_.back().get(), room = chance.draw()] { client->says(room); });
    }
  }
  if (kinds_ == 0) return;
  const int64_t count = chance.between(2, 14);
  for (int64_t i = 0; i < count; ++i)
    scheduler_.at(chance.between(now + 300'000, faults_end_us_), [this] { befall(); });
}

void World::befall() {
  if (healing_) return;
  Chance& chance = scheduler_.chance;
  const int index = static_cast<int>(chance.upto(static_cast<int64_t>(nodes_count_)));
  const std::shared_ptr<Server> server = servers_[static_cast<size_t>(index)];
  const auto client = [&]() -> Client& { return *clients_[chance.draw() % clients_.size()]; };
  const Kind kind = static_cast<Kind>(1U << chance.upto(15));
  if (!may(kind)) return;
  switch (kind) {
    case kills: kill(index); break;
    case pauses:
      if (!server->process->alive) break;
      trace_.say("node", index, "is paused");
      scheduler_.pause(server->process, chance.between(200'000, chance.one_in(2) ? 6'000'000 : 2'000'000));
      ++result_.pauses;
      break;
    case store_cuts:
      if (server->door == nullptr || !server->process->alive) break;
      trace_.say("node", index, "is cut off from the store");
      ++result_.cuts;
      server->door->be_away(true);
      scheduler_.after(chance.between(10'000, 3'000'000), [this, server] {
        if (!server->process->alive || server->ended) return;
        trace_.say("node", server->index, "reaches the store again");
        server->door->be_away(false);
      });
      break;
    case bus_cuts:
      if (!server->bus || !server->process->alive) break;
      trace_.say("node", index, "is cut off from the bus");
      ++result_.cuts;
      server->bus->set_connected(false);
      scheduler_.after(chance.between(10'000, 3'000'000), [this, server] {
        if (!server->bus || !server->process->alive) return;
        trace_.say("node", server->index, "reaches the bus again");
        server->bus->set_connected(true);
      });
      break;
    case bus_losses:
      net_.lose_percent = chance.between(1, 60);
      trace_.say("the bus loses", net_.lose_percent, "percent");
      break;
    case deafness: {
      const int to = static_cast<int>(chance.upto(static_cast<int64_t>(nodes_count_)));
      trace_.say("node", to, "does not hear node", index);
      ++result_.cuts;
      net_.deaf.insert({index, to});
      scheduler_.after(chance.between(100'000, 4'000'000), [this, index, to] { net_.deaf.erase({index, to}); });
      break;
    }
    case call_faults:
      call_fault_permille_ = chance.one_in(3) ? 0 : chance.between(2, 200);
      trace_.say("of 1000 calls fail", call_fault_permille_);
      break;
    case failovers: {
      const bool deposed = may(deposed_lives) && chance.one_in(2);
      const size_t keep = static_cast<size_t>(chance.upto(3));
      trace_.say("failover", deposed ? "and the old primary lives" : "",
                 "unproven:", database_->commits() - database_->proven_commits(), "keeps", keep);
      ++result_.failovers;
      database_->failover(deposed, keep);
      deposed_ = deposed_ || deposed;
      if (deposed) {
        scheduler_.after(chance.between(100'000, 2'500'000), [this] {
          trace_.say("the old primary is gone");
          database_->cut();
        });
      }
      break;
    }
    case restores: {
      const size_t commits = database_->commits();
      const size_t back = static_cast<size_t>(chance.upto(static_cast<int64_t>(std::min<size_t>(commits, 60)) + 1));
      trace_.say("a backup is restored, without the last", back, "of", commits, "commits");
      ++result_.restores;
      oracle_->goes_back(commits - back);
      database_->go_back(commits - back);
      break;
    }
    case client_faults:
      if (chance.one_in(4)) {
        client().stalls(chance.between(50'000, 3'000'000));
      } else {
        client().loses_connection(chance.percent(70));
      }
      break;
    case leaving: client().goes_away(); break;
    case slowness:
      slow_ = !slow_;
      trace_.say(slow_ ? "the store is slow" : "the store is quick");
      break;
    default:
      if (database_->land_one()) trace_.say("a late write lands");
      break;
  }
}

void World::heal() {
  healing_ = true;
  trace_.say("healing");
  call_fault_permille_ = 0;
  slow_ = false;
  net_.lose_percent = net_.repeat_percent = 0;
  net_.delay_max_us = 2'000;
  net_.deaf.clear();
  while (database_->land_one()) {
  }
  if (deposed_) database_->cut();
  for (const std::shared_ptr<Server>& server : servers_) {
    scheduler_.resume(server->process);
    if (!server->process->alive) continue;
    if (server->door != nullptr) server->door->be_away(false);
    if (server->bus) server->bus->set_connected(true);
  }
}

bool World::all_well() const {
  for (const std::shared_ptr<Server>& server : servers_)
    if (!server->up) return false;
  for (const auto& client : clients_) {
    if (!client->settled()) return false;
    for (size_t i = 0; i < client->settings().rooms.size(); ++i) {
      const std::string& room = client->settings().rooms[i];
      const std::vector<Row> log = database_->log(room);
      const Position head = log.empty() ? Position{0, chain_start(room)} : log.back().position();
      // A classic client that has heard nothing holds nothing.
      const std::optional<Position> held = client->held(i);
      if (!held && log.empty()) continue;
      // Nor can it be told that nothing is left.
      if (log.empty() && client->settings().dialect == Dialect::classic && oracle_->taken_back(room, *held)) continue;
      if (!held || *held != head) return false;
    }
  }
  return true;
}

void World::judge() {
  oracle_->judge_logs();
  for (const auto& client : clients_) {
    result_.acks += client->acks();
    result_.resets += client->resets();
    if (!client->members || oracle_->went_back()) continue;
    std::set<std::string> expected;
    for (const auto& other : clients_)
      for (const std::string& room : other->settings().rooms)
        if (room == client->settings().rooms[0]) expected.insert(other->user_id());
    const std::set<std::string> got(client->members->begin(), client->members->end());
    if (got != expected)
      oracle_->fault("not the members:", client->settings().who, "knows", got.size(), "of", expected.size());
  }
}

WorldResult World::run() {
  trace_.say("seed", seed_, "kinds", kinds_);
  servers_.resize(nodes_count_);
  for (size_t i = 0; i < nodes_count_; ++i) boot(static_cast<int>(i));
  plan();
  const auto run_until = [&](int64_t us) {
    while (scheduler_.now_us() < us && scheduler_.steps() < steps_max && oracle_->faults() == 0 && scheduler_.step()) {
    }
  };
  run_until(faults_end_us_);
  heal();
  const int64_t healing_us = scheduler_.now_us();
  bool well = false;
  while (!well && scheduler_.now_us() < healing_us + heal_us && scheduler_.steps() < steps_max &&
         oracle_->faults() == 0) {
    run_until(scheduler_.now_us() + 100'000);
    well = all_well();
  }
  if (well) {
    result_.healed_in_us = scheduler_.now_us() - healing_us;
    // Whoever is gone must be gone by now, for everybody.
    run_until(scheduler_.now_us() + 4 * second_us);
    for (const auto& client : clients_)
      if (client->settings().dialect == Dialect::v2) client->asks_members(0);
    run_until(scheduler_.now_us() + second_us);
    if (oracle_->faults() == 0) judge();
  } else if (oracle_->faults() == 0) {
    oracle_->fault(scheduler_.steps() >= steps_max ? "too much happens" : "not all are at the head after healing");
    for (const auto& client : clients_) trace_.say(client->state());
    for (const std::string& room : rooms_) {
      const std::vector<Row> log = database_->log(room);
      if (!log.empty()) trace_.say("head of", room, log.back().position());
    }
    for (const auto& server : servers_) {
      trace_.say("node", server->index, server->up ? "is up" : "is down",
                 server->store ? server->store->trouble() : "without a store");
    }
  }
  result_.faults = oracle_->faults();
  result_.hash = trace_.hash();
  result_.steps = scheduler_.steps();
  result_.trace = trace_.lines();

  // The end of everything: the workers must come to theirs.
  Oracle last(database_, trace_);
  for (const auto& client : clients_) client->loses_connection(false);
  for (const std::shared_ptr<Server>& server : all_servers_) {
    scheduler_.resume(server->process);
    if (server->ended || !server->process->alive) continue;
    const bool was_up = std::exchange(server->up, false);
    server->process->alive = false;
    if (server->door != nullptr) server->door->be_away(true);
    if (was_up) Strand::start(scheduler_, server->process, [this, server] { end_server(server); });
  }
  const auto all_ended = [&] {
    return std::all_of(all_servers_.begin(), all_servers_.end(), [](const auto& server) { return server->ended; });
  };
  for (uint64_t steps = 0; !all_ended() && scheduler_.step(); ++steps) CHECK(steps < steps_max, "a node ends");
  CHECK(all_ended(), "all nodes have ended");
  scheduler_.clear();
  clients_.clear();
  return result_;
}

}  // namespace tertulia::simulation
