#include "store/mongo/mongo_database.h"

#include <mongoc/mongoc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <utility>

#include "store/mongo/collection_link.h"
#include "store/mongo/documents.h"
#include "store/mongo/mongoc_collection.h"

namespace tertulia {
namespace mongo {
namespace {

constexpr int32_t kConnectMs = 3'000;  // and for choosing a server, and for a free connection
constexpr int32_t kSocketMs = 5'000;
// Of the time that a socket waits for an answer, so that the server answers before that is over.
constexpr int64_t kMajorityPercent = 80;
constexpr int64_t kReadPercent = 60;
constexpr int32_t kHeartbeatMs = 2'000;
constexpr unsigned kMarks = 16;
constexpr int kWireVersionMin = 9;  // MongoDB 4.4: keys of any length

// As soon as it is loaded, thus with any store, the library lays its counters into shared memory under the process's
// number. A process that is killed would leave them there for ever, and the next one of that number would print a
// warning about it before main, in no format of ours. Nobody reads them: the name goes at once.
const int counters_unlinked = [] { return ::shm_unlink(("/mongoc-" + std::to_string(::getpid())).c_str()); }();

void initialize() {
  static std::once_flag once;
  std::call_once(once, [] {
    // What it logs it also answers.
    mongoc_log_set_handler(nullptr, nullptr);
    mongoc_init();
  });
}

class MongoDatabase final : public cluster::Database {
 public:
  explicit MongoDatabase(const std::string& url) {
    initialize();
    bson_error_t error{};
    uri_ = mongoc_uri_new_with_error(url.c_str(), &error);
    // The library's sentence may quote a part of the URL, and with it the password.
    if (uri_ == nullptr) return;
    set_up();
    // Of a mongodb+srv:// URL this asks the name server.
    pool_ = mongoc_client_pool_new_with_error(uri_, &error);
    if (pool_ == nullptr) {
      trouble_ = error.message;
      return;
    }
    mongoc_client_pool_set_error_api(pool_, MONGOC_ERROR_API_VERSION_2);
    mongoc_client_pool_set_appname(pool_, "tertulia");
  }
  ~MongoDatabase() override {
    if (pool_ != nullptr) mongoc_client_pool_destroy(pool_);
    if (uri_ != nullptr) mongoc_uri_destroy(uri_);
  }
  MongoDatabase(const MongoDatabase&) = delete;
  MongoDatabase& operator=(const MongoDatabase&) = delete;

  std::string prepare() override {
    if (uri_ == nullptr) {
      return "store: the mongodb:// URL cannot be read. A password with special characters is written with %XX; an "
             "option that is misspelled, or a host that is no host, is refused as well.";
    }
    if (pool_ == nullptr) {
      return "store: cannot use " + address() + ": " + trouble_ + ". See the URL's options, files and host names.";
    }
    mongoc_client_t* client = mongoc_client_pool_pop(pool_);
    if (client == nullptr) return "store: no connection to " + address() + " is free; raise maxPoolSize in the URL.";
    // Many nodes may start at once and make the same indexes; whoever waited too long finds them made.
    std::string sentence;
    bool again = true;
    for (int tries = 0; again && tries < 3; ++tries) {
      again = false;
      sentence = prepare(client, again);
    }
    mongoc_client_pool_push(pool_, client);
    return sentence;
  }

  std::string warning() const override {
    std::lock_guard lock(mutex_);
    return warning_;
  }

  std::unique_ptr<cluster::Link> link(Worker& worker) override {
    return std::make_unique<CollectionLink>(
        std::make_unique<MongocCollection>(pool_, database_, links_.fetch_add(1) % kMarks, read_ms_), worker);
  }

  std::string address() const override {
    if (uri_ == nullptr) return "mongodb://";
    std::string text = "mongodb";
    if (const char* service = mongoc_uri_get_srv_hostname(uri_)) {
      text += std::string("+srv://") + service;
    } else {
      text += "://";
      const char* comma = "";
      for (const mongoc_host_list_t* host = mongoc_uri_get_hosts(uri_); host != nullptr; host = host->next) {
        text += std::exchange(comma, ",");
        text += host->host_and_port;
      }
    }
    return text + "/" + database_;
  }

