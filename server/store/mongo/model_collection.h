// Documents in memory that behave as a replica set's do, with its faults to switch on: for tests.
//
// ModelDocuments is the set: a journal of writes, of which a majority has a beginning. The primary decides by all of it
// what is a duplicate; reads show only what the majority has; a failover drops the rest. ModelCollection is one
// client's door to it: calls fail, replies are lost before or after the deed, a majority does not confirm in time, and
// what was given up lands later. Before every step but tidying a hook may look on, or let
// others run in between.
//
// Deterministic for a seed. Thread: one. Memory: everything ever written. Ends: collections before their documents.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/random.h"
#include "store/mongo/collection.h"

namespace tertulia::mongo {

class ModelDocuments {
 public:
  struct Listed {
    Record record;
    bool listed = false;
  };
  using RowKey = std::pair<std::string, Chain>;                      // room, continues
  using RecordKey = std::tuple<std::string, std::string, uint64_t>;  // room, name, version
  struct State {
    std::map<RowKey, Row> rows;
    std::map<RecordKey, Listed> records;
    std::map<std::pair<std::string, std::string>, Sequence> markers;
  };
  // A write: false if there is a document with that key.
  using Write = std::function<bool(State&)>;

  const State& majority() const { return majority_; }
  const State& primary() const { return primary_; }

  bool write(Write write) {
    if (!write(primary_)) return false;
    journal_.push_back(std::move(write));
    return true;
  }
  // The majority has everything that was written up to now.
  void commit_all() {
    for (; committed_ < journal_.size(); ++committed_) (void)journal_[committed_](majority_);
  }
  // A standby takes over that has `keep` of the writes that no majority has.
  void failover(size_t keep = 0) {
    journal_.resize(std::min(journal_.size(), committed_ + keep));
    primary_ = State();
    for (Write& write : journal_) (void)write(primary_);
  }
  // A backup is restored: of what the majority has, the last `count` writes never happened.
  void go_back(size_t count) {
    committed_ -= std::min(count, committed_);
    journal_.resize(committed_);
    majority_ = State();
    for (Write& write : journal_) (void)write(majority_);
    primary_ = majority_;
    ++times_gone_back_;
  }
  size_t times_gone_back() const { return times_gone_back_; }
  size_t uncommitted() const { return journal_.size() - committed_; }

  // Writes that were sent and given up; they may land at any time, in any order.
  void keep_for_later(std::function<void()> landing) { late_.push_back(std::move(landing)); }
  size_t late() const { return late_.size(); }
  void land(size_t which) {
    auto landing = std::move(late_[which]);
    late_.erase(late_.begin() + static_cast<std::ptrdiff_t>(which));
    landing();
  }
  void forget_late() { late_.clear(); }

  // What is reached from chain(0).
  static std::vector<Row> log(const State& state, const std::string& room) {
    std::vector<Row> rows;
    Position at{0, chain_start(room)};
    for (auto next = state.rows.find({room, at.chain}); next != state.rows.end() && next->second.before() == at;
         next = state.rows.find({room, at.chain})) {
      rows.push_back(next->second);
      at = next->second.position();
    }
    return rows;
  }

 private:
  std::vector<Write> journal_;
  size_t committed_ = 0;
  State primary_, majority_;
  std::vector<std::function<void()>> late_;
  size_t times_gone_back_ = 0;
};

class ModelCollection final : public Collection {
 public:
  // In percent, of every call that they can happen to.
  struct Chances {
    unsigned read_fails = 0;
    unsigned not_now = 0;      // nothing was done, and the caller knows
    unsigned never_comes = 0;  // nothing was done, and the caller does not know
    unsigned comes_late = 0;   // something will be done
    unsigned reply_lost = 0;
    unsigned unconfirmed = 0;  // done on the primary alone
  };

  ModelCollection(ModelDocuments& documents, Random& random) : documents_(documents), random_(random) {}

  Chances chances;
  std::function<void()> hook;                    // before every step
  std::function<bool(const Message&)> poisoned;  // a row that is not taken for what it is
  uint64_t calls = 0;

