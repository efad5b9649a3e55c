// The numbers that clients act on: JSON-RPC error codes and WebSocket close codes.
#pragma once

#include <cstdint>

namespace tertulia {

enum class Code : int {
  parse_error = -32700,
  invalid_request = -32600,
  method_not_found = -32601,
  invalid_params = -32602,
  refused_by_store = -32603,  // for what the message is; not retryable
  name_taken = -32001,
  reconnection_failed = -32003,  // classic only
  not_a_member = -32010,
  not_authorised = -32011,
  too_many = -32012,
  busy = -32013,  // joins and reads only
  too_large = -32014,
  uuid_reused = -32015,
  draining = -32016,  // joins and reads only
};

enum class CloseCode : uint16_t {
  normal = 1000,
  going_away = 1001,
  protocol_error = 1002,
  unsupported_data = 1003,
  no_code = 1005,  // never on the wire: the peer's close had none
  invalid_utf8 = 1007,
  policy = 1008,
  too_big = 1009,
  restart = 1012,    // reconnect now, elsewhere
  try_again = 1013,  // reconnect now, elsewhere
  idle = 4008,       // nothing was heard or taken for too long
  refused = 4500,    // this server refuses this user; do not come back
};

}  // namespace tertulia
