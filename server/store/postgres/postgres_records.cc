// The half of a link that keeps records. A record changes by compare-and-swap of its version, in tertulia.put_1().
#include <map>
#include <utility>

#include "store/postgres/postgres_link.h"

// And whether this server waits for a standby, as with logs: what is visible may be taken back here too.
#define TERTULIA_RECORD_COLUMNS \
  "r.room, r.name, r.version, r.live, r.user_id, r.nodes, r.state, current_setting('synchronous_standby_names') <> ''"

namespace tertulia::postgres {

using cluster::Failure;
using cluster::Put;
using cluster::Record;
using cluster::Trouble;
using Element = Params::Element;

namespace {

constexpr int kRecordColumns = 7;

constexpr Statement kLoad{16, "load",
                          "SELECT " TERTULIA_RECORD_COLUMNS
                          " FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k(room, name, i)"
                          " LEFT JOIN tertulia.records r ON r.room = k.room AND r.name = k.name ORDER BY k.i"};
constexpr Statement kPut{17, "put", "SELECT * FROM tertulia.put_1($1, $2, $3, $4, $5, $6, $7, $8)"};
constexpr Statement kList{18, "list",
                          "SELECT " TERTULIA_RECORD_COLUMNS
                          " FROM tertulia.records r WHERE r.room = $1 AND r.name > $2 AND r.live"
                          " ORDER BY r.name LIMIT $3::bigint"};
constexpr Statement kCount{19, "count", "SELECT count(*) FROM tertulia.records r WHERE r.room = $1 AND r.live"};
constexpr Statement kOfUser{20, "of_user",
                            "SELECT " TERTULIA_RECORD_COLUMNS
                            " FROM tertulia.records r WHERE r.room = $1 AND r.user_id = $2 AND r.room <> ''"
                            " ORDER BY r.name"};
constexpr Statement kOfNode{21, "of_node",
                            "SELECT " TERTULIA_RECORD_COLUMNS
                            " FROM tertulia.records r WHERE r.nodes @> ARRAY[$1::text] AND r.live AND r.room <> ''"
                            " LIMIT $2::bigint"};

// {"a","b"}: an array as PostgreSQL reads it from text. There are no arrays of arrays of different lengths.
std::string array_text(const std::vector<std::string>& elements) {
  std::string text = "{";
  for (const std::string& element : elements) {
    if (text.size() > 1) text += ',';
    text += '"';
    for (char c : element) {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
    text += '"';
  }
  return text + "}";
}

Record record_of(const Answer& answer, int line) {
  Record record;
  record.room = text_of(answer.at(line, 0));
  record.name = text_of(answer.at(line, 1));
  record.version = static_cast<uint64_t>(number_of(answer.at(line, 2)));
  record.live = flag_of(answer.at(line, 3));
  record.user = text_of(answer.at(line, 4));
  for (const Field& node : elements_of(answer.at(line, 5))) record.nodes.push_back(text_of(node));
  record.state = text_of(answer.at(line, 6));
  return record;
}

}  // namespace

Failure PostgresLink::records_of(const Statement& statement, const Params& params, std::vector<Record>& records) {
  records.clear();
  Answer answer;
  if (Failure failure = connection_.ask(statement, params, answer); failure) return failure;
  read_on_ = connection_.connects();
  if (answer.rows() > 0) synchronous_ = flag_of(answer.at(0, kRecordColumns));
  for (int i = 0; i < answer.rows(); ++i) records.push_back(record_of(answer, i));
  return {};
}

Failure PostgresLink::load(const std::vector<std::pair<std::string, std::string>>& keys, std::vector<Record>& records) {
  Params params;
  params.begin(Element::text);
  for (const auto& key : keys) params.each(key.first);
  params.end();
  params.begin(Element::text);
  for (const auto& key : keys) params.each(key.second);
  params.end();
  if (Failure failure = records_of(kLoad, params, records); failure) return failure;
  if (records.size() != keys.size()) return malformed();
  for (size_t i = 0; i < keys.size(); ++i) {
    if (records[i].version != 0) continue;
    records[i].room = keys[i].first;
    records[i].name = keys[i].second;
  }
  return {};
}

Failure PostgresLink::put(std::vector<Put>& puts, const std::string& node) {
  // Of two from one version the first stands.
  std::map<std::pair<std::string, std::string>, Put*> first;
  for (Put& put : puts) {
    put.won = false;
    first.emplace(std::pair(put.record.room, put.record.name), &put);
  }
  if (first.empty()) return {};
  Params params;
  params.text(node);
  auto all = [&](Element element, auto add) {
    params.begin(element);
    for (const auto& [key, put] : first) add(put->record);
    params.end();
  };
  all(Element::text, [&](const Record& r) { params.each(r.room); });
  all(Element::text, [&](const Record& r) { params.each(r.name); });
  all(Element::int8, [&](const Record& r) { params.each_number(static_cast<int64_t>(r.version)); });
  all(Element::flag, [&](const Record& r) { params.each_number(r.live ? 1 : 0); });
  all(Element::text, [&](const Record& r) { params.each(r.user); });
  all(Element::text, [&](const Record& r) { params.each(array_text(r.nodes)); });
  all(Element::text, [&](const Record& r) { params.each(r.state); });
  Answer answer;
  if (Failure failure = connection_.run(kPut, params, answer); failure) return failure;
  if (flag_of(answer.at(0, 0))) return {Trouble::fenced, "the lease of node " + node + " is gone"};
  const std::vector<Field> won = elements_of(answer.at(0, 1));
  if (won.size() != first.size()) {
    Failure failure = malformed();
    failure.trouble = Trouble::unknown;
    return failure;
  }
  size_t i = 0;
  for (const auto& [key, put] : first) put->won = flag_of(won[i++]);
  return {};
}

Failure PostgresLink::list(const std::string& room, const std::string& after, size_t limit,
                           std::vector<Record>& records) {
  Params params;
  params.text(room);
  params.text(after);
  params.number(static_cast<int64_t>(limit));
  return records_of(kList, params, records);
}

Failure PostgresLink::count(const std::string& room, uint64_t& live) {
  Params params;
  params.text(room);
  Answer answer;
  if (Failure failure = connection_.ask(kCount, params, answer); failure) return failure;
  live = static_cast<uint64_t>(number_of(answer.at(0, 0)));
  return {};
}

Failure PostgresLink::of_user(const std::string& room, const std::string& user, std::vector<Record>& records) {
  Params params;
  params.text(room);
  params.text(user);
  return records_of(kOfUser, params, records);
}

Failure PostgresLink::of_node(const std::string& node, size_t limit, std::vector<Record>& records) {
  Params params;
  params.text(node);
  params.number(static_cast<int64_t>(limit));
  return records_of(kOfNode, params, records);
}

}  // namespace tertulia::postgres