  Failure insert(std::span<const NewRow> rows, Inserted& inserted) override {
    std::vector<std::pair<std::string, Row>> copies;
    for (const NewRow& row : rows) {
      if (poisoned && poisoned(*row.message)) break;
      copies.emplace_back(*row.room, Row{row.before.sequence + 1, row.before.chain, row.chain, *row.message});
    }
    const auto write = [&documents = documents_, copies](Inserted& how) {
      how = Inserted();
      for (const auto& [room, row] : copies) {
        ModelDocuments::Write one = [key = ModelDocuments::RowKey(room, row.previous), copy = row](
                                        ModelDocuments::State& state) { return state.rows.emplace(key, copy).second; };
        how.duplicate = !documents.write(std::move(one));
        if (how.duplicate) break;
        ++how.count;
      }
    };
    Failure failure = written(write, inserted, [](const Inserted& how) { return how.count > 0; });
    if (!failure && !inserted.duplicate && copies.size() < rows.size()) {
      failure = {Trouble::message, "the model does not take such a message"};
    }
    return failure;
  }

  Failure look(std::span<Look> looks) override {
    for (Look& look : looks) look.rows.clear();
    return read([&](const ModelDocuments::State& state) {
      for (Look& look : looks) {
        for (const auto& [key, row] : state.rows) {
          if (key.first != *look.room) continue;
          const bool wanted =
              std::find(look.children_of.begin(), look.children_of.end(), row.previous) != look.children_of.end() ||
              std::find(look.uuids.begin(), look.uuids.end(), row.message.uuid) != look.uuids.end();
          if (wanted) look.rows.push_back(row);
        }
      }
    });
  }
  Failure range(const std::string& room, Sequence first, Sequence last, bool descending, const RowLimit& limit,
                std::vector<Row>& rows) override {
    rows.clear();
    return read([&](const ModelDocuments::State& state) {
      size_t bytes = 0;
      for (Row& row : sorted(state, room, descending)) {
        if (row.sequence < first || row.sequence > last) continue;
        if (rows.size() == limit.rows || bytes > limit.bytes) break;
        bytes += row.message.bytes();
        rows.push_back(std::move(row));
      }
    });
  }
  Failure newest(const std::string& room, Sequence last, size_t limit, std::vector<Place>& places) override {
    places.clear();
    return read([&](const ModelDocuments::State& state) {
      for (const Row& row : sorted(state, room, true)) {
        if (row.sequence > last || places.size() == limit) continue;
        places.push_back({row.sequence, row.previous, row.chain});
      }
    });
  }
  Failure at(const std::string& room, const std::vector<Sequence>& sequences, std::vector<Row>& rows) override {
    rows.clear();
    return read([&](const ModelDocuments::State& state) {
      for (Row& row : sorted(state, room, false)) {
        if (std::find(sequences.begin(), sequences.end(), row.sequence) != sequences.end()) {
          rows.push_back(std::move(row));
        }
      }
    });
  }

