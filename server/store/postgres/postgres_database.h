// PostgreSQL 15 or later as the store of a cluster. How a log stays true there is in docs/cluster.md; here is where:
// schema.cc has the tables and the functions that write to them, postgres_link.cc what is asked, connection.cc how,
// reply.cc what an answer proves.
//
// All nodes write to one primary. An append is one call of a function that locks the rooms' rows, numbers, chains and
// inserts, and is committed by itself. A clean answer proves all that it tells, repeats too; after reads on a server
// with a synchronous standby only mark() does.
#pragma once

#include <memory>
#include <string>

#include "store/cluster/link.h"
#include "store/store_options.h"

namespace tertulia {

// url: postgresql://user:password@host:port,host:port/database?sslmode=…, or whatever else libpq takes; what it does
// not say comes from PGPASSWORD, PGPASSFILE and the other variables of libpq. One that makes no sense is told by
// prepare().
std::unique_ptr<cluster::Database> make_postgres(const std::string& url, const StoreOptions& options);

}  // namespace tertulia
