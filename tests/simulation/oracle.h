// Judges what clients see and are told against what the database has, at that very moment.
//
// Thread: one.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "protocol/position.h"
#include "store/cluster/model_database.h"
#include "trace.h"

namespace tertulia::simulation {

class Oracle {
 public:
  Oracle(std::shared_ptr<cluster::ModelServers> servers, Trace& trace) : servers_(std::move(servers)), trace_(trace) {}

  // Something is not as promised.
  template <class... Parts>
  void fault(const Parts&... parts) {
    trace_.say("FAULT", parts...);
    ++faults_;
  }
  size_t faults() const { return faults_; }

  // A message is shown, or acked: it must be durable, now or before a backup was restored.
  void shown(const std::string& who, const std::string& room, const Position& position);
  void acked(const std::string& who, const std::string& room, const std::string& uuid, const Position& position);
  // Somebody who holds this position is told that it is not in the log.
  void reset(const std::string& who, const std::string& room, const Position& held);
  bool taken_back(const std::string& room, const Position& position) const {
    return taken_back_.count({room, position_text(position)}) != 0;
  }
  // A join is answered with OK: from now on nobody else speaks under this name.
  void admitted(const std::string& room, const std::string& name, const std::string& user);
  // Committed, visible.
  void committed(const std::string& room, const Row& row);
  // Before a backup is restored that has only so many commits.
  void goes_back(size_t commits);
  bool went_back() const { return went_back_; }
  // At the end.
  void judge_logs();

 private:
  struct Ack {
    std::string who, room, uuid;
    Position position;
  };
  const std::shared_ptr<cluster::ModelServers> servers_;
  Trace& trace_;
  size_t faults_ = 0;
  bool went_back_ = false;
  std::set<std::pair<std::string, std::string>> taken_back_;                  // (room, position)
  std::set<std::pair<std::string, std::string>> uuids_taken_back_;            // (room, uuid)
  std::map<std::pair<std::string, std::string>, std::string> last_admitted_;  // (room, name) → user
  std::vector<Ack> acks_;
};

}  // namespace tertulia::simulation