  Failure insert_records(const std::vector<Record>& records, std::vector<bool>& duplicate) override {
    const auto write = [&documents = documents_, records](std::vector<bool>& how) {
      how.clear();
      for (const Record& record : records) {
        how.push_back(!documents.write([record](ModelDocuments::State& state) {
          return state.records
              .emplace(std::tuple(record.room, record.name, record.version),
                       ModelDocuments::Listed{record, record.live})
              .second;
        }));
      }
    };
    return written(write, duplicate,
                   [](const std::vector<bool>& how) { return std::find(how.begin(), how.end(), false) != how.end(); });
  }
  Failure versions(const std::vector<std::pair<std::string, std::string>>& keys,
                   std::vector<Record>& records) override {
    records.clear();
    return read([&](const ModelDocuments::State& state) {
      for (const auto& [key, stored] : state.records) {
        const std::pair name(stored.record.room, stored.record.name);
        if (std::find(keys.begin(), keys.end(), name) != keys.end()) records.push_back(stored.record);
      }
    });
  }
  Failure candidates(Which which, const std::string& a, const std::string& b, size_t limit,
                     std::vector<std::pair<std::string, std::string>>& keys) override {
    keys.clear();
    return read([&](const ModelDocuments::State& state) {
      for (const auto& [key, stored] : state.records) {
        const Record& record = stored.record;
        const bool of_node = std::find(record.nodes.begin(), record.nodes.end(), a) != record.nodes.end();
        const bool wanted = which == Which::live_in_room ? record.room == a && record.name > b && stored.listed
                            : which == Which::of_user    ? record.room == a && record.user == b
                                                         : of_node && stored.listed && !record.room.empty();
        const std::pair name(record.room, record.name);
        if (!wanted || (!keys.empty() && keys.back() == name) || keys.size() == limit) continue;
        keys.push_back(name);
      }
    });
  }
  void tidy(const std::vector<Record>& newest) override {
    if (happens(chances.never_comes)) return;
    for (const Record& record : newest) {
      (void)documents_.write([record](ModelDocuments::State& state) {
        auto before = state.records.find({record.room, record.name, record.version - 1});
        if (before != state.records.end()) before->second.listed = false;
        std::erase_if(state.records, [&](const auto& each) {
          const Record& other = each.second.record;
          return other.room == record.room && other.name == record.name && other.version + 1 < record.version;
        });
        return true;
      });
    }
  }

  Failure write_markers(const std::map<std::pair<std::string, std::string>, Sequence>& markers) override {
    step();
    (void)documents_.write([markers](ModelDocuments::State& state) {
      for (const auto& [key, sequence] : markers) state.markers[key] = std::max(state.markers[key], sequence);
      return true;
    });
    documents_.commit_all();
    return {};
  }
  Failure read_markers(const std::string& room, const std::vector<std::string>& users,
                       std::vector<Sequence>& markers) override {
    markers.assign(users.size(), 0);
    return read([&](const ModelDocuments::State& state) {
      for (size_t i = 0; i < users.size(); ++i) {
        auto found = state.markers.find({room, users[i]});
        if (found != state.markers.end()) markers[i] = found->second;
      }
    });
  }
  Failure mark() override {
    step();
    if (happens(chances.unconfirmed + chances.reply_lost)) return {Trouble::unknown, "the model did not confirm"};
    documents_.commit_all();
    return {};
  }
  uint64_t connects() const override { return 1; }

 private:
  bool happens(unsigned percent) { return percent > 0 && random_.below(100) < percent; }
  void step() {
    ++calls;
    if (hook) hook();
  }

  template <class Look>
  Failure read(Look look) {
    step();
    if (happens(chances.read_fails)) return {Trouble::not_now, "the model did not read"};
    look(documents_.majority());
    return {};
  }

  // did: whether the write has changed anything, so that a majority has to confirm it.
  template <class Write, class How, class Did>
  Failure written(Write write, How& how, Did did) {
    step();
    if (happens(chances.not_now)) return {Trouble::not_now, "the model did nothing"};
    const Failure unknown{Trouble::unknown, "the model lost a reply"};
    if (happens(chances.never_comes)) return unknown;
    if (happens(chances.comes_late)) {
      documents_.keep_for_later([write] {
        How ignored;
        write(ignored);
      });
      return unknown;
    }
    How done;
    write(done);
    // Only what was written is confirmed; a duplicate says nothing about whoever is there.
    if (did(done)) {
      if (happens(chances.unconfirmed)) return unknown;
      documents_.commit_all();
    }
    if (happens(chances.reply_lost)) return unknown;
    how = std::move(done);
    return {};
  }

  static std::vector<Row> sorted(const ModelDocuments::State& state, const std::string& room, bool descending) {
    std::vector<Row> rows;
    for (const auto& [key, row] : state.rows) {
      if (key.first == room) rows.push_back(row);
    }
    std::stable_sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) {
      return descending ? a.sequence > b.sequence : a.sequence < b.sequence;
    });
    return rows;
  }

  ModelDocuments& documents_;
  Random& random_;
};

}  // namespace tertulia::mongo
