#include "store/postgres/reply.h"

#include <string_view>

namespace tertulia::postgres {

using cluster::Trouble;

namespace {

// An ERROR: the transaction was taken back.
Trouble trouble_of_error(std::string_view sqlstate) {
  const std::string_view kind = sqlstate.substr(0, 2);
  // 08: the server itself has lost somebody whom it had asked; 40003: it says that it does not know.
  if (kind == "08" || sqlstate == "40003") return Trouble::unknown;
  // Data that cannot be stored, a constraint, a trigger's RAISE, an index row too large: this message, now and later.
  if (kind == "22" || kind == "23" || sqlstate == "P0001" || sqlstate == "54000") return Trouble::message;
  return Trouble::not_now;
}

}  // namespace

Trouble trouble_of(const Reply& reply) {
  if (reply.severity == "ERROR") return trouble_of_error(reply.sqlstate);
  // The session ends with a FATAL. Before the statement has ended it cannot have been committed. A PANIC may come out
  // of the commit itself.
  if (reply.severity == "FATAL" && !reply.ended && !reply.warned) return Trouble::not_now;
  if (!reply.severity.empty() || !reply.ended || !reply.ready || reply.warned) return Trouble::unknown;
  return Trouble::none;
}

bool connection_is_useless(const Reply& reply) {
  if (!reply.ready || (!reply.severity.empty() && reply.severity != "ERROR")) return true;
  // A standby now; or what was prepared is no longer so (a pooler, tables made anew).
  const std::string_view sqlstate = reply.sqlstate;
  return sqlstate == "25006" || sqlstate == "26000" || sqlstate == "0A000" || sqlstate == "42P05" ||
         sqlstate.substr(0, 2) == "08" || sqlstate.substr(0, 3) == "57P";
}

}  // namespace tertulia::postgres
