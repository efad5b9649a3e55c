#include "net/http_message.h"

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/status.hpp>

namespace tertulia {

namespace http = boost::beast::http;

namespace {

void to_small_letters(std::string& text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
}

}  // namespace

std::string_view HttpRequest::field(std::string_view name) const {
  for (const auto& [key, value] : fields) {
    if (key == name) return value;
  }
  return {};
}

size_t HttpRequest::count(std::string_view name) const {
  size_t count = 0;
  for (const auto& [key, value] : fields) count += key == name;
  return count;
}

bool HttpRequest::lists(std::string_view name, std::string_view token) const {
  for (const auto& [key, value] : fields) {
    if (key != name) continue;
    for (size_t begin = 0; begin <= value.size();) {
      const size_t end = std::min(value.find(',', begin), value.size());
      std::string item = value.substr(begin, end - begin);
      begin = end + 1;
      const size_t first = item.find_first_not_of(" \t");
      if (first == std::string::npos) continue;
      item = item.substr(first, item.find_last_not_of(" \t") - first + 1);
      to_small_letters(item);
      if (item == token) return true;
    }
  }
  return false;
}

HttpAnswer plain_answer(int status, std::string sentence, std::string fields) {
  HttpAnswer answer;
  answer.status = status;
  answer.fields = std::move(fields);
  answer.text = std::move(sentence) + "\n";
  return answer;
}

HttpRefusal parse_http_head(std::string_view head, HttpRequest& request) {
  http::request_parser<http::empty_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(head.size()));
  parser.body_limit(boost::none);
  parser.eager(false);
  boost::system::error_code error;
  parser.put(boost::asio::const_buffer(head.data(), head.size()), error);
  if (error || !parser.is_header_done()) return {400, "The head cannot be read."};
  const auto& message = parser.get();
  request.method = std::string(message.method_string());
  const std::string_view target(message.target().data(), message.target().size());
  request.path = std::string(target.substr(0, target.find('?')));
  request.http_1_0 = message.version() == 10;
  request.keep_alive = parser.keep_alive();
  request.has_body = parser.chunked() || parser.content_length().value_or(0) > 0;
  request.fields.clear();
  for (const auto& field : message) {
    std::string name(field.name_string());
    to_small_letters(name);
    request.fields.emplace_back(std::move(name), std::string(field.value()));
  }
  return {};
}

std::string_view http_reason(int status) {
  const auto text = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)));
  return {text.data(), text.size()};
}

std::string answer_head(const HttpAnswer& answer, bool keep_alive, std::string_view date) {
  std::string head = "HTTP/1.1 " + std::to_string(answer.status) + " ";
  head += http_reason(answer.status);
  head += "\r\nDate: ";
  head += date;
  head += "\r\n";
  if (answer.status == 101) {
    head += answer.fields;
    head += "\r\n";
    return head;
  }
  const size_t bytes = answer.body.empty() ? answer.text.size() : answer.body.size();
  if (answer.status != 304) {
    head += "Content-Type: ";
    head += answer.content_type;
    head += "\r\nContent-Length: " + std::to_string(bytes) + "\r\n";
  }
  head += "X-Content-Type-Options: nosniff\r\n";
  head += keep_alive ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
  head += answer.fields;
  head += "\r\n";
  return head;
}

}  // namespace tertulia
