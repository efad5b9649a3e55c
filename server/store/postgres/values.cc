#include "store/postgres/values.h"

#include <algorithm>

namespace tertulia::postgres {
namespace {

uint64_t big_endian(std::string_view bytes) {
  uint64_t value = 0;
  for (char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

// What came from the server is measured before it is believed.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  int32_t number() { return static_cast<int32_t>(big_endian(take(4))); }
  std::string_view take(size_t count) {
    if (count > bytes_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  Field field() {
    const int32_t length = number();
    if (length < 0) return std::nullopt;
    return take(static_cast<size_t>(length));
  }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace

void Params::put(uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) bytes_ += static_cast<char>(value >> (8 * i));
}

void Params::text(std::string_view value) {
  places_.emplace_back(bytes_.size(), value.size());
  bytes_ += value;
}

void Params::number(int64_t value) {
  places_.emplace_back(bytes_.size(), 8);
  put(static_cast<uint64_t>(value), 8);
}

void Params::begin(Element element) {
  array_ = bytes_.size();
  element_ = element;
  elements_ = 0;
  nulls_ = false;
  bytes_.append(20, '\0');
}

void Params::each(std::string_view value) {
  ++elements_;
  put(value.size(), 4);
  bytes_ += value;
}

void Params::each_number(int64_t value) {
  ++elements_;
  int bytes = 8;
  if (element_ == Element::flag) bytes = 1;
  if (element_ == Element::int2) bytes = 2;
  if (element_ == Element::int4) bytes = 4;
  put(static_cast<uint64_t>(bytes), 4);
  put(static_cast<uint64_t>(value), bytes);
}

void Params::each_null() {
  ++elements_;
  nulls_ = true;
  put(0xffffffff, 4);
}

// Dimensions, whether there are NULLs, the type; then the only dimension's length and first index.
void Params::end() {
  std::string elements = bytes_.substr(array_ + 20);
  bytes_.resize(array_);
  put(elements_ == 0 ? 0 : 1, 4);
  put(nulls_ ? 1 : 0, 4);
  put(static_cast<uint32_t>(element_), 4);
  if (elements_ > 0) {
    put(elements_, 4);
    put(1, 4);
    bytes_ += elements;
  }
  places_.emplace_back(array_, bytes_.size() - array_);
}

std::vector<const char*> Params::values() const {
  std::vector<const char*> all;
  all.reserve(places_.size());
  for (const auto& place : places_) all.push_back(bytes_.data() + place.first);
  return all;
}

std::vector<int> Params::lengths() const {
  std::vector<int> all;
  all.reserve(places_.size());
  for (const auto& place : places_) all.push_back(static_cast<int>(place.second));
  return all;
}

int64_t number_of(const Field& field) {
  if (!field) return 0;
  const uint64_t value = big_endian(*field);
  switch (field->size()) {
    case 2: return static_cast<int16_t>(value);
    case 4: return static_cast<int32_t>(value);
    case 8: return static_cast<int64_t>(value);
    default: return 0;
  }
}

std::optional<Chain> chain_of(const Field& field) {
  Chain chain;
  if (!field || field->size() != chain.bytes.size()) return std::nullopt;
  std::copy(field->begin(), field->end(), chain.bytes.begin());
  return chain;
}

std::vector<Field> elements_of(const Field& field) {
  std::vector<Field> all;
  if (!field) return all;
  Cursor cursor(*field);
  const int32_t dimensions = cursor.number();
  cursor.number();
  cursor.number();
  if (!cursor.ok() || dimensions != 1) return all;
  const int32_t count = cursor.number();
  cursor.number();
  for (int32_t i = 0; i < count && cursor.ok(); ++i) all.push_back(cursor.field());
  if (!cursor.ok()) all.clear();
  return all;
}

std::vector<Field> columns_of(const Field& field) {
  std::vector<Field> all;
  if (!field) return all;
  Cursor cursor(*field);
  const int32_t count = cursor.number();
  for (int32_t i = 0; i < count && cursor.ok(); ++i) {
    cursor.number();
    all.push_back(cursor.field());
  }
  if (!cursor.ok()) all.clear();
  return all;
}

Field Answer::at(int row, int column) const {
  if (row >= rows() || column >= columns() || PQgetisnull(result_.get(), row, column) != 0) return std::nullopt;
  return std::string_view(PQgetvalue(result_.get(), row, column),
                          static_cast<size_t>(PQgetlength(result_.get(), row, column)));
}

}  // namespace tertulia::postgres
