#include "mongo_server.h"

#include <gtest/gtest.h>
#include <mongoc/mongoc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <vector>

namespace tertulia {
namespace {

constexpr auto kStart = std::chrono::seconds(120);

std::string found_on_path(const std::string& name) {
  const char* path = ::getenv("PATH");
  std::string all = path == nullptr ? "" : path;
  for (size_t begin = 0; begin <= all.size();) {
    const size_t end = std::min(all.find(':', begin), all.size());
    const std::string candidate = all.substr(begin, end - begin) + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    begin = end + 1;
  }
  return "";
}

// What a program prints, if it ends well.
std::string output_of(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return "";
  std::string text;
  char bytes[256];
  while (size_t got = ::fread(bytes, 1, sizeof bytes, pipe)) text.append(bytes, got);
  const int status = ::pclose(pipe);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return status == 0 ? text : "";
}

// The same URL with this database in its path.
std::string with_database(const std::string& url, const std::string& name) {
  const size_t hosts = url.find("://") + 3;
  const size_t options = std::min(url.find('?', hosts), url.size());
  const size_t slash = std::min(url.find('/', hosts), options);
  return url.substr(0, slash) + "/" + name + url.substr(options);
}

// Runs a command against `admin`, or drops the URL's own database.
bool command(const std::string& url, const char* name, std::string& error_text, bool on_admin = true) {
  mongoc_client_t* client = mongoc_client_new(url.c_str());
  if (client == nullptr) return false;
  bson_t bson, reply;
  bson_init(&bson);
  bson_append_int32(&bson, name, -1, 1);
  bson_error_t error{};
  const char* database = mongoc_uri_get_database(mongoc_client_get_uri(client));
  const bool done =
      mongoc_client_command_simple(client, on_admin || !database ? "admin" : database, &bson, nullptr, &reply, &error);
  if (!done) error_text = error.message;
  bson_destroy(&bson);
  bson_destroy(&reply);
  mongoc_client_destroy(client);
  return done;
}

}  // namespace

MongoServer* MongoServer::get(std::string& error) {
  static std::unique_ptr<MongoServer> server;
  static std::string trouble;
  if (server == nullptr && trouble.empty()) {
    mongoc_init();
    server.reset(new MongoServer);
    trouble = server->start();
    if (!trouble.empty()) server = nullptr;
  }
  error = trouble;
  return server.get();
}

std::string MongoServer::start() {
  if (const char* given = ::getenv("MONGODB_URL"); given != nullptr && *given != '\0') {
    url_ = given;
    return "";
  }
  program_ = found_on_path("mongod");
  if (program_.empty()) {
    ferretdb_ = true;
    program_ = output_of(std::string(TERTULIA_SOURCE_DIR) + "/tests/ferretdb/build.sh");
    if (program_.empty()) return "there is neither MONGODB_URL nor mongod, and tests/ferretdb/build.sh failed";
  }
  directory_ = std::make_unique<TemporaryDirectory>();
  port_ = std::make_unique<HeldPort>();
  if (const std::string trouble = launch(); !trouble.empty()) return trouble;
  url_ = "mongodb://127.0.0.1:" + port_->text() + "/";
  if (!ferretdb_) return initiate();
  url_ += std::string("?") + patience();
  return "";
}

std::string MongoServer::launch() {
  const std::string log = *directory_ / "log", listen = "127.0.0.1:" + port_->text();
  std::vector<std::string> command = {program_, "-listen", listen, "-data", directory_->path()};
  if (!ferretdb_) {
    command = {program_,    "--dbpath",  directory_->path(), "--port",  port_->text(),
               "--bind_ip", "127.0.0.1", "--replSet",        "tertulia"};
  }
  process_ = std::make_unique<ChildProcess>(command, ChildProcess::Options{.log = log});
  // Nobody else can listen there, so what is reached is this one.
  int connection = -1;
  if (!eventually([&] { return (connection = HeldPort::dial(port_->number())) >= 0 || !process_->running(); },
                  kStart)) {
    return program_ + " does not listen: " + file_contents(log);
  }
  if (connection < 0) return program_ + " ended at once: " + file_contents(log);
  ::close(connection);
  return "";
}

std::string MongoServer::initiate() {
  std::string error;
  const std::string direct = url_ + "?directConnection=true&serverSelectionTimeoutMS=5000";
  if (!command(direct, "replSetInitiate", error)) return "replSetInitiate: " + error;
  url_ += "?replicaSet=tertulia";
  const std::string ready = url_ + "&serverSelectionTimeoutMS=1000";
  if (eventually([&] { return command(ready, "ping", error); }, kStart)) return "";
  return "the replica set has no primary: " + error;
}

std::string MongoServer::new_database() {
  return with_database(url_, "tertulia_test_" + std::to_string(::getpid()) + "_" + std::to_string(++databases_));
}

bool MongoServer::kill() {
  if (process_ == nullptr) return false;
  process_->signal(SIGKILL);
  process_->wait();
  process_ = nullptr;
  return true;
}

bool MongoServer::restart() {
  if (process_ != nullptr || port_ == nullptr) return false;
  const std::string trouble = launch();
  EXPECT_EQ(trouble, "");
  return trouble.empty();
}

MongoServer::~MongoServer() {
  if (directory_ == nullptr) {
    std::string ignored;
    for (int i = 1; i <= databases_; ++i) {
      const std::string name = "tertulia_test_" + std::to_string(::getpid()) + "_" + std::to_string(i);
      (void)command(with_database(url_, name), "dropDatabase", ignored, false);
    }
  }
}

}  // namespace tertulia
