// The signals of a room: who came and went, who types, who has read how far. Ephemeral; dropped beyond their rate.
#include <utility>

#include "base/limits.h"
#include "node/room_host.h"
#include "node/shard.h"
#include "protocol/frames.h"

namespace tertulia {
namespace {

using limits::large_room;
using limits::signals_per_second_max;

}  // namespace

void RoomHost::signal(Signal what) {
  // Who types or reads has told the others as often as they want to hear it; more would only crowd out messages there.
  // Who comes and goes is always told, for the count.
  if (!deliver(what) && (what.kind == Signal::Kind::typing || what.kind == Signal::Kind::read)) return;
  shard_.context().bus.publish(std::make_shared<BusItem>(BusItem{room_name(), std::move(what)}), shard_);
}

void RoomHost::on_bus(const BusItem& item) {
  const int64_t now = shard_.now_us();
  if (const auto* piece = std::get_if<std::shared_ptr<const LogPiece>>(&item.what)) {
    const Sequence before = log_.head().sequence;
    shard_.metrics().bus_dropped.add(log_.take(**piece, now));
    if (log_.head().sequence != before) shard_.context().store.heard(room_name(), log_.head());
  } else if (const auto* head = std::get_if<Position>(&item.what)) {
    log_.know_head(*head, now);
  } else {
    deliver(std::get<Signal>(item.what));
  }
}

bool RoomHost::within_rate(Signal::Kind kind) {
  Rate& rate = rates_[static_cast<size_t>(kind)];
  const int64_t second = shard_.now_us() / 1'000'000;
  if (rate.second != second) rate = {second, 0};
  return ++rate.count <= signals_per_second_max;
}

bool RoomHost::deliver(const Signal& what) {
  if (what.kind == Signal::Kind::returned) {
    members_total_ = what.members_count;
    list_changed_ = true;
    return true;
  }
  const bool comes_or_goes = what.kind == Signal::Kind::joined || what.kind == Signal::Kind::left;
  if (comes_or_goes) members_total_ = what.members_count;
  if (members_count_ == 0) return false;
  if ((!comes_or_goes && members_total_ > large_room) || !within_rate(what.kind)) {
    shard_.metrics().signals_dropped.add();
    list_changed_ |= comes_or_goes;
    return false;
  }
  Waiting waiting;
  // His own other sessions want to know how far he has read.
  if (what.kind != Signal::Kind::read) waiting.not_to = what.user_id;
  switch (what.kind) {
    case Signal::Kind::joined:
      append_user_joined(waiting.v2, room_name(), what.user_id, what.user_name);
      if (!what.came_back) append_new_user(waiting.classic, room_name(), what.user_name);
      waiting.newest_only = members_total_ > large_room;
      break;
    case Signal::Kind::left: append_user_left(waiting.v2, room_name(), what.user_id, what.user_name); break;
    case Signal::Kind::typing: append_typing(waiting.v2, room_name(), what.user_id, what.user_name); break;
    case Signal::Kind::returned: break;  // dealt with above
    case Signal::Kind::read: append_read(waiting.v2, room_name(), what.user_id, what.sequence); break;
  }
  shard_.metrics().signals.add();
  signals_.push_back(std::move(waiting));
  grew();
  return true;
}

}  // namespace tertulia
