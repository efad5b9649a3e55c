// When a session is pinged, and when it is given up.
//
// Whoever is silent is closed with 4008 and comes back having missed nothing; but not while output waits for it (it may
// be slow, not gone) nor because the server itself has not been reading from it. Whoever has output waiting and neither
// takes nor sends a byte is closed later. A host that vanished is told from a slow reader by the kernel. Pure. Thread:
// the caller's.
#pragma once

#include <cstdint>

namespace tertulia {

struct LifeLimits {
  int64_t ping_us = 15'000'000;
  int64_t silent_us = 25'000'000;
  int64_t stalled_us = 60'000'000;
  int64_t vanished_us = 60'000'000;
  int64_t no_room_us = 600'000'000;
  int64_t started_frame_us = 10'000'000;
  int64_t heartbeat_us = 20'000'000;
};

struct LifeSigns {
  int64_t opened_us = 0;
  int64_t heard_us = 0;   // bytes came, or reading was taken up again
  int64_t taken_us = 0;   // bytes were taken by the peer's kernel, or there was nothing to take
  int64_t waited_us = 0;  // output waited last; then nobody expects a pong, and no ping may have been sent
  int64_t pinged_us = 0;
  int64_t pushed_us = 0;       // any frame but a ping was sent
  int64_t frame_begun_us = 0;  // 0: no frame is half-read
  bool in_room = false;
  bool output_waits = false;
  bool reading = true;
  bool wants_heartbeat = false;
};

enum class LifeStep : uint8_t {
  nothing,
  ping,                 // a heartbeat is not due before the next one
  ping_with_heartbeat,  // in one write: a heartbeat of its own a little later would cost as much again
  heartbeat,
  close_idle,  // 4008
};

inline LifeStep next_life_step(const LifeLimits& limits, const LifeSigns& signs, int64_t now_us) {
  const int64_t last_progress_us = signs.heard_us > signs.taken_us ? signs.heard_us : signs.taken_us;
  if (signs.output_waits) {
    if (now_us - last_progress_us >= limits.stalled_us) return LifeStep::close_idle;
  } else {
    // While output waited no ping went out, so his silence begins when it waits no longer: else whoever has just caught
    // up would be closed before he was asked.
    const int64_t silent_since_us = signs.heard_us > signs.waited_us ? signs.heard_us : signs.waited_us;
    if (signs.reading && now_us - silent_since_us >= limits.silent_us) return LifeStep::close_idle;
  }
  if (!signs.in_room) {
    if (now_us - signs.opened_us >= limits.no_room_us) return LifeStep::close_idle;
    if (signs.frame_begun_us != 0 && now_us - signs.frame_begun_us >= limits.started_frame_us)
      return LifeStep::close_idle;
  }
  if (now_us - signs.pinged_us >= limits.ping_us) {
    const bool heartbeat_before_next = now_us - signs.pushed_us + limits.ping_us >= limits.heartbeat_us;
    return signs.wants_heartbeat && heartbeat_before_next ? LifeStep::ping_with_heartbeat : LifeStep::ping;
  }
  if (signs.wants_heartbeat && !signs.output_waits && now_us - signs.pushed_us >= limits.heartbeat_us)
    return LifeStep::heartbeat;
  return LifeStep::nothing;
}

}  // namespace tertulia
