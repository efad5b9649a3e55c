// How a room's questions find their way back: by the room's name, and only to this very room, which may have left
// memory and come back meanwhile. For room_*.cc only.
#pragma once

#include <utility>

#include "node/room_host.h"
#include "node/shard.h"

namespace tertulia {

template <class F>
auto RoomHost::later(F then) {
  return [shard = &shard_, name = room_name(), number = number_, then = std::move(then)](auto&&... answers) mutable {
    RoomHost* host = shard->find_room(name);
    if (host != nullptr && host->number_ == number) then(*host, std::forward<decltype(answers)>(answers)...);
  };
}

}  // namespace tertulia
