// What a cluster asks of PostgreSQL, over one connection.
//
// Thread: one, the worker's. Memory: the largest batch, twice. Ends: before its worker and its target.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "store/cluster/link.h"
#include "store/postgres/connection.h"

namespace tertulia::postgres {

class PostgresLink final : public cluster::Link {
 public:
  PostgresLink(const Target& target, const Worker& worker) : connection_(target, &worker) {}

  // REQUIRES: each room once in `rooms`.
  cluster::Failure append(const std::vector<cluster::RoomBatch*>& rooms, const std::string& node) override;
  cluster::Failure read(const std::string& room, const Position& after, size_t limit, size_t bytes_max,
                        Rows& rows) override;
  cluster::Failure read_range(const std::string& room, Sequence sequence, bool backwards, size_t limit,
                              size_t bytes_max, Rows& rows) override;
  cluster::Failure find(const std::string& room, const std::string& uuid, Rows& rows) override;
  cluster::Failure heads(const std::vector<std::string>& rooms, std::vector<Position>& heads) override;
  cluster::Failure rooms(const std::string& after, size_t limit, std::vector<std::string>& names) override;
  cluster::Failure newest(const std::string& room, Sequence& sequence) override;

  bool reads_need_mark() const override { return synchronous_; }
  cluster::Failure mark() override;

  cluster::Failure write_markers(const std::map<std::pair<std::string, std::string>, Sequence>& markers) override;
  cluster::Failure read_markers(const std::string& room, const std::vector<std::string>& users,
                                std::vector<Sequence>& markers) override;

  cluster::Failure load(const std::vector<std::pair<std::string, std::string>>& keys,
                        std::vector<cluster::Record>& records) override;
  cluster::Failure put(std::vector<cluster::Put>& puts, const std::string& node) override;
  cluster::Failure list(const std::string& room, const std::string& after, size_t limit,
                        std::vector<cluster::Record>& records) override;
  cluster::Failure count(const std::string& room, uint64_t& live) override;
  cluster::Failure of_user(const std::string& room, const std::string& user,
                           std::vector<cluster::Record>& records) override;
  cluster::Failure of_node(const std::string& node, size_t limit, std::vector<cluster::Record>& records) override;

  uint64_t connects() const override { return connection_.connects(); }

 private:
  // Reads of logs and of records: what they show is visible, which is not yet proof.
  cluster::Failure look(const Statement& statement, const Params& params, Answer& answer);
  cluster::Failure records_of(const Statement& statement, const Params& params, std::vector<cluster::Record>& records);
  cluster::Failure malformed();

  Connection connection_;
  bool synchronous_ = false;  // the server waits for a standby, as of the last read
  uint64_t read_on_ = 0;      // the connection of the reads that no mark has proven yet; 0: none
};

}  // namespace tertulia::postgres
