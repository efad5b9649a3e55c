// BSON by typed calls only: what a user wrote becomes a value, never a key, and is checked to be UTF-8 without NUL;
// what is read is asked for by name and type. Nothing here parses text.
//
// Thread: one a document. Ends: whenever.
#pragma once

#include <bson/bson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/message.h"
#include "protocol/utf8.h"

namespace tertulia::mongo {

class Document {
 public:
  Document() { bson_init(&bson_); }
  ~Document() { bson_destroy(&bson_); }
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;

  const bson_t* get() const { return &bson_; }
  bson_t* get() { return &bson_; }
  // False: something did not go in. Such a document is not to be used.
  bool ok() const { return ok_; }

  Document& text(const char* key, std::string_view value) {
    note(value.find('\0') == std::string_view::npos && utf8_valid(value) &&
         bson_append_utf8(&bson_, key, -1, value.data(), static_cast<int>(value.size())));
    return *this;
  }
  Document& number(const char* key, uint64_t value) {
    note(value <= INT64_MAX && bson_append_int64(&bson_, key, -1, static_cast<int64_t>(value)));
    return *this;
  }
  Document& sort(const char* key, int direction) {
    note(bson_append_int32(&bson_, key, -1, direction));
    return *this;
  }
  Document& flag(const char* key, bool value) {
    note(bson_append_bool(&bson_, key, -1, value));
    return *this;
  }
  Document& date(const char* key, int64_t unix_ms) {
    note(bson_append_date_time(&bson_, key, -1, unix_ms));
    return *this;
  }
  Document& document(const char* key, const Document& value) {
    note(value.ok() && bson_append_document(&bson_, key, -1, value.get()));
    return *this;
  }
  Document& array(const char* key, const Document& values) {
    note(values.ok() && bson_append_array(&bson_, key, -1, values.get()));
    return *this;
  }

 private:
  void note(bool appended) { ok_ = ok_ && appended; }

  bson_t bson_;
  bool ok_ = true;
};

// The keys of an array: "0", "1" …
class Index {
 public:
  const char* next() {
    text_ = std::to_string(number_++);
    return text_.c_str();
  }

 private:
  size_t number_ = 0;
  std::string text_;
};

// A document of ours that was read. ok() is false when a field that was asked for is not there, or of another type.
class Reader {
 public:
  explicit Reader(const bson_t* bson) : bson_(bson) {}
  bool ok() const { return ok_; }

  std::string text(const char* key) {
    bson_iter_t at;
    if (!find(key, at) || !BSON_ITER_HOLDS_UTF8(&at)) return fail<std::string>();
    uint32_t length = 0;
    const char* bytes = bson_iter_utf8(&at, &length);
    std::string value(bytes, length);
    return utf8_valid(value) ? value : fail<std::string>();
  }
  uint64_t number(const char* key) {
    bson_iter_t at;
    // People who mend something by hand write other types of numbers.
    if (!find(key, at) || !BSON_ITER_HOLDS_NUMBER(&at)) return fail<uint64_t>();
    const int64_t value = bson_iter_as_int64(&at);
    return value >= 0 ? static_cast<uint64_t>(value) : fail<uint64_t>();
  }
  bool flag(const char* key) {
    bson_iter_t at;
    if (!find(key, at) || !BSON_ITER_HOLDS_BOOL(&at)) return fail<bool>();
    return bson_iter_bool(&at);
  }
  int64_t date(const char* key) {
    bson_iter_t at;
    if (!find(key, at) || !BSON_ITER_HOLDS_DATE_TIME(&at)) return fail<int64_t>();
    return bson_iter_date_time(&at);
  }
  Chain chain(const char* key) {
    // As it stands in a position.
    const std::optional<Position> position = parse_position("1-" + text(key));
    return position ? position->chain : fail<Chain>();
  }
  std::vector<std::string> texts(const char* key) {
    std::vector<std::string> all;
    bson_iter_t at, each;
    if (!find(key, at) || !BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &each)) return fail(all);
    while (bson_iter_next(&each)) {
      if (!BSON_ITER_HOLDS_UTF8(&each)) return fail(all);
      uint32_t length = 0;
      const char* bytes = bson_iter_utf8(&each, &length);
      all.emplace_back(bytes, length);
    }
    return all;
  }

 private:
  bool find(const char* key, bson_iter_t& at) { return bson_iter_init_find(&at, bson_, key); }
  template <class T>
  T fail(T nothing = T()) {
    ok_ = false;
    return nothing;
  }

  const bson_t* bson_;
  bool ok_ = true;
};

}  // namespace tertulia::mongo
