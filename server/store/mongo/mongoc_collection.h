// MongoDB's documents through libmongoc: one client of a pool.
//
// Writes wait for a majority and its journals, are sent once, and are answered within seconds; reads go to the primary
// and show what a majority has. Where the server has sessions (every MongoDB; not FerretDB) all calls are in one that
// is causally consistent, so that a primary elected just now does not show less than the one before it did.
//
// Blocks. Thread: one. Ends: before the pool.
#pragma once

#include <mongoc/mongoc.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "store/mongo/collection.h"

namespace tertulia::mongo {

class Document;

class MongocCollection final : public Collection {
 public:
  // mark: of a few documents that marks are written to, the one to use. read_ms: what a read may take the server.
  MongocCollection(mongoc_client_pool_t* pool, std::string database, unsigned mark, uint64_t read_ms);
  ~MongocCollection() override;
  MongocCollection(const MongocCollection&) = delete;
  MongocCollection& operator=(const MongocCollection&) = delete;

  Failure insert(std::span<const NewRow> rows, Inserted& inserted) override;
  Failure look(std::span<Look> looks) override;
  Failure range(const std::string& room, Sequence first, Sequence last, bool descending, const RowLimit& limit,
                std::vector<Row>& rows) override;
  Failure newest(const std::string& room, Sequence last, size_t limit, std::vector<Place>& places) override;
  Failure rooms(const std::string& after, size_t limit, std::vector<std::string>& names) override;
  Failure at(const std::string& room, const std::vector<Sequence>& sequences, std::vector<Row>& rows) override;
  Failure insert_records(const std::vector<Record>& records, std::vector<bool>& duplicate) override;
  Failure versions(const std::vector<std::pair<std::string, std::string>>& keys, std::vector<Record>& records) override;
  Failure candidates(Which which, const std::string& a, const std::string& b, size_t limit,
                     std::vector<std::pair<std::string, std::string>>& keys) override;
  void tidy(const std::vector<Record>& newest) override;
  Failure write_markers(const std::map<std::pair<std::string, std::string>, Sequence>& markers) override;
  Failure read_markers(const std::string& room, const std::vector<std::string>& users,
                       std::vector<Sequence>& markers) override;
  Failure mark() override;
  uint64_t connects() const override { return connects_; }

 private:
  class Bulk;
  struct WriteErrors;

  // Has a client, and a session if there are such things.
  Failure open();
  mongoc_collection_t* collection(const char* name);
  bool append_session(bson_t* options);
  void answered();
  // The connection is lost, or the server is another's primary no more: what comes next comes behind a gap.
  void failed(const bson_error_t& error);

  // Calls each for every document, until it says false. `begin` makes an answer empty: it is called before each try.
  template <class Begin, class Each>
  Failure find(const char* name, const Document& filter, Document& options, Begin begin, Each each);
  Failure find_rows(const Document& filter, Document& options, const RowLimit& limit, std::vector<Row>& rows);

  mongoc_client_pool_t* const pool_;
  const std::string database_;
  const unsigned mark_;
  const uint64_t read_ms_;
  mongoc_client_t* client_ = nullptr;
  mongoc_client_session_t* session_ = nullptr;
  std::map<std::string, mongoc_collection_t*> collections_;
  uint64_t connects_ = 0;
  bool gap_ = true;
};

}  // namespace tertulia::mongo
