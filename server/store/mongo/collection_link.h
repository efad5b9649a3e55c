// A cluster's link over documents, whatever they are kept in.
//
// Thread: one. Ends: before its worker, and before what the collection is of.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "store/mongo/child_log.h"
#include "store/mongo/versioned_records.h"

namespace tertulia::mongo {

class CollectionLink final : public cluster::Link {
 public:
  CollectionLink(std::unique_ptr<Collection> collection, Worker& worker)
      : collection_(std::move(collection)), log(*collection_, worker), records(*collection_) {}

  // The lease is judged just before: there is no transaction that could do both.
  Failure append(const std::vector<cluster::RoomBatch*>& rooms, const std::string& node) override {
    if (Failure failure = records.judge(node)) return failure;
    return log.append(rooms);
  }
  Failure read(const std::string& room, const Position& after, size_t limit, size_t bytes_max, Rows& rows) override {
    return log.read(room, after, limit, bytes_max, rows);
  }
  Failure read_range(const std::string& room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max,
                     Rows& rows) override {
    return log.read_range(room, sequence, backwards, limit, bytes_max, rows);
  }
  Failure find(const std::string& room, const std::string& uuid, Rows& rows) override {
    return log.find(room, uuid, rows);
  }
  Failure heads(const std::vector<std::string>& rooms, std::vector<Position>& heads) override {
    return log.heads(rooms, heads);
  }
  Failure rooms(const std::string& after, size_t limit, std::vector<std::string>& names) override {
    return collection_->rooms(after, limit, names);
  }
  Failure newest(const std::string& room, Sequence& sequence) override {
    std::vector<Place> places;
    if (Failure failure = collection_->newest(room, sequence_max, 1, places)) return failure;
    sequence = places.empty() ? 0 : places.front().sequence;
    return {};
  }
  // What a read shows a majority has.
  bool reads_need_mark() const override { return false; }
  Failure mark() override { return collection_->mark(); }
  Failure write_markers(const std::map<std::pair<std::string, std::string>, Sequence>& markers) override {
    return collection_->write_markers(markers);
  }
  Failure read_markers(const std::string& room, const std::vector<std::string>& users,
                       std::vector<Sequence>& markers) override {
    return collection_->read_markers(room, users, markers);
  }
  Failure load(const std::vector<std::pair<std::string, std::string>>& keys, std::vector<Record>& found) override {
    return records.load(keys, found);
  }
  Failure put(std::vector<cluster::Put>& puts, const std::string& node) override { return records.put(puts, node); }
  Failure list(const std::string& room, const std::string& after, size_t limit, std::vector<Record>& found) override {
    return records.list(room, after, limit, found);
  }
  Failure count(const std::string& room, uint64_t& live) override { return records.count(room, live); }
  Failure of_user(const std::string& room, const std::string& user, std::vector<Record>& found) override {
    return records.of_user(room, user, found);
  }
  Failure of_node(const std::string& node, size_t limit, std::vector<Record>& found) override {
    return records.of_node(node, limit, found);
  }
  uint64_t connects() const override { return collection_->connects(); }

 private:
  std::unique_ptr<Collection> collection_;

 public:
  ChildLog log;
  VersionedRecords records;
};

}  // namespace tertulia::mongo
