// Opens a store by its name.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "store/store.h"
#include "store/store_options.h"

namespace tertulia {

struct OpenedStore {
  std::unique_ptr<Store> store;  // nothing: `error` says what, where and what to do
  std::string error;
};

// kind: "memory" forgets everything at its end; "sqlite" keeps it in data_dir, which is made if it is missing and
// belongs to this process from then on; a URL that begins with postgresql://, postgres://, mongodb:// or mongodb+srv://
// is a database that several nodes share. Blocks while the store is read and made durable, or while a database that
// may be starting too is waited for, at most half a minute.
[[nodiscard]] OpenedStore open_store(std::string_view kind, const std::string& data_dir, const StoreOptions& options,
                                     const Clock& clock);

namespace cluster {
class Database;
}
// The database of a URL that several nodes share, as it is, not yet prepared; nothing: no such scheme.
[[nodiscard]] std::unique_ptr<cluster::Database> open_database(std::string_view url, const StoreOptions& options);

}  // namespace tertulia
