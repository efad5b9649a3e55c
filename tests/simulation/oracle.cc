#include "oracle.h"

namespace tertulia::simulation {

void Oracle::shown(const std::string& who, const std::string& room, const Position& position) {
  if (!servers_->has(room, position, true) && !taken_back(room, position))
    fault("shown before it is durable:", who, room, position);
}

void Oracle::acked(const std::string& who, const std::string& room, const std::string& uuid, const Position& position) {
  if (!servers_->has(room, position, true) && !taken_back(room, position))
    fault("acked before it is durable:", who, room, uuid, position);
  acks_.push_back({who, room, uuid, position});
}

void Oracle::reset(const std::string& who, const std::string& room, const Position& held) {
  if (!taken_back(room, held)) fault("told reset though nothing was lost:", who, room, held);
}

void Oracle::admitted(const std::string& room, const std::string& name, const std::string& user) {
  last_admitted_[{room, name}] = user;
}

void Oracle::committed(const std::string& room, const Row& row) {
  // A backup may lack the claims of those who are there.
  if (went_back_) return;
  // Who was a member a moment ago may send what he had not yet sent, and holds no name by it (classic).
  if (!row.message.user_id.starts_with('~')) return;
  const auto found = last_admitted_.find({room, row.message.user_name});
  if (found != last_admitted_.end() && found->second != row.message.user_id)
    fault("spoke under a name that is another's:", row.message.user_id, room, row.message.user_name, row.message.uuid);
}

void Oracle::goes_back(size_t commits) {
  went_back_ = true;
  for (const auto& [room, row] : servers_->rows_behind(commits)) {
    taken_back_.insert({room, position_text(row.position())});
    uuids_taken_back_.insert({room, row.message.uuid});
  }
}

void Oracle::judge_logs() {
  std::map<std::pair<std::string, std::string>, Position> by_uuid;
  for (const std::string& room : servers_->rooms()) {
    std::map<std::string, int> said;  // by sender: the number said last
    for (const Row& row : servers_->log(room, true)) {
      const std::string& uuid = row.message.uuid;  // sender-room-number
      if (!by_uuid.insert({{room, uuid}, row.position()}).second) fault("stored twice:", room, uuid);
      // Had its place in order, lost it with a backup, and was sent again because it had not been acked.
      if (uuids_taken_back_.count({room, uuid}) != 0) continue;
      const size_t dash = uuid.rfind('-');
      int& last = said[uuid.substr(0, dash)];
      const int number = std::stoi(uuid.substr(dash + 1));
      if (number <= last) fault("out of its sender's order:", room, uuid, "behind", last);
      last = number;
    }
  }
  for (const Ack& ack : acks_) {
    if (taken_back(ack.room, ack.position)) continue;
    const auto found = by_uuid.find({ack.room, ack.uuid});
    if (found == by_uuid.end()) {
      fault("acked and lost:", ack.who, ack.room, ack.uuid, ack.position);
    } else if (found->second != ack.position) {
      fault("acked at another place:", ack.who, ack.room, ack.uuid, ack.position, found->second);
    }
  }
}

}  // namespace tertulia::simulation
