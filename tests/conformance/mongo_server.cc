#include "mongo_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <mongoc/mongoc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

namespace tertulia {
namespace {

using std::chrono::steady_clock;

constexpr auto kStart = std::chrono::seconds(60);

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

int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  int port = 0;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    port = ::ntohs(address.sin_port);
  }
  ::close(fd);
  return port;
}

bool answers(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  address.sin_port = ::htons(static_cast<uint16_t>(port));
  const bool connected = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return connected;
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
  std::string pattern = (std::filesystem::temp_directory_path() / "tertulia-mongo-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) return "cannot make a temporary directory";
  directory_ = pattern;
  for (int attempt = 0; attempt < 3; ++attempt) {  // somebody else may take the port first
    port_ = free_port();
    const std::string trouble = launch();
    if (trouble.empty()) break;
    if (attempt == 2) return trouble;
  }
  url_ = "mongodb://127.0.0.1:" + std::to_string(port_) + "/";
  return ferretdb_ ? "" : initiate();
}

std::string MongoServer::launch() {
  const std::string log = directory_ + "/log";
  const std::string listen = "127.0.0.1:" + std::to_string(port_);
  const std::string port = std::to_string(port_);
  std::vector<const char*> arguments;
  if (ferretdb_) {
    arguments = {program_.c_str(), "-listen", listen.c_str(), "-data", directory_.c_str(), nullptr};
  } else {
    arguments = {program_.c_str(), "--dbpath",  directory_.c_str(), "--port",   port.c_str(),
                 "--bind_ip",      "127.0.0.1", "--replSet",        "tertulia", nullptr};
  }
  const int parent = ::getpid();
  const int pid = ::fork();
  if (pid < 0) return "cannot fork";
  if (pid == 0) {
    // It must not outlive this program, however that ends.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (::getppid() != parent || out < 0 || ::dup2(out, 1) < 0 || ::dup2(out, 2) < 0) ::_exit(126);
    ::execv(arguments[0], const_cast<char**>(arguments.data()));
    ::_exit(127);
  }
  pid_ = pid;
  const auto deadline = steady_clock::now() + kStart;
  while (!answers(port_)) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = 0;
      return program_ + " ended at once; see " + log;
    }
    if (steady_clock::now() > deadline) return program_ + " does not listen; see " + log;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return "";
}

std::string MongoServer::initiate() {
  std::string error;
  const std::string direct = url_ + "?directConnection=true&serverSelectionTimeoutMS=5000";
  if (!command(direct, "replSetInitiate", error)) return "replSetInitiate: " + error;
  url_ += "?replicaSet=tertulia";
  const auto deadline = steady_clock::now() + kStart;
  while (!command(url_ + "&serverSelectionTimeoutMS=1000", "ping", error)) {
    if (steady_clock::now() > deadline) return "the replica set has no primary: " + error;
  }
  return "";
}

std::string MongoServer::new_database() {
  return with_database(url_, "tertulia_test_" + std::to_string(::getpid()) + "_" + std::to_string(++databases_));
}

bool MongoServer::stop() {
  return pid_ != 0 && ::kill(pid_, SIGSTOP) == 0;
}

bool MongoServer::resume() {
  return pid_ != 0 && ::kill(pid_, SIGCONT) == 0;
}

bool MongoServer::kill() {
  if (pid_ == 0) return false;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
  return true;
}

bool MongoServer::restart() {
  return pid_ == 0 && port_ != 0 && launch().empty();
}

MongoServer::~MongoServer() {
  if (directory_.empty()) {
    std::string ignored;
    for (int i = 1; i <= databases_; ++i) {
      const std::string name = "tertulia_test_" + std::to_string(::getpid()) + "_" + std::to_string(i);
      (void)command(with_database(url_, name), "dropDatabase", ignored, false);
    }
  }
  kill();
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

}  // namespace tertulia
