#include "net/internal_server.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "net/listener.h"
#include "net/unique_fd.h"

namespace tertulia {

namespace {

constexpr int kAskSeconds = 10;

HttpAnswer wrong_method(const char* allowed) {
  return plain_answer(405, std::string("This takes ") + allowed + ".", std::string("Allow: ") + allowed + "\r\n");
}

}  // namespace

HttpAnswer InternalSite::answer(const HttpRequest& request) {
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (request.path == "/healthz") return reads ? plain_answer(200, "alive") : wrong_method("GET, HEAD");
  if (request.path == "/readyz") {
    if (!reads) return wrong_method("GET, HEAD");
    const bool ready = doors_.ready();
    std::string text = ready ? "ready" : "not ready: this node is leaving";
    if (const std::string trouble = doors_.trouble(); !trouble.empty()) text += "\n" + trouble;
    return plain_answer(ready ? 200 : 503, text);
  }
  if (request.path == "/metrics") {
    if (!reads) return wrong_method("GET, HEAD");
    HttpAnswer answer;
    answer.content_type = "text/plain; version=0.0.4; charset=utf-8";
    answer.text = doors_.metrics();
    return answer;
  }
  if (request.path == "/drain") {
    if (request.method != "POST") return wrong_method("POST");
    // A page in the operator's browser can post to his loopback, and cannot help naming its origin.
    if (request.count("origin") > 0) return plain_answer(403, "Pages may not end a node.");
    doors_.drain();
    return plain_answer(202, "This node is leaving.");
  }
  return plain_answer(404, "There are /healthz, /readyz, /metrics and POST /drain.");
}

std::string ask_to_drain(std::string_view internal_listen) {
  const std::string where(internal_listen);
  const auto parsed = parse_listen_address(internal_listen);
  if (const auto* sentence = std::get_if<std::string>(&parsed)) return "drain: " + *sentence + " (--internal-listen)";
  ListenAddress address = std::get<ListenAddress>(parsed);
  // Who listens on every address is reached on this one.
  if (address.host == "0.0.0.0") address.host = "127.0.0.1";
  if (address.host == "::") address.host = "::1";

  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found)) {
    return "drain: cannot find " + where + " (" + ::gai_strerror(error) +
           "); give the server's --internal-listen, as it was started with";
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  const UniqueFd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{kAskSeconds, 0};
  if (fd.get() < 0 || ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
      ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
      ::connect(fd.get(), found->ai_addr, found->ai_addrlen) != 0) {
    return "drain: cannot reach a server on " + where + " (" + std::strerror(errno) +
           "); is it running, and with this --internal-listen?";
  }
  const std::string request =
      "POST /drain HTTP/1.1\r\nHost: internal\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  std::string answer;
  char buffer[1024];
  ssize_t got = ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
  while (got > 0 && answer.size() < 4096) {
    got = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (got > 0) answer.append(buffer, static_cast<size_t>(got));
  }
  if (answer.starts_with("HTTP/1.1 202 ")) return {};
  const std::string line = answer.substr(0, answer.find('\r'));
  return "drain: the server on " + where + " did not agree (" +
         (line.empty() ? std::string("no answer") : line.substr(0, 100)) +
         "); is this the internal port of a Tertulia?";
}

}  // namespace tertulia
