// What a reply of the server, or the lack of one, says about what was done. Pure.
//
// A statement is one transaction, and its commit comes last: the server tells that the statement has ended *before* it
// commits, and that it is ready again *after* it. So only the latter proves a commit, and only an error that comes
// before the former, or one that is no more than an error, proves that there is none.
#pragma once

#include <string>

#include "store/cluster/link.h"

namespace tertulia::postgres {

struct Reply {
  bool ended = false;    // the statement has (CommandComplete)
  bool ready = false;    // the server is again (ReadyForQuery)
  bool warned = false;   // with a WARNING: the wait for the standby was given up, though the commit stands here
  std::string severity;  // of an error, not translated: ERROR, FATAL, PANIC; empty: none
  std::string sqlstate;  // of an error
};

cluster::Trouble trouble_of(const Reply& reply);
// True: another connection is needed, even if this one still stands.
bool connection_is_useless(const Reply& reply);

}  // namespace tertulia::postgres
