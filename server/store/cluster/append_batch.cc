#include "store/cluster/append_batch.h"

#include <unordered_set>
#include <utility>

#include "store/answer.h"

namespace tertulia::cluster {

AppendBatch::AppendBatch(std::deque<AppendCall>& waiting, size_t rows_max, size_t bytes_max) {
  std::deque<AppendCall> left;  // these and what comes behind them in their rooms are for the next batch
  std::unordered_set<std::string> held;
  size_t rows = 0, bytes = 0;
  while (!waiting.empty()) {
    AppendCall& next = waiting.front();
    const auto room = room_numbers_.find(next.room);
    // Two pasts of one room: what fits the one does not fit the other.
    const bool other_past = room != room_numbers_.end() && rooms_[room->second].known.sequence == next.known.sequence &&
                            rooms_[room->second].known.chain != next.known.chain;
    if (other_past || held.count(next.room) != 0) {
      held.insert(next.room);
      left.push_back(std::move(next));
      waiting.pop_front();
      continue;
    }
    size_t next_bytes = 0;
    for (const Message& message : next.messages) next_bytes += message.bytes();
    if (!members_.empty() && (rows + next.messages.size() > rows_max || bytes + next_bytes > bytes_max)) break;
    rows += next.messages.size();
    bytes += next_bytes;
    join(std::move(next));
    waiting.pop_front();
  }
  for (; !left.empty(); left.pop_back()) waiting.push_front(std::move(left.back()));
}

void AppendBatch::join(AppendCall call) {
  const auto [found, fresh] = room_numbers_.try_emplace(call.room, rooms_.size());
  if (fresh) {
    rooms_.push_back({call.room, call.known, {}, AppendResult::Status::done, "", false});
    uuids_.emplace_back();
  }
  RoomWork& room = rooms_[found->second];
  if (call.known.sequence > room.known.sequence) room.known = call.known;
  Member& member = members_.emplace_back();
  member.call = std::move(call);
  member.room = found->second;
  member.places.reserve(member.call.messages.size());
  for (const Message& message : member.call.messages) {
    const auto [place, first] = uuids_[member.room].try_emplace(message.uuid, room.asked.size());
    if (first) {
      Asked& asked = room.asked.emplace_back();
      asked.message = &message;
    }
    member.places.push_back(place->second);
    member.first.push_back(first);
  }
}

Appended AppendBatch::outcome_of(const Message& message, const Asked& asked, bool first) {
  if (first) return asked.outcome;
  Appended result;
  switch (asked.outcome.kind) {
    case Appended::Kind::added:
    case Appended::Kind::repeated:
      result.kind = same_body(*asked.message, message) ? Appended::Kind::repeated : Appended::Kind::conflict;
      if (result.kind == Appended::Kind::repeated) result.position = asked.outcome.position;
      break;
    case Appended::Kind::conflict:
      result.kind = same_body(asked.other, message) ? Appended::Kind::repeated : Appended::Kind::conflict;
      if (result.kind == Appended::Kind::repeated) result.position = asked.other_position;
      break;
    case Appended::Kind::refused:
      // One uuid for two bodies is an error, whatever becomes of the first.
      if (same_body(*asked.message, message)) {
        result = asked.outcome;
      } else {
        result.kind = Appended::Kind::conflict;
      }
      break;
  }
  return result;
}

void AppendBatch::answer_all(StoreMetrics& metrics) {
  for (Member& member : members_) {
    RoomWork& room = rooms_[member.room];
    AppendResult result;
    result.status = room.status;
    result.reason = room.reason;
    if (room.status == AppendResult::Status::done) {
      result.each.reserve(member.places.size());
      for (size_t i = 0; i < member.places.size(); ++i) {
        const Asked& asked = room.asked[member.places[i]];
        result.each.push_back(outcome_of(member.call.messages[i], asked, member.first[i]));
      }
    }
    count(result, metrics);
    answer(*member.call.executor, std::move(member.call.done), std::move(result));
  }
}

void AppendBatch::count(const AppendResult& result, StoreMetrics& metrics) {
  uint64_t kinds[4] = {};
  for (const Appended& each : result.each) ++kinds[static_cast<size_t>(each.kind)];
  const auto add = [](std::atomic<uint64_t>& counter, uint64_t by) {
    counter.fetch_add(by, std::memory_order_relaxed);
  };
  add(metrics.rows, kinds[static_cast<size_t>(Appended::Kind::added)]);
  add(metrics.repeats, kinds[static_cast<size_t>(Appended::Kind::repeated)]);
  add(metrics.conflicts, kinds[static_cast<size_t>(Appended::Kind::conflict)]);
  add(metrics.refused, kinds[static_cast<size_t>(Appended::Kind::refused)]);
  using Status = AppendResult::Status;
  add(metrics.not_now, result.status == Status::not_now || result.status == Status::fenced ? 1 : 0);
}

}  // namespace tertulia::cluster
