#include "store/mongo/mongoc_collection.h"

#include <algorithm>
#include <iterator>
#include <memory>

#include "store/mongo/documents.h"

namespace tertulia::mongo {
namespace {

constexpr int kDuplicate = 11000;

bool is_one_of(uint32_t code, std::initializer_list<uint32_t> codes) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

// The server is not, or will soon not be, the primary.
bool of_another_primary(const bson_error_t& error) {
  return error.domain == MONGOC_ERROR_SERVER &&
         is_one_of(error.code, {91, 189, 10058, 10107, 11600, 11602, 13435, 13436});
}

// A command that was rejected with this has done nothing.
bool rejected(const bson_error_t& error) {
  // Unauthorized, AuthenticationFailed, OutOfDiskSpace, NotWritablePrimary, NotPrimaryNoSecondaryOk.
  return error.domain == MONGOC_ERROR_SERVER_SELECTION || error.domain == MONGOC_ERROR_CLIENT ||
         (error.domain == MONGOC_ERROR_SERVER && is_one_of(error.code, {13, 18, 14031, 10107, 13435}));
}

// What is wrong is the document.
bool about_the_document(uint32_t code) {
  // BadValue, FailedToParse, TypeMismatch, InvalidBSON, DollarPrefixedFieldName, DocumentValidationFailure,
  // BSONObjectTooLarge, and two for keys of indexes.
  return is_one_of(code, {2, 9, 14, 22, 52, 121, 10334, 17280, 17419});
}

std::string sentence(const bson_error_t& error) {
  return std::string("mongodb: ") + error.message + " (" + std::to_string(error.code) + ")";
}

Failure not_ours(const char* name) {
  return {Trouble::not_now, std::string("mongodb: a document of ") + name + " was not written by Tertulia"};
}

Failure unusable() {
  return {Trouble::message, "mongodb: text that is not UTF-8, or a number that is too large"};
}

}  // namespace

// What an insert complained of.
struct MongocCollection::WriteErrors {
  uint64_t inserted = 0;
  std::vector<std::pair<size_t, uint32_t>> each;  // index and code
  std::string text;                               // of the first
  bool of_concern = false;                        // the majority may not have it

  std::string sentence(uint32_t code) const { return "mongodb: " + text + " (" + std::to_string(code) + ")"; }

  void read(const bson_t* reply) {
    bson_iter_t at, errors;
    if (bson_iter_init_find(&at, reply, "nInserted") && BSON_ITER_HOLDS_NUMBER(&at)) {
      inserted = static_cast<uint64_t>(bson_iter_as_int64(&at));
    }
    of_concern =
        bson_iter_init_find(&at, reply, "writeConcernErrors") || bson_iter_init_find(&at, reply, "writeConcernError");
    if (!bson_iter_init_find(&at, reply, "writeErrors") || !BSON_ITER_HOLDS_ARRAY(&at)) return;
    if (!bson_iter_recurse(&at, &errors)) return;
    while (bson_iter_next(&errors)) {
      bson_iter_t error;
      if (!BSON_ITER_HOLDS_DOCUMENT(&errors) || !bson_iter_recurse(&errors, &error)) continue;
      size_t index = 0;
      uint32_t code = 0;
      while (bson_iter_next(&error)) {
        const std::string_view key = bson_iter_key(&error);
        if (key == "index" && BSON_ITER_HOLDS_NUMBER(&error)) index = static_cast<size_t>(bson_iter_as_int64(&error));
        if (key == "code" && BSON_ITER_HOLDS_NUMBER(&error)) code = static_cast<uint32_t>(bson_iter_as_int64(&error));
        if (key == "errmsg" && BSON_ITER_HOLDS_UTF8(&error) && text.empty()) text = bson_iter_utf8(&error, nullptr);
      }
      each.emplace_back(index, code);
    }
  }
};

// Writes of one kind in one call.
class MongocCollection::Bulk {
 public:
  enum class Concern : uint8_t { majority, none };