 private:
  // What the promises rest on cannot be changed by the URL; times can.
  void set_up() {
    if (const char* name = mongoc_uri_get_database(uri_)) database_ = name;
    mongoc_uri_set_option_as_bool(uri_, MONGOC_URI_RETRYWRITES, false);
    mongoc_uri_set_option_as_bool(uri_, MONGOC_URI_RETRYREADS, false);
    for (const auto& [option, value] :
         {std::pair(MONGOC_URI_CONNECTTIMEOUTMS, kConnectMs),
          std::pair(MONGOC_URI_SERVERSELECTIONTIMEOUTMS, kConnectMs),
          std::pair(MONGOC_URI_WAITQUEUETIMEOUTMS, kConnectMs), std::pair(MONGOC_URI_SOCKETTIMEOUTMS, kSocketMs),
          std::pair(MONGOC_URI_HEARTBEATFREQUENCYMS, kHeartbeatMs)}) {
      if (mongoc_uri_get_option_as_int32(uri_, option, 0) == 0) mongoc_uri_set_option_as_int32(uri_, option, value);
    }
    const int64_t socket_ms = mongoc_uri_get_option_as_int32(uri_, MONGOC_URI_SOCKETTIMEOUTMS, kSocketMs);
    read_ms_ = static_cast<uint64_t>(socket_ms * kReadPercent / 100);
    mongoc_write_concern_t* majority = mongoc_write_concern_new();
    mongoc_write_concern_set_wmajority(majority, 0);
    mongoc_write_concern_set_wtimeout_int64(majority, socket_ms * kMajorityPercent / 100);
    mongoc_write_concern_set_journal(majority, true);
    mongoc_uri_set_write_concern(uri_, majority);
    mongoc_write_concern_destroy(majority);
    mongoc_read_concern_t* committed = mongoc_read_concern_new();
    mongoc_read_concern_set_level(committed, MONGOC_READ_CONCERN_LEVEL_MAJORITY);
    mongoc_uri_set_read_concern(uri_, committed);
    mongoc_read_concern_destroy(committed);
    mongoc_read_prefs_t* primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
    mongoc_uri_set_read_prefs_t(uri_, primary);
    mongoc_read_prefs_destroy(primary);
  }

  std::string failed(const bson_error_t& error) const {
    std::string text = "store: " + address() + ": " + error.message + ". ";
    if (text.find("TLS handshake") != std::string::npos || text.find("certificate") != std::string::npos) {
      return text +
             "Name the file of the authority that has signed the server's certificate in the URL, as in "
             "?tls=true&tlsCAFile=/etc/tertulia/ca.pem, and the host as the certificate names it.";
    }
    if (error.domain == MONGOC_ERROR_SERVER_SELECTION || error.domain == MONGOC_ERROR_STREAM) {
      return text + "See whether it runs, has a primary, and can be reached from here.";
    }
    return text + "See whether the user in the URL may read, write and make indexes in this database.";
  }

