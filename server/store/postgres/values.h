// Values on their way to PostgreSQL and back, in its binary format: nothing is quoted, so nothing can be quoted
// wrongly.
//
// Thread: one. Memory: a copy of what is sent; an Answer holds what came until its end, and views into it end with it.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/position.h"

namespace tertulia::postgres {

// The parameters of one statement, in order.
class Params {
 public:
  enum class Element : uint32_t { flag = 16, bytes = 17, int8 = 20, int2 = 21, int4 = 23, text = 25 };  // type OIDs

  void text(std::string_view value);
  void number(int64_t value);  // bigint

  // An array: begin, its elements, end. Of flags and numbers with number().
  void begin(Element element);
  void each(std::string_view value);
  void each_number(int64_t value);
  void each_null();
  void end();

  int count() const { return static_cast<int>(places_.size()); }
  // Valid until the next change.
  std::vector<const char*> values() const;
  std::vector<int> lengths() const;

 private:
  void put(uint64_t value, int bytes);

  std::string bytes_;
  std::vector<std::pair<size_t, size_t>> places_;  // offset and length in bytes_
  size_t array_ = 0;                               // where the open one begins
  Element element_ = Element::text;
  uint32_t elements_ = 0;
  bool nulls_ = false;
};

// A field as it came; nothing: NULL.
using Field = std::optional<std::string_view>;

// Whatever number type it is; NULL is 0.
int64_t number_of(const Field& field);
inline bool flag_of(const Field& field) {
  return field && !field->empty() && (*field)[0] != 0;
}
inline std::string text_of(const Field& field) {
  return field ? std::string(*field) : std::string();
}
// Nothing unless it is 12 bytes.
std::optional<Chain> chain_of(const Field& field);
// The elements of an array of one dimension; none if it is malformed or NULL.
std::vector<Field> elements_of(const Field& field);
// The columns of a row that came as one value.
std::vector<Field> columns_of(const Field& field);

class Answer {
 public:
  Answer() = default;
  explicit Answer(PGresult* result) : result_(result, &PQclear) {}
  int rows() const { return result_ == nullptr ? 0 : PQntuples(result_.get()); }
  int columns() const { return result_ == nullptr ? 0 : PQnfields(result_.get()); }
  Field at(int row, int column) const;

 private:
  std::unique_ptr<PGresult, void (*)(PGresult*)> result_{nullptr, &PQclear};
};

}  // namespace tertulia::postgres
