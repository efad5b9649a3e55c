// The link to MongoDB: what every link must do. What only this one can get wrong is in mongo_test.cc.
#include <mongoc/mongoc.h>

#include <atomic>

#include "link_suite.h"
#include "mongo_server.h"
#include "mongo_wrapped.h"
#include "store/mongo/documents.h"
#include "store/mongo/mongo_database.h"

namespace tertulia {
namespace {

// FerretDB cannot be told to refuse a document, so there it is done in front of it.
std::atomic<bool> refuse_here = false;

std::unique_ptr<cluster::Database> open_mongo(const std::string& url, const StoreOptions& options) {
  return std::make_unique<WrappedDatabase>(make_mongo(url, options), [](const std::vector<cluster::RoomBatch*>& rooms) {
    return refuse_here && holds_text(rooms, kLinkPoison)
               ? cluster::Failure{cluster::Trouble::message, "refused by the test"}
               : cluster::Failure();
  });
}

class MongoUnderTest final : public LinkUnderTest {
 public:
  explicit MongoUnderTest(MongoServer& server) : server_(server), url_(server.new_database()) { refuse_here = false; }
  ~MongoUnderTest() override { refuse_here = false; }

  std::string url() override { return url_; }
  std::string url_through(uint16_t port) override {
    const std::string name = url_.substr(url_.rfind('/') + 1);
    // Direct, or the set would tell the driver to go past the proxy; and without heartbeats that it could cut.
    return "mongodb://127.0.0.1:" + std::to_string(port) + "/" + name.substr(0, name.find('?')) +
           "?directConnection=true&heartbeatFrequencyMS=60000&" + server_.patience();
  }
  uint16_t port() override { return server_.port(); }
  void refuse_poison() override {
    if (server_.is_ferretdb()) {
      refuse_here = true;
      return;
    }
    mongo::Document pattern, unlike, text, command;
    pattern.text("$regex", std::string("^") + kLinkPoison);
    unlike.document("$not", pattern);
    text.document("text", unlike);
    command.text("collMod", mongo::kMessages).document("validator", text);
    mongoc_client_t* client = mongoc_client_new(url_.c_str());
    bson_error_t error{};
    const char* name = mongoc_uri_get_database(mongoc_client_get_uri(client));
    EXPECT_TRUE(mongoc_client_command_simple(client, name, command.get(), nullptr, nullptr, &error)) << error.message;
    mongoc_client_destroy(client);
  }
  bool stray(const std::string& room, const Row& row) override {
    mongo::Document document;
    mongo::write_row(document, {&room, row.before(), row.chain, &row.message});
    mongoc_client_t* client = mongoc_client_new(url_.c_str());
    const char* name = mongoc_uri_get_database(mongoc_client_get_uri(client));
    mongoc_collection_t* collection = mongoc_client_get_collection(client, name, mongo::kMessages);
    bson_error_t error{};
    EXPECT_TRUE(mongoc_collection_insert_one(collection, document.get(), nullptr, nullptr, &error)) << error.message;
    mongoc_collection_destroy(collection);
    mongoc_client_destroy(client);
    return true;
  }
  bool kill_and_restart() override {
    if (!server_.kill()) return false;
    restart();
    return true;
  }
  bool kill() override { return server_.kill(); }
  void restart() override { EXPECT_TRUE(server_.restart()); }
  // It is judged before, and for records after, but never within: there are no transactions.
  bool judges_leases() const override { return false; }
  bool settles_lost_replies() const override { return true; }
  bool whole_batches() const override { return false; }
  // What a later version was written behind does not count, though that one was made from it.
  bool tells_all_winners() const override { return false; }

 private:
  MongoServer& server_;
  const std::string url_;
};

std::unique_ptr<LinkUnderTest> make() {
  std::string error;
  MongoServer* server = MongoServer::get(error);
  EXPECT_NE(server, nullptr) << error;
  if (server == nullptr) return nullptr;
  return std::make_unique<MongoUnderTest>(*server);
}

INSTANTIATE_TEST_SUITE_P(Mongo, LinkSuite, testing::Values(LinkKind{"Mongo", &make, &open_mongo, 60}),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace tertulia

int main(int argc, char** argv) {
  return tertulia::link_suite_main(argc, argv, &tertulia::make_mongo);
}
