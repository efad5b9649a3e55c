#include "store/cluster/watched_database.h"

#include <utility>

namespace tertulia::cluster {
namespace {

class WatchedLink final : public Link {
 public:
  WatchedLink(std::unique_ptr<Link> link, Health& health)
      : link_(std::move(link)), health_(health), number_(health.join()) {}

  Failure append(const std::vector<RoomBatch*>& rooms, const std::string& node) override {
    return seen(link_->append(rooms, node));
  }
  Failure read(const std::string& room, const Position& after, size_t limit, size_t bytes_max, Rows& rows) override {
    return seen(link_->read(room, after, limit, bytes_max, rows));
  }
  Failure read_range(const std::string& room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max,
                     Rows& rows) override {
    return seen(link_->read_range(room, sequence, backwards, limit, bytes_max, rows));
  }
  Failure find(const std::string& room, const std::string& uuid, Rows& rows) override {
    return seen(link_->find(room, uuid, rows));
  }
  Failure heads(const std::vector<std::string>& rooms, std::vector<Position>& heads) override {
    return seen(link_->heads(rooms, heads));
  }
  Failure rooms(const std::string& after, size_t limit, std::vector<std::string>& names) override {
    return seen(link_->rooms(after, limit, names));
  }
  Failure newest(const std::string& room, Sequence& sequence) override { return seen(link_->newest(room, sequence)); }
  bool reads_need_mark() const override { return link_->reads_need_mark(); }
  Failure mark() override { return seen(link_->mark()); }
  Failure write_markers(const std::map<std::pair<std::string, std::string>, Sequence>& markers) override {
    return seen(link_->write_markers(markers));
  }
  Failure read_markers(const std::string& room, const std::vector<std::string>& users,
                       std::vector<Sequence>& markers) override {
    return seen(link_->read_markers(room, users, markers));
  }
  Failure load(const std::vector<std::pair<std::string, std::string>>& keys, std::vector<Record>& records) override {
    return seen(link_->load(keys, records));
  }
  Failure put(std::vector<Put>& puts, const std::string& node) override { return seen(link_->put(puts, node)); }
  Failure list(const std::string& room, const std::string& after, size_t limit, std::vector<Record>& records) override {
    return seen(link_->list(room, after, limit, records));
  }
  Failure count(const std::string& room, uint64_t& live) override { return seen(link_->count(room, live)); }
  Failure of_user(const std::string& room, const std::string& user, std::vector<Record>& records) override {
    return seen(link_->of_user(room, user, records));
  }
  Failure of_node(const std::string& node, size_t limit, std::vector<Record>& records) override {
    return seen(link_->of_node(node, limit, records));
  }
  uint64_t connects() const override { return link_->connects(); }

 private:
  Failure seen(Failure failure) {
    health_.note(number_, failure, link_->connects());
    return failure;
  }

  const std::unique_ptr<Link> link_;
  Health& health_;
  const size_t number_;
};

}  // namespace

std::unique_ptr<Link> WatchedDatabase::link(Worker& worker) {
  return std::make_unique<WatchedLink>(database_.link(worker), health_);
}

}  // namespace tertulia::cluster
