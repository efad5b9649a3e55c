// A MongoDB as the cluster's store: see child_log.h for logs and versioned_records.h for names and leases.
//
// Collections: messages (one document a message), records, markers, and tertulia with the schema's version. The
// database's name is the URL's, or tertulia. TLS and credentials stand in the URL as MongoDB's own tools take them.
#pragma once

#include <memory>
#include <string>

#include "store/cluster/link.h"
#include "store/store_options.h"

namespace tertulia {

// url: mongodb:// or mongodb+srv://. What is wrong with it is said by prepare(). Thread: any.
std::unique_ptr<cluster::Database> make_mongo(const std::string& url, const StoreOptions& options);

}  // namespace tertulia
