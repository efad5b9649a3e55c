#include "net/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/check.h"
#include "base/limits.h"
#include "net/socket_transport.h"
#include "net/unique_fd.h"

namespace tertulia {

namespace {

constexpr int kBacklog = 4096;
// Others on this loop have their turn after so many.
constexpr int kAcceptedAtOnce = 64;
// When there is no descriptor left, waiting in the backlog costs a client less than a refusal.
constexpr int64_t kPauseUs = 100'000;

std::string numeric(const sockaddr_storage& address, uint16_t& port) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    port = ntohs(v6.sin6_port);
    return "[" + std::string(text) + "]:" + std::to_string(port);
  }
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
  inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  port = ntohs(v4.sin_port);
  return std::string(text) + ":" + std::to_string(port);
}

std::string what_to_do(int error, std::string_view option) {
  const std::string name(option);
  switch (error) {
    case EADDRINUSE:
      return "Another program, perhaps another Tertulia, listens there; stop it, or choose another port with " + name +
             " HOST:PORT (port 0 takes a free one).";
    case EADDRNOTAVAIL:
      return "This machine does not have that address; use one of its own, 127.0.0.1, or 0.0.0.0 for all, with " +
             name + ".";
    case EACCES: return "Ports below 1024 need a privilege; choose a higher one with " + name + ".";
    default: return "Choose another address with " + name + ".";
  }
}

}  // namespace

std::variant<ListenAddress, std::string> parse_listen_address(std::string_view text) {
  const std::string quoted = "\"" + std::string(text) + "\"";
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return quoted + " has no port; write HOST:PORT, as in 127.0.0.1:8080";
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  ListenAddress address;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
    return quoted + " has no port from 0 to 65535 behind its last colon";
  }
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return quoted + " is ambiguous; write an IPv6 address in brackets, as in [::1]:8080";
  }
  address.host = host.empty() ? "0.0.0.0" : std::string(host);
  return address;
}

Listener::Listener(EventLoop& loop, std::vector<HttpService*> shards, ConnectionCounts& counts,
                   ConnectionCounts& refusals, Log& log)
    : loop_(loop),
      shards_(std::move(shards)),
      counts_(counts),
      refusals_(refusals),
      log_(log),
      acceptor_(loop.context()) {
  CHECK(!shards_.empty(), "a listener has somebody to hand connections to");
}

Listener::~Listener() {
  loop_.cancel(pause_);
}

std::string Listener::open(std::string_view address, std::string_view option) {
  const auto failed = [&](std::string_view step, int error) {
    return "net: cannot listen on " + std::string(address) + " (" + std::string(step) + ": " + std::strerror(error) +
           "). " + what_to_do(error, option);
  };
  const auto parsed = parse_listen_address(address);
  if (const auto* sentence = std::get_if<std::string>(&parsed)) {
    return "net: cannot listen: " + *sentence + " (" + std::string(option) + ").";
  }
  const ListenAddress& wanted = std::get<ListenAddress>(parsed);

  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(wanted.host.c_str(), std::to_string(wanted.port).c_str(), &hints, &found)) {
    return "net: cannot listen on " + std::string(address) + " (" + ::gai_strerror(error) +
           "). Use an address of this machine with " + std::string(option) + ".";
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  // The first is the one that the system prefers; one name is one listener.
  const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed("socket", errno);
  boost::system::error_code assigned;
  acceptor_.assign(found->ai_family == AF_INET6 ? boost::asio::ip::tcp::v6() : boost::asio::ip::tcp::v4(), fd,
                   assigned);
  if (assigned) {
    ::close(fd);
    return failed("epoll", assigned.value());
  }
  const auto give_up = [&](std::string_view step) {
    const int error = errno;
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    return failed(step, error);
  };
  const int on = 1;
  if (::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return give_up("SO_REUSEADDR");
  // Before listen: the window that a client is offered follows from the buffer at its handshake.
  if ((errno = tune_socket(fd)) != 0) return give_up("setsockopt");
  if (::bind(fd, found->ai_addr, found->ai_addrlen) != 0) return give_up("bind");
  if (::listen(fd, kBacklog) != 0) return give_up("listen");
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return give_up("getsockname");
  address_ = numeric(bound, port_);
  arm();
  return {};
}

void Listener::arm() {
  acceptor_.async_wait(boost::asio::socket_base::wait_read, [this](boost::system::error_code error) {
    if (!error) accept_some();
  });
}

void Listener::accept_some() {
  for (int i = 0; i < kAcceptedAtOnce; ++i) {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const int fd =
        ::accept4(acceptor_.native_handle(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      take(fd, from);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      log_.limited(LogLevel::warn, 1, "net", "cannot accept, waiting for room",
                   {{"error", std::strerror(errno)},
                    {"connections", counts_.in_all()},
                    {"do", "raise the limit of open files (ulimit -Hn, LimitNOFILE) or lower --connections-max"}});
      pause_ = loop_.after(kPauseUs, [this] { arm(); });
      return;
    }
    // Nothing left, or a connection that died in the queue: the wait tells about the next.
    break;
  }
  arm();
}

HttpService& Listener::least_loaded() const {
  HttpService* least = shards_.front();
  for (HttpService* shard : shards_) {
    if (shard->parts().loop.connections() < least->parts().loop.connections()) least = shard;
  }
  return *least;
}

void Listener::take(int fd, const sockaddr_storage& from) {
  HttpService& shard = least_loaded();
  const std::optional<IpAddress> peer = IpAddress::from(from);
  if (!peer) {
    ::close(fd);
    return;
  }
  ConnectionCounts::Slot slot;
  // For whom a proxy speaks is known only from what it will say.
  const std::string counted = shard.parts().proxies.contains(*peer) ? std::string() : peer->counted();
  const ConnectionCounts::Verdict verdict = counts_.take(counted, slot);
  if (verdict == ConnectionCounts::Verdict::admitted) {
    ConnectionCounts::assign(slot, shard.parts().loop.connections());
    shard.parts().loop.post([&shard, owned = UniqueFd(fd), peer = *peer, held = std::move(slot)]() mutable {
      shard.serve(owned.release(), peer, std::move(held));
    });
    return;
  }
  const bool of_address = verdict == ConnectionCounts::Verdict::too_many_of_address;
  if (!of_address) press_out_idle();
  log_.limited(LogLevel::warn, 1, "net",
               of_address ? "refused a connection, its address has too many" : "refused a connection, the node is full",
               {{"address", peer->counted()}, {"connections", counts_.in_all()}});
  if (refusals_.take("", slot) != ConnectionCounts::Verdict::admitted) {
    ::close(fd);
    return;
  }
  shard.parts().loop.post(
      [&shard, owned = UniqueFd(fd), status = of_address ? 429 : 503, held = std::move(slot)]() mutable {
        shard.refuse(owned.release(), status, std::move(held));
      });
}

// Whoever came is refused all the same; the next ones find the places.
void Listener::press_out_idle() {
  const int64_t now_us = shards_.front()->parts().clock.now_us();
  if (now_us - pressed_out_us_ < limits::press_out_every_us) return;
  pressed_out_us_ = now_us;
  for (HttpService* shard : shards_) {
    if (shard->parts().opener == nullptr) continue;
    shard->parts().loop.post([opener = shard->parts().opener] { opener->make_room(); });
  }
}

uint64_t raise_open_files_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return before;
  return limit.rlim_cur;
}

}  // namespace tertulia