  // REQUIRES: `of` is open.
  Bulk(MongocCollection& of, const char* name, bool ordered, Concern concern = Concern::majority) : of_(of) {
    Document options;
    options.flag("ordered", ordered);
    if (concern == Concern::none) {
      Document one;
      one.sort("w", 1);
      options.document("writeConcern", one);
    }
    if (of.append_session(options.get())) {
      bulk_ = mongoc_collection_create_bulk_operation_with_opts(of.collection(name), options.get());
    }
    ok_ = bulk_ != nullptr;
  }
  ~Bulk() {
    if (bulk_ != nullptr) mongoc_bulk_operation_destroy(bulk_);
  }
  Bulk(const Bulk&) = delete;
  Bulk& operator=(const Bulk&) = delete;

  void insert(const Document& document) {
    bson_error_t error{};
    ok_ = ok_ && document.ok() && mongoc_bulk_operation_insert_with_opts(bulk_, document.get(), nullptr, &error);
  }
  void update(const Document& filter, const Document& change, bool upsert) {
    Document options;
    options.flag("upsert", upsert);
    bson_error_t error{};
    ok_ = ok_ && filter.ok() && change.ok() &&
          mongoc_bulk_operation_update_one_with_opts(bulk_, filter.get(), change.get(), options.get(), &error);
  }
  void remove(const Document& filter) {
    bson_error_t error{};
    ok_ = ok_ && filter.ok() && mongoc_bulk_operation_remove_many_with_opts(bulk_, filter.get(), nullptr, &error);
  }

  // No failure: the server has answered of every document; `errors` says which it has not taken.
  Failure run(WriteErrors& errors) {
    if (!ok_) return unusable();
    bson_t reply;
    bson_error_t error{};
    const bool done = mongoc_bulk_operation_execute(bulk_, &reply, &error) != 0;
    errors.read(&reply);
    bson_destroy(&reply);
    if (done) {
      of_.answered();
      return {};
    }
    of_.failed(error);
    if (errors.of_concern) return {Trouble::unknown, "mongodb: the majority did not confirm in time"};
    if (!errors.each.empty()) {
      of_.answered();
      return {};
    }
    if (error.domain == MONGOC_ERROR_BSON) return {Trouble::message, sentence(error)};
    if (rejected(error) && errors.inserted == 0) return {Trouble::not_now, sentence(error)};
    return {Trouble::unknown, sentence(error)};
  }
  // For updates that may meet others at making the same document.
  Failure run() {
    WriteErrors errors;
    if (Failure failure = run(errors)) return failure;
    for (const auto& [index, code] : errors.each) {
      if (code != kDuplicate) return {Trouble::unknown, errors.sentence(code)};
    }
    return {};
  }

