#include "store/open_store.h"

#include <utility>

#include "base/random.h"
#include "base/worker.h"
#include "store/cluster/cluster_store.h"
#include "store/memory_store.h"
#include "store/mongo/mongo_database.h"
#include "store/postgres/postgres_database.h"
#include "store/sqlite_store.h"

namespace tertulia {
namespace {

OpenedStore open_cluster(std::unique_ptr<cluster::Database> database, const StoreOptions& options, const Clock& clock) {
  static SystemRandom random;  // has no state
  auto store =
      std::make_unique<ClusterStore>(std::move(database), std::make_unique<ThreadWorkers>(), options, clock, random);
  std::string error = store->start();
  if (!error.empty()) return {nullptr, std::move(error)};
  return {std::move(store), ""};
}

}  // namespace

std::unique_ptr<cluster::Database> open_database(std::string_view url, const StoreOptions& options) {
  const std::string_view scheme = url.substr(0, url.find("://"));
  if (scheme == url) return nullptr;
  if (scheme == "postgresql" || scheme == "postgres") return make_postgres(std::string(url), options);
  if (scheme == "mongodb" || scheme == "mongodb+srv") return make_mongo(std::string(url), options);
  return nullptr;
}

OpenedStore open_store(std::string_view kind, const std::string& data_dir, const StoreOptions& options,
                       const Clock& clock) {
  if (kind == "memory") return {std::make_unique<MemoryStore>(options, clock), ""};
  if (kind == "sqlite") return SqliteStore::open(data_dir, options, clock);
  if (auto database = open_database(kind, options)) return open_cluster(std::move(database), options, clock);
  const std::string_view scheme = kind.substr(0, kind.find(':'));
  // Not the whole of it: there may be a password in a URL with a mistake.
  return {nullptr, "store: there is no store \"" + std::string(scheme) +
                       "\". Start with --store sqlite, --store memory, --store postgresql://… or --store mongodb://…"};
}

}  // namespace tertulia
