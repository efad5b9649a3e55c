#include "net/http_connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <utility>

#include "base/check.h"
#include "net/socket_transport.h"

namespace tertulia {

namespace {

// An answer has to be taken within this time; the caps on connections bound what slow readers can hold.
constexpr int64_t kAnswerUs = 60'000'000;

TcpSocket adopt(EventLoop& loop, int fd) {
  TcpSocket socket(loop.context());
  boost::system::error_code error;
  // The family is only noted by Asio and nothing here asks for it.
  socket.assign(boost::asio::ip::tcp::v4(), fd, error);
  if (error) ::close(fd);
  return socket;
}

}  // namespace

class HttpConnection {
 public:
  HttpConnection(HttpService& owner, TcpSocket socket, const IpAddress& peer, ConnectionCounts::Slot slot)
      : owner_(&owner),
        service_(owner.parts()),
        socket_(std::move(socket)),
        slot_(std::move(slot)),
        peer_(peer),
        client_(peer) {
    owner.open_.insert(this);
  }
  ~HttpConnection() { leave(); }

  friend void intrusive_ptr_add_ref(HttpConnection* connection) { ++connection->references_; }
  friend void intrusive_ptr_release(HttpConnection* connection) {
    if (--connection->references_ == 0) delete connection;
  }

  void start() {
    wants_proxy_header_ = service_.proxy_protocol && service_.proxies.contains(peer_);
    begin_head();
    arm_read();
  }

  // Closes the socket; what Asio still holds of this finds it closed.
  void end() {
    leave();
    boost::system::error_code ignored;
    socket_.close(ignored);
    slot_.release();
  }

  void refuse(int status, const char* sentence) {
    bad_input();
    respond(plain_answer(status, sentence), false, true);
  }

 private:
  boost::intrusive_ptr<HttpConnection> self() { return boost::intrusive_ptr<HttpConnection>(this); }

  void begin_head() {
    scanner_.restart();
    set_deadline(service_.head_us);
  }

  void set_deadline(int64_t us) {
    service_.loop.cancel(timer_);
    timer_ = service_.loop.after(us, [this] { on_deadline(); });
  }

  void on_deadline() {
    timer_ = 0;
    const auto alive = self();
    if (!writing_ && !in_.empty() && !wants_proxy_header_) {
      refuse(408, "The request did not arrive in time.");
    } else {
      end();
    }
  }

  void arm_read() {
    socket_.async_wait(TcpSocket::wait_read, [self = self()](boost::system::error_code error) {
      if (!error && self->socket_.is_open()) self->on_readable();
    });
  }

  void on_readable() {
    if (writing_) return;  // refused by the deadline meanwhile
    const std::span<char> buffer = service_.loop.buffer();
    // One byte more than a head may have, so that too long a one is seen to be that.
    const size_t room = service_.limits.head_bytes_max + 1 - in_.size();
    const ssize_t got = ::recv(socket_.native_handle(), buffer.data(), std::min(room, buffer.size()), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return arm_read();
    if (got <= 0) return end();
    service_.metrics.bytes_in.add(static_cast<uint64_t>(got));
    in_.append(buffer.data(), static_cast<size_t>(got));
    read_on();
  }

  // Goes on with what is in in_, as far as it reaches.
  void read_on() {
    if (wants_proxy_header_ && !take_proxy_header()) return;
    while (!writing_ && socket_.is_open()) {
      HttpRefusal refusal;
      const size_t head_bytes = scanner_.scan(in_, service_.limits, refusal);
      if (refusal.status != 0) return refuse(refusal.status, refusal.sentence);
      if (head_bytes == 0) return arm_read();
      take_head(head_bytes);
    }
  }

  bool take_proxy_header() {
    const ProxyHeader header = parse_proxy_header(in_);
    if (header.status == ProxyHeader::Status::more) {
      arm_read();
      return false;
    }
    if (header.status == ProxyHeader::Status::malformed) {
      service_.log.limited(LogLevel::warn, 1, "net", "a trusted proxy sent no PROXY header, its connection is closed",
                           {{"proxy", peer_.counted()}});
      end();
      return false;
    }
    if (header.client) peer_ = *header.client;
    in_.erase(0, header.size);
    wants_proxy_header_ = false;
    return true;
  }

  void take_head(size_t head_bytes) {
    const std::string_view head = std::string_view(in_).substr(0, head_bytes);
    HttpRequest request;
    HttpRefusal refusal = guard_http_head(head, service_.limits);
    if (refusal.status == 0) refusal = parse_http_head(head, request);
    if (refusal.status != 0) return refuse(refusal.status, refusal.sentence);
    request.bytes_behind = in_.size() > head_bytes;
    in_.erase(0, head_bytes);
    if (!find_client(request)) {
      service_.metrics.refused.add();
      return respond(plain_answer(429, "There are too many connections from this address.", "Retry-After: 5\r\n"),
                     false, true);
    }
    HttpAnswer answer = service_.site.answer(request);
    if (answer.status == 400 || answer.status == 426) bad_input();
    if (answer.status == 403) service_.metrics.bad_input[BadInput::origin].add();
    if (answer.status == 503) service_.metrics.refused.add();  // an upgrade, while the node is leaving
    respond(std::move(answer), request.method == "HEAD", !request.keep_alive || request.has_body);
  }

  // Whose request it is; false if that client has too many connections.
  bool find_client(const HttpRequest& request) {
    client_ = peer_;
    if (service_.proxies.contains(peer_)) {
      std::string forwarded_for;
      for (const auto& [name, value] : request.fields) {
        if (name != "x-forwarded-for") continue;
        if (!forwarded_for.empty()) forwarded_for += ',';
        forwarded_for += value;
      }
      client_ = forwarded_client(peer_, forwarded_for, service_.proxies);
    }
    return service_.counts.move_to(client_.counted(), slot_) == ConnectionCounts::Verdict::admitted;
  }

  void bad_input() { service_.metrics.bad_input[BadInput::http].add(); }

  void respond(HttpAnswer answer, bool head_only, bool close) {
    writing_ = true;
    close_after_ = close || answer.close;
    answer_ = std::move(answer);
    out_ = answer_head(answer_, !close_after_, http_date(service_.clock.unix_ms()));
    body_ = head_only || answer_.status == 101 || answer_.status == 304 ? std::string_view()
            : answer_.body.empty()                                      ? std::string_view(answer_.text)
                                                                        : answer_.body;
    sent_ = 0;
    if (answer_.status != 101) set_deadline(kAnswerUs);
    write_on();
  }

  void write_on() {
    while (sent_ < out_.size() + body_.size()) {
      const std::string_view head = std::string_view(out_).substr(std::min(sent_, out_.size()));
      const std::string_view body = body_.substr(sent_ - std::min(sent_, out_.size()));
      iovec pieces[2] = {{const_cast<char*>(head.data()), head.size()}, {const_cast<char*>(body.data()), body.size()}};
      msghdr message{};
      message.msg_iov = pieces;
      message.msg_iovlen = 2;
      const ssize_t sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)) return arm_write();
      if (sent < 0) return end();
      service_.metrics.bytes_out.add(static_cast<uint64_t>(sent));
      sent_ += static_cast<size_t>(sent);
    }
    written();
  }

