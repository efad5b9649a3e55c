// A database with something done before each append: refusing, or dawdling, where a server cannot be told to.
//
// Thread: as what it wraps; `before` is called by any. Ends: links before it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "store/cluster/link.h"

namespace tertulia {

// A message's text begins so.
inline bool holds_text(const std::vector<cluster::RoomBatch*>& rooms, const std::string& beginning) {
  for (const cluster::RoomBatch* batch : rooms) {
    for (const Message* message : batch->messages) {
      if (message->text.rfind(beginning, 0) == 0) return true;
    }
  }
  return false;
}

class WrappedLink final : public cluster::Link {
 public:
  using BeforeAppend = std::function<cluster::Failure(const std::vector<cluster::RoomBatch*>&)>;
  WrappedLink(std::unique_ptr<cluster::Link> link, const BeforeAppend& before)
      : link_(std::move(link)), before_(before) {}
  cluster::Failure append(const std::vector<cluster::RoomBatch*>& rooms, const std::string& node) override {
    if (cluster::Failure failure = before_(rooms)) return failure;
    return link_->append(rooms, node);
  }
  cluster::Failure read(const std::string& room, const Position& after, size_t limit, size_t bytes_max,
                        Rows& rows) override {
    return link_->read(room, after, limit, bytes_max, rows);
  }
  cluster::Failure read_range(const std::string& room, Sequence sequence, bool backwards, size_t limit,
                              size_t bytes_max, Rows& rows) override {
    return link_->read_range(room, sequence, backwards, limit, bytes_max, rows);
  }
  cluster::Failure find(const std::string& room, const std::string& uuid, Rows& rows) override {
    return link_->find(room, uuid, rows);
  }
  cluster::Failure heads(const std::vector<std::string>& rooms, std::vector<Position>& heads) override {
    return link_->heads(rooms, heads);
  }
  cluster::Failure rooms(const std::string& after, size_t limit, std::vector<std::string>& names) override {
    return link_->rooms(after, limit, names);
  }
  cluster::Failure newest(const std::string& room, Sequence& sequence) override {
    return link_->newest(room, sequence);
  }
  bool reads_need_mark() const override { return link_->reads_need_mark(); }
  cluster::Failure mark() override { return link_->mark(); }
  cluster::Failure write_markers(const std::map<std::pair<std::string, std::string>, Sequence>& markers) override {
    return link_->write_markers(markers);
  }
  cluster::Failure read_markers(const std::string& room, const std::vector<std::string>& users,
                                std::vector<Sequence>& markers) override {
    return link_->read_markers(room, users, markers);
  }
  cluster::Failure load(const std::vector<std::pair<std::string, std::string>>& keys,
                        std::vector<cluster::Record>& records) override {
    return link_->load(keys, records);
  }
  cluster::Failure put(std::vector<cluster::Put>& puts, const std::string& node) override {
    return link_->put(puts, node);
  }
  cluster::Failure list(const std::string& room, const std::string& after, size_t limit,
                        std::vector<cluster::Record>& records) override {
    return link_->list(room, after, limit, records);
  }
  cluster::Failure count(const std::string& room, uint64_t& live) override { return link_->count(room, live); }
  cluster::Failure of_user(const std::string& room, const std::string& user,
                           std::vector<cluster::Record>& records) override {
    return link_->of_user(room, user, records);
  }
  cluster::Failure of_node(const std::string& node, size_t limit, std::vector<cluster::Record>& records) override {
    return link_->of_node(node, limit, records);
  }
  uint64_t connects() const override { return link_->connects(); }

 private:
  std::unique_ptr<cluster::Link> link_;
  const BeforeAppend& before_;
};

class WrappedDatabase final : public cluster::Database {
 public:
  using BeforeAppend = WrappedLink::BeforeAppend;
  WrappedDatabase(std::unique_ptr<cluster::Database> database, BeforeAppend before)
      : database_(std::move(database)), before_(std::move(before)) {}
  std::string prepare() override { return database_->prepare(); }
  std::string warning() const override { return database_->warning(); }
  std::unique_ptr<cluster::Link> link(Worker& worker) override {
    return std::make_unique<WrappedLink>(database_->link(worker), before_);
  }
  std::string address() const override { return database_->address(); }

 private:
  std::unique_ptr<cluster::Database> database_;
  const BeforeAppend before_;
};

}  // namespace tertulia