  // again: the connection was lost over what is worth another try.
  std::string prepare(mongoc_client_t* client, bool& again) {
    bson_error_t error{};
    bson_t reply;
    Document hello;
    hello.sort("hello", 1);
    const bool greeted =
        mongoc_client_read_command_with_opts(client, "admin", hello.get(), nullptr, nullptr, &reply, &error);
    bson_iter_t at;
    const bool replicated = bson_iter_init_find(&at, &reply, "setName") || bson_iter_init_find(&at, &reply, "msg");
    int64_t wire = 0;
    if (bson_iter_init_find(&at, &reply, "maxWireVersion") && BSON_ITER_HOLDS_NUMBER(&at)) {
      wire = bson_iter_as_int64(&at);
    }
    bson_destroy(&reply);
    if (!greeted) return failed(error);
    if (wire < kWireVersionMin) return "store: " + address() + " is older than MongoDB 4.4; a newer one is needed.";
    {
      std::lock_guard lock(mutex_);
      warning_ = replicated ? ""
                            : address() +
                                  " is one server and not a replica set: what it loses is lost, and while it is away "
                                  "nothing is taken. Run a replica set of three.";
    }
    uint64_t version = 0;
    if (!schema_version(client, version, error)) return failed(error);
    if (version > kSchemaVersion) {
      return "store: " + address() + " has schema version " + std::to_string(version) + ", and this program knows " +
             std::to_string(kSchemaVersion) + ". Start the newer program.";
    }
    if (version == kSchemaVersion) return "";
    if (!make_indexes(client, error)) {
      again = error.domain == MONGOC_ERROR_STREAM;
      return failed(error);
    }
    Document schema;
    schema.text("_id", "schema").number("version", kSchemaVersion);
    mongoc_collection_t* collection = mongoc_client_get_collection(client, database_.c_str(), kSchema);
    const bool written = mongoc_collection_insert_one(collection, schema.get(), nullptr, nullptr, &error);
    mongoc_collection_destroy(collection);
    // Another node may have been faster.
    if (!written && error.code != MONGOC_ERROR_DUPLICATE_KEY) return failed(error);
    if (!schema_version(client, version, error)) return failed(error);
    return version == kSchemaVersion ? "" : "store: " + address() + " is being made by another version; try again.";
  }

  // 0: there is none yet.
  bool schema_version(mongoc_client_t* client, uint64_t& version, bson_error_t& error) {
    Document filter;
    filter.text("_id", "schema");
    mongoc_collection_t* collection = mongoc_client_get_collection(client, database_.c_str(), kSchema);
    mongoc_cursor_t* cursor = mongoc_collection_find_with_opts(collection, filter.get(), nullptr, nullptr);
    const bson_t* document = nullptr;
    version = 0;
    if (mongoc_cursor_next(cursor, &document)) version = Reader(document).number("version");
    const bool ok = !mongoc_cursor_error(cursor, &error);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(collection);
    return ok;
  }

  // None is unique but every collection's own, on _id.
  bool make_indexes(mongoc_client_t* client, bson_error_t& error) {
    using Fields = std::vector<const char*>;
    const std::pair<const char*, std::vector<Fields>> wanted[] = {
        {kMessages, {{"room", "sequence"}, {"room", "uuid"}}},
        {kRecords, {{"key", "version"}, {"room", "listed", "name"}, {"room", "user"}, {"nodes", "listed"}}},
    };
    for (const auto& [collection, indexes] : wanted) {
      Document list, command;
      Index index;
      for (const Fields& fields : indexes) {
        Document key, one;
        std::string name;
        for (const char* field : fields) {
          key.sort(field, 1);
          name += (name.empty() ? "" : "_") + std::string(field);
        }
        one.document("key", key).text("name", name);
        list.document(index.next(), one);
      }
      command.text("createIndexes", collection).array("indexes", list);
      if (!mongoc_client_write_command_with_opts(client, database_.c_str(), command.get(), nullptr, nullptr, &error)) {
        return false;
      }
    }
    return true;
  }

  // Constant after construction.
  mongoc_uri_t* uri_ = nullptr;
  mongoc_client_pool_t* pool_ = nullptr;
  std::string database_ = "tertulia";
  uint64_t read_ms_ = 0;
  std::string trouble_;
  // Any thread.
  std::atomic<unsigned> links_ = 0;
  mutable std::mutex mutex_;
  std::string warning_;
};

}  // namespace
}  // namespace mongo

std::unique_ptr<cluster::Database> make_mongo(const std::string& url, const StoreOptions& options) {
  (void)options;  // nothing of it is MongoDB's
  return std::make_unique<mongo::MongoDatabase>(url);
}

}  // namespace tertulia
