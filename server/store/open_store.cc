#include "store/open_store.h"

#include "store/memory_store.h"
#include "store/sqlite_store.h"

namespace tertulia {

OpenedStore open_store(std::string_view kind, const std::string& data_dir, const StoreOptions& options,
                       const Clock& clock) {
  if (kind == "memory") return {std::make_unique<MemoryStore>(options, clock), ""};
  if (kind == "sqlite") return SqliteStore::open(data_dir, options, clock);
  return {nullptr,
          "store: there is no store \"" + std::string(kind) + "\". Start with --store sqlite or --store memory."};
}

}  // namespace tertulia