 private:
  MongocCollection& of_;
  mongoc_bulk_operation_t* bulk_ = nullptr;
  bool ok_ = false;
};

// --- connection ---

MongocCollection::MongocCollection(mongoc_client_pool_t* pool, std::string database, unsigned mark, uint64_t read_ms)
    : pool_(pool), database_(std::move(database)), mark_(mark), read_ms_(read_ms) {}

MongocCollection::~MongocCollection() {
  for (auto& [name, each] : collections_) mongoc_collection_destroy(each);
  if (session_ != nullptr) mongoc_client_session_destroy(session_);
  if (client_ != nullptr) mongoc_client_pool_push(pool_, client_);
}

Failure MongocCollection::open() {
  if (client_ != nullptr) return {};
  mongoc_client_t* client = mongoc_client_pool_pop(pool_);
  if (client == nullptr) return {Trouble::not_now, "mongodb: no connection is free (maxPoolSize)"};
  mongoc_session_opt_t* options = mongoc_session_opts_new();
  mongoc_session_opts_set_causal_consistency(options, true);
  bson_error_t error{};
  session_ = mongoc_client_start_session(client, options, &error);
  mongoc_session_opts_destroy(options);
  if (session_ == nullptr && error.domain == MONGOC_ERROR_SERVER_SELECTION) {
    mongoc_client_pool_push(pool_, client);
    return {Trouble::not_now, sentence(error)};
  }
  client_ = client;
  return {};
}

mongoc_collection_t* MongocCollection::collection(const char* name) {
  mongoc_collection_t*& found = collections_[name];
  if (found == nullptr) found = mongoc_client_get_collection(client_, database_.c_str(), name);
  return found;
}

bool MongocCollection::append_session(bson_t* options) {
  bson_error_t error{};
  return session_ == nullptr || mongoc_client_session_append(session_, options, &error);
}

void MongocCollection::answered() {
  if (gap_) ++connects_;
  gap_ = false;
}

void MongocCollection::failed(const bson_error_t& error) {
  if (error.domain == MONGOC_ERROR_STREAM || error.domain == MONGOC_ERROR_SERVER_SELECTION ||
      error.domain == MONGOC_ERROR_CLIENT || of_another_primary(error)) {
    gap_ = true;
  }
}

template <class Begin, class Each>
Failure MongocCollection::find(const char* name, const Document& filter, Document& options, Begin begin, Each each) {
  if (Failure failure = open()) return failure;
  options.number("maxTimeMS", read_ms_);
  if (!filter.ok() || !options.ok() || !append_session(options.get())) return unusable();
  // Once more when the connection was lost: it may have been so for long.
  for (bool again = false;; again = true) {
    begin();
    mongoc_cursor_t* cursor = mongoc_collection_find_with_opts(collection(name), filter.get(), options.get(), nullptr);
    const bson_t* document = nullptr;
    bool ours = true;
    while (mongoc_cursor_next(cursor, &document)) {
      if (!each(document, ours)) break;
    }
    bson_error_t error{};
    const bool failure = mongoc_cursor_error(cursor, &error);
    mongoc_cursor_destroy(cursor);
    if (!ours) return not_ours(name);
    if (!failure) {
      answered();
      return {};
    }
    failed(error);
    if (again || (error.domain != MONGOC_ERROR_STREAM && !of_another_primary(error))) {
      return {Trouble::not_now, sentence(error)};
    }
  }
}

// --- rows ---

Failure MongocCollection::insert(std::span<const NewRow> rows, Inserted& inserted) {
  inserted = Inserted();
  if (rows.empty()) return {};
  if (Failure failure = open()) return failure;
  Bulk bulk(*this, kMessages, true);
  for (const NewRow& row : rows) {
    Document document;
    write_row(document, row);
    bulk.insert(document);
  }
  WriteErrors errors;
  Failure failure = bulk.run(errors);
  inserted.count = std::min<size_t>(errors.inserted, rows.size());
  if (failure || errors.each.empty()) return failure;
  const auto [index, code] = errors.each.front();
  inserted.count = std::min(index, rows.size());
  if (code == kDuplicate && index < rows.size()) {
    inserted.duplicate = true;
    return {};
  }
  return {about_the_document(code) ? Trouble::message : Trouble::unknown, errors.sentence(code)};
}

Failure MongocCollection::look(std::span<Look> looks) {
  std::map<std::string, Look*> of_room;
  Document ids, either;
  Index id, clause;
  bool by_id = false;
  for (Look& look : looks) {
    of_room[*look.room] = &look;
    for (const Chain& chain : look.children_of) {
      ids.text(id.next(), row_key(*look.room, chain));
      by_id = true;
    }
  }
  if (by_id) {
    Document in, one;
    in.array("$in", ids);
    one.document("_id", in);
    either.document(clause.next(), one);
  }
  bool by_uuid = false;
  for (const Look& look : looks) {
    if (look.uuids.empty()) continue;
    Document uuids, in, one;
    Index index;
    for (const std::string& uuid : look.uuids) uuids.text(index.next(), uuid);
    in.array("$in", uuids);
    one.text("room", *look.room).document("uuid", in);
    either.document(clause.next(), one);
    by_uuid = true;
  }
  Document filter, options;
  if (by_uuid) {
    filter.array("$or", either);
  } else if (by_id) {
    Document in;
    in.array("$in", ids);
    filter.document("_id", in);
  } else {
    return {};
  }
  return find(
      kMessages, filter, options,
      [&] {
        for (Look& look : looks) look.rows.clear();
      },
      [&](const bson_t* document, bool& ours) {
        std::string room;
        Row row;
        if (!read_row(document, room, row)) return ours = false;
        auto found = of_room.find(room);
        if (found != of_room.end()) found->second->rows.push_back(std::move(row));
        return true;
      });
}

Failure MongocCollection::find_rows(const Document& filter, Document& options, const RowLimit& limit,
                                    std::vector<Row>& rows) {
  size_t bytes = 0;
  return find(
      kMessages, filter, options,
      [&] {
        rows.clear();
        bytes = 0;
      },
      [&](const bson_t* document, bool& ours) {
        std::string room;
        Row row;
        if (!read_row(document, room, row)) return ours = false;
        bytes += row.message.bytes();
        rows.push_back(std::move(row));
        return rows.size() < limit.rows && bytes <= limit.bytes;
      });
}

namespace {

void of_sequences(Document& filter, const std::string& room, Sequence first, Sequence last) {
  Document between;
  between.number("$gte", first).number("$lte", last);
  filter.text("room", room).document("sequence", between);
}

void by_sequence(Document& options, bool descending, size_t limit) {
  Document sort;
  sort.sort("sequence", descending ? -1 : 1);
  options.document("sort", sort).number("limit", limit);
}

}  // namespace

Failure MongocCollection::range(const std::string& room, Sequence first, Sequence last, bool descending,
                                const RowLimit& limit, std::vector<Row>& rows) {
  Document filter, options;
  of_sequences(filter, room, first, last);
  by_sequence(options, descending, limit.rows);
  return find_rows(filter, options, limit, rows);
}

Failure MongocCollection::newest(const std::string& room, Sequence last, size_t limit, std::vector<Place>& places) {
  Document filter, options, fields;
  of_sequences(filter, room, 1, last);
  by_sequence(options, true, limit);
  fields.sort("sequence", 1).sort("previous", 1).sort("chain", 1);
  options.document("projection", fields);
  return find(
      kMessages, filter, options, [&] { places.clear(); },
      [&](const bson_t* document, bool& ours) { return ours = read_place(document, places.emplace_back()); });
}

Failure MongocCollection::rooms(const std::string& after, size_t limit, std::vector<std::string>& names) {
  names.clear();
  // From each room to the next by the index. By rows of sequence 1 it were one question for all, but whose first
  // messages are missing is who is looked for.
  for (std::string last = after; names.size() < limit; last = names.back()) {
    Document filter, options, fields, sort, behind;
    behind.text("$gt", last);
    filter.document("room", behind);
    sort.sort("room", 1).sort("sequence", 1);
    fields.sort("_id", 0).sort("room", 1);
    options.document("projection", fields).document("sort", sort).number("limit", 1);
    std::string next;
    Failure failure = find(
        kMessages, filter, options, [&] { next.clear(); },
        [&](const bson_t* document, bool& ours) {
          Reader reader(document);
          next = reader.text("room");
          return ours = reader.ok();
        });
    if (failure) return failure;
    if (next.empty()) break;
    names.push_back(std::move(next));
  }
  return {};
}

Failure MongocCollection::at(const std::string& room, const std::vector<Sequence>& sequences, std::vector<Row>& rows) {
  Document numbers, in, filter, options;
  Index index;
  for (Sequence sequence : sequences) numbers.number(index.next(), sequence);
  in.array("$in", numbers);
  filter.text("room", room).document("sequence", in);
  return find_rows(filter, options, {SIZE_MAX}, rows);
}

// --- records ---

Failure MongocCollection::insert_records(const std::vector<Record>& records, std::vector<bool>& duplicate) {
  duplicate.assign(records.size(), false);
  if (records.empty()) return {};
  if (Failure failure = open()) return failure;
  Bulk bulk(*this, kRecords, false);
  for (const Record& record : records) {
    Document document;
    write_record(document, record);
    bulk.insert(document);
  }
  WriteErrors errors;
  if (Failure failure = bulk.run(errors)) return failure;
  for (const auto& [index, code] : errors.each) {
    if (code != kDuplicate || index >= records.size()) {
      return {Trouble::unknown, errors.sentence(code)};
    }
    duplicate[index] = true;
  }
  return {};
}

Failure MongocCollection::versions(const std::vector<std::pair<std::string, std::string>>& keys,
                                   std::vector<Record>& records) {
  Document wanted, in, filter, options;
  Index index;
  for (const auto& [room, name] : keys) wanted.text(index.next(), record_key(room, name));
  if (keys.empty()) {
    records.clear();
    return {};
  }
  in.array("$in", wanted);
  filter.document("key", in);
  return find(
      kRecords, filter, options, [&] { records.clear(); },
      [&](const bson_t* document, bool& ours) { return ours = read_record(document, records.emplace_back()); });
}

Failure MongocCollection::candidates(Which which, const std::string& a, const std::string& b, size_t limit,
                                     std::vector<std::pair<std::string, std::string>>& keys) {
  Document filter, options, fields, sort, behind;
  // The lists are by name, so what belongs together stands together.
  sort.sort("room", 1).sort("name", 1);
  switch (which) {
    case Which::live_in_room:
      behind.text("$gt", b);
      filter.text("room", a).flag("listed", true).document("name", behind);
      break;
    case Which::of_user: filter.text("room", a).text("user", b); break;
    case Which::live_of_node:
      behind.text("$gt", "");
      filter.text("nodes", a).flag("listed", true).document("room", behind);
      break;
  }
  fields.sort("_id", 0).sort("room", 1).sort("name", 1);
  options.document("projection", fields).document("sort", sort);
  return find(
      kRecords, filter, options, [&] { keys.clear(); },
      [&](const bson_t* document, bool& ours) {
        Reader reader(document);
        std::pair<std::string, std::string> key(reader.text("room"), reader.text("name"));
        if (!reader.ok()) return ours = false;
        if (!keys.empty() && keys.back() == key) return true;
        if (keys.size() == limit) return false;
        keys.push_back(std::move(key));
        return true;
      });
}

void MongocCollection::tidy(const std::vector<Record>& newest) {
  if (open()) return;
  Bulk bulk(*this, kRecords, false, Bulk::Concern::none);
  bool any = false;
  for (const Record& record : newest) {
    if (record.version < 2) continue;
    any = true;
    Record before = record;
    --before.version;
    Document superseded, unlisted, set;
    superseded.text("_id", version_key(before));
    unlisted.flag("listed", false);
    set.document("$set", unlisted);
    bulk.update(superseded, set, false);
    if (record.version < 3) continue;
    Document old, filter;
    old.number("$lt", before.version);
    filter.text("key", record_key(record.room, record.name)).document("version", old);
    bulk.remove(filter);
  }
  if (any) (void)bulk.run();
}

// --- read markers ---

Failure MongocCollection::write_markers(const std::map<std::pair<std::string, std::string>, Sequence>& markers) {
  if (markers.empty()) return {};
  if (Failure failure = open()) return failure;
  Bulk bulk(*this, kMarkers, false);
  for (const auto& [key, sequence] : markers) {
    Document filter, forwards, names, change;
    filter.text("_id", record_key(key.first, key.second));
    forwards.number("sequence", sequence);
    names.text("room", key.first).text("user", key.second);
    change.document("$max", forwards).document("$setOnInsert", names);
    bulk.update(filter, change, true);
  }
  return bulk.run();
}

Failure MongocCollection::read_markers(const std::string& room, const std::vector<std::string>& users,
                                       std::vector<Sequence>& markers) {
  markers.assign(users.size(), 0);
  if (users.empty()) return {};
  std::map<std::string, Sequence> found;
  Document keys, in, filter, options;
  Index index;
  for (const std::string& user : users) keys.text(index.next(), record_key(room, user));
  in.array("$in", keys);
  filter.document("_id", in);
  Failure failure = find(
      kMarkers, filter, options, [&] { found.clear(); },
      [&](const bson_t* document, bool& ours) {
        Reader reader(document);
        const std::string user = reader.text("user");
        found[user] = reader.number("sequence");
        return ours = reader.ok();
      });
  if (failure) return failure;
  for (size_t i = 0; i < users.size(); ++i) markers[i] = found[users[i]];
  return {};
}

Failure MongocCollection::mark() {
  if (Failure failure = open()) return failure;
  Bulk bulk(*this, kSchema, false);
  Document filter, one, change;
  filter.text("_id", "mark-" + std::to_string(mark_));
  one.number("count", 1);
  change.document("$inc", one);
  bulk.update(filter, change, true);
  WriteErrors errors;
  Failure failure = bulk.run(errors);
  if (!failure && !errors.each.empty()) failure.reason = errors.sentence(errors.each.front().second);
  // Nothing is proven by a mark that may not be one.
  if (failure || !errors.each.empty()) failure.trouble = Trouble::unknown;
  return failure;
}

}  // namespace tertulia::mongo