  void arm_write() {
    socket_.async_wait(TcpSocket::wait_write, [self = self()](boost::system::error_code error) {
      if (error || !self->socket_.is_open()) return;
      self->write_on();
      // Not from write_on itself, which read_on calls: pipelined requests must not pile up on the stack.
      if (!self->writing_ && self->socket_.is_open()) self->read_on();
    });
  }

  void written() {
    if (answer_.status == 101) return upgrade();
    if (close_after_) {
      leave();
      SocketTransport::close_alone(service_.loop, std::move(socket_), std::move(slot_));
      return;
    }
    writing_ = false;
    out_.clear();
    answer_ = {};
    body_ = {};
    begin_head();
  }

  void upgrade() {
    CHECK(service_.opener != nullptr, "only a site with an opener answers 101");
    leave();
    Greeting greeting;
    greeting.dialect = answer_.dialect;
    greeting.address = client_.counted();
    service_.opener->open(std::make_unique<SocketTransport>(service_.loop, std::move(socket_), std::move(slot_)),
                          std::move(greeting));
  }

  // From here on neither the service nor a timer knows of this.
  void leave() {
    if (!owner_) return;
    service_.loop.cancel(std::exchange(timer_, 0));
    std::exchange(owner_, nullptr)->open_.erase(this);
  }

  HttpService* owner_;  // null once this connection has ended or become something else
  const HttpService::Parts& service_;
  TcpSocket socket_;
  ConnectionCounts::Slot slot_;
  IpAddress peer_;    // as the kernel says it, or a PROXY header
  IpAddress client_;  // of the request at hand
  Timers::Id timer_ = 0;
  uint32_t references_ = 0;
  bool wants_proxy_header_ = false;
  bool writing_ = false;
  bool close_after_ = false;
  HttpHeadScanner scanner_;
  std::string in_;
  HttpAnswer answer_;
  std::string out_;
  std::string_view body_;
  size_t sent_ = 0;
};

HttpService::~HttpService() {
  while (!open_.empty()) (*open_.begin())->end();
}

void HttpService::serve(int fd, const IpAddress& peer, ConnectionCounts::Slot slot) {
  TcpSocket socket = adopt(parts_.loop, fd);
  if (!socket.is_open()) return;
  parts_.metrics.accepted.add();
  boost::intrusive_ptr<HttpConnection> connection(new HttpConnection(*this, std::move(socket), peer, std::move(slot)));
  connection->start();
}

void HttpService::refuse(int fd, int status, ConnectionCounts::Slot slot) {
  TcpSocket socket = adopt(parts_.loop, fd);
  if (!socket.is_open()) return;
  parts_.metrics.refused.add();
  const HttpAnswer answer =
      plain_answer(status, status == 429 ? "There are too many connections from this address." : "The server is full.",
                   "Retry-After: 5\r\n");
  const std::string text = answer_head(answer, false, http_date(parts_.clock.unix_ms())) + answer.text;
  // A fresh socket takes a few hundred bytes at once; if not, the close says enough.
  [[maybe_unused]] const ssize_t sent =
      ::send(socket.native_handle(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  SocketTransport::close_alone(parts_.loop, std::move(socket), std::move(slot));
}

std::string http_date(int64_t unix_ms) {
  const std::time_t seconds = unix_ms / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  char text[40];
  // By hand: strftime's names follow the locale.
  const int size =
      std::snprintf(text, sizeof text, "%s, %02d %s %d %02d:%02d:%02d GMT", days[parts.tm_wday], parts.tm_mday,
                    months[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
  return std::string(text, static_cast<size_t>(size));
}

}  // namespace tertulia
