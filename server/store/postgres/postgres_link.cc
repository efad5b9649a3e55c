#include "store/postgres/postgres_link.h"

#include <algorithm>
#include <optional>
#include <set>

#include "base/check.h"
#include "base/failpoint.h"

// In the order of the table's columns, which is also that of a row that comes as one value.
#define TERTULIA_MESSAGE_COLUMNS                                                                                      \
  "m.room, m.seq, m.sent_at, m.size, m.kind, m.previous, m.chain, m.uuid, m.user_id, m.user_name, m.date, m.id_json," \
  " m.text, m.file_name, m.content_type, m.sha256"
// As Message::bytes().
#define TERTULIA_MESSAGE_BYTES                                                                              \
  "160 + octet_length(x.uuid) + octet_length(x.user_id) + octet_length(x.user_name) + octet_length(x.date)" \
  " + octet_length(x.id_json) + coalesce(octet_length(x.text), 0) + coalesce(octet_length(x.file_name), 0)" \
  " + coalesce(octet_length(x.content_type), 0) + coalesce(octet_length(x.sha256), 0)"
// Every read begins with these: the head, and whether this server waits for a standby.
#define TERTULIA_LOG_COLUMNS "r.head, r.chain, current_setting('synchronous_standby_names') <> ''"

namespace tertulia::postgres {

using cluster::Failure;
using cluster::Placed;
using cluster::RoomBatch;
using cluster::Trouble;
using Element = Params::Element;

namespace {

constexpr int kLogColumns = 3;
constexpr size_t kMessageColumns = 16;
constexpr size_t kAppendParts = 7;

// Its answer as one value: rows in FROM would be collected first.
constexpr Statement kAppend{
    0, "append",
    "SELECT tertulia.append_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)"};
// The row at the position that the reader holds, and those behind it up to a number of bytes, but at least one.
constexpr Statement kRead{1, "read",
                          "SELECT " TERTULIA_LOG_COLUMNS ", " TERTULIA_MESSAGE_COLUMNS
                          " FROM (SELECT) one LEFT JOIN tertulia.rooms r ON r.name = $1 LEFT JOIN LATERAL ("
                          "SELECT x.*, sum(CASE WHEN x.seq > $2 THEN " TERTULIA_MESSAGE_BYTES
                          " ELSE 0 END) OVER (ORDER BY x.seq) AS bytes FROM tertulia.messages x"
                          " WHERE x.room = r.id AND x.seq >= $2::bigint AND x.seq <= r.head"
                          " ORDER BY x.seq LIMIT $3::bigint) m ON m.bytes <= $4::bigint OR m.seq <= $2 + 1"
                          " ORDER BY m.seq"};
constexpr Statement kForwards{2, "forwards",
                              "SELECT " TERTULIA_LOG_COLUMNS ", " TERTULIA_MESSAGE_COLUMNS
                              " FROM (SELECT) one LEFT JOIN tertulia.rooms r ON r.name = $1 LEFT JOIN LATERAL ("
                              "SELECT x.*, sum(" TERTULIA_MESSAGE_BYTES
                              ") OVER w AS bytes, row_number() OVER w AS nth FROM tertulia.messages x"
                              " WHERE x.room = r.id AND x.seq > $2::bigint AND x.seq <= r.head"
                              " WINDOW w AS (ORDER BY x.seq)"
                              " ORDER BY x.seq LIMIT $3::bigint) m ON m.bytes <= $4::bigint OR m.nth = 1"
                              " ORDER BY m.seq"};
constexpr Statement kBackwards{3, "backwards",
                               "SELECT " TERTULIA_LOG_COLUMNS ", " TERTULIA_MESSAGE_COLUMNS
                               " FROM (SELECT) one LEFT JOIN tertulia.rooms r ON r.name = $1 LEFT JOIN LATERAL ("
                               "SELECT x.*, sum(" TERTULIA_MESSAGE_BYTES
                               ") OVER w AS bytes, row_number() OVER w AS nth FROM tertulia.messages x"
                               " WHERE x.room = r.id AND x.seq < $2::bigint AND x.seq <= r.head"
                               " WINDOW w AS (ORDER BY x.seq DESC)"
                               " ORDER BY x.seq DESC LIMIT $3::bigint) m ON m.bytes <= $4::bigint OR m.nth = 1"
                               " ORDER BY m.seq DESC"};
// room + 0 is what the index of uuids is of (schema.cc).
constexpr Statement kFind{4, "find",
                          "SELECT " TERTULIA_LOG_COLUMNS ", " TERTULIA_MESSAGE_COLUMNS
                          " FROM (SELECT) one LEFT JOIN tertulia.rooms r ON r.name = $1"
                          " LEFT JOIN tertulia.messages m ON m.room + 0 = r.id AND m.uuid = $2 AND m.seq <= r.head"};
constexpr Statement kHeads{5, "heads",
                           "SELECT " TERTULIA_LOG_COLUMNS
                           " FROM unnest($1::text[]) WITH ORDINALITY n(name, i)"
                           " LEFT JOIN tertulia.rooms r ON r.name = n.name ORDER BY n.i"};
constexpr Statement kRooms{9, "rooms",
                           "SELECT r.name FROM tertulia.rooms r WHERE r.name > $1 ORDER BY r.name LIMIT $2::bigint"};
constexpr Statement kNewest{10, "newest",
                            "SELECT coalesce(max(m.seq), 0) FROM tertulia.messages m"
                            " WHERE m.room = (SELECT r.id FROM tertulia.rooms r WHERE r.name = $1)"};
// An empty commit waits for nobody. This one has an entry in the write-ahead log, and nothing else.
constexpr Statement kMark{6, "mark", "SELECT pg_logical_emit_message(true, 'tertulia', '')"};
constexpr Statement kWriteMarkers{7, "write_markers", "SELECT tertulia.write_markers_1($1, $2, $3)"};
constexpr Statement kReadMarkers{8, "read_markers",
                                 "SELECT k.seq FROM unnest($2::text[]) WITH ORDINALITY n(user_id, i)"
                                 " LEFT JOIN tertulia.rooms r ON r.name = $1"
                                 " LEFT JOIN tertulia.read_markers k ON k.room = r.id AND k.user_id = n.user_id"
                                 " ORDER BY n.i"};

// A limit of the caller's, as SQL takes it.
int64_t sql_limit(size_t limit) {
  return static_cast<int64_t>(std::min<size_t>(limit, 1'000'000'000));
}
// A sequence of the caller's: those on the wire are far below, others have nothing behind them.
int64_t sql_sequence(Sequence sequence) {
  return static_cast<int64_t>(std::min(sequence, sequence_max + 1));
}

// at(0) … at(15): the columns of a message. False: they are not what they should be.
template <class At>
bool take_row(At at, Row& row) {
  const std::optional<Chain> previous = chain_of(at(5)), chain = chain_of(at(6));
  const int64_t sequence = number_of(at(1)), kind = number_of(at(4));
  if (!previous || !chain || sequence <= 0 || kind < 1 || kind > 3) return false;
  row.sequence = static_cast<Sequence>(sequence);
  row.previous = *previous;
  row.chain = *chain;
  Message& m = row.message;
  m.kind = static_cast<MessageKind>(kind);
  m.sent_at_ms = number_of(at(2));
  m.size_bytes = static_cast<uint64_t>(number_of(at(3)));
  m.uuid = text_of(at(7));
  m.user_id = text_of(at(8));
  m.user_name = text_of(at(9));
  m.date = text_of(at(10));
  m.id_json = text_of(at(11));
  m.text = text_of(at(12));
  m.file_name = text_of(at(13));
  m.content_type = text_of(at(14));
  m.sha256_hex = text_of(at(15));
  return true;
}

bool take_row(const Answer& answer, int line, Row& row) {
  return take_row([&](int column) { return answer.at(line, kLogColumns + column); }, row);
}
// Outer joins leave it out where there is none.
bool has_row(const Answer& answer, int line) {
  return answer.at(line, kLogColumns).has_value();
}

std::optional<Position> take_head(const Answer& answer, int line, const std::string& room) {
  if (!answer.at(line, 0)) return Position{0, chain_start(room)};
  const std::optional<Chain> chain = chain_of(answer.at(line, 1));
  if (!chain) return std::nullopt;
  return Position{static_cast<Sequence>(number_of(answer.at(line, 0))), *chain};
}

}  // namespace

Failure PostgresLink::malformed() {
  connection_.drop();
  return {Trouble::not_now,
          "PostgreSQL at " + connection_.address() + ": the tables are not as they should be; run tertulia verify"};
}

Failure PostgresLink::look(const Statement& statement, const Params& params, Answer& answer) {
  Failure failure = connection_.ask(statement, params, answer);
  if (failure) return failure;
  read_on_ = connection_.connects();
  if (answer.rows() > 0) synchronous_ = flag_of(answer.at(0, 2));
  return {};
}

Failure PostgresLink::append(const std::vector<RoomBatch*>& rooms, const std::string& node) {
  std::vector<const Message*> messages;
  bool blobs = false;
  std::set<std::string_view> names;
  for (const RoomBatch* batch : rooms) {
    CHECK(names.insert(batch->room).second, "a room is once in a batch");
    for (const Message* message : batch->messages) {
      messages.push_back(message);
      blobs = blobs || message->kind != MessageKind::text;
    }
  }
  Params params;
  params.text(node);
  auto of_rooms = [&](Element element, auto add) {
    params.begin(element);
    for (const RoomBatch* batch : rooms) add(*batch);
    params.end();
  };
  auto of_messages = [&](bool wanted, Element element, auto add) {
    params.begin(element);
    if (wanted) {
      for (const Message* message : messages) add(*message);
    }
    params.end();
  };
  of_rooms(Element::text, [&](const RoomBatch& b) { params.each(b.room); });
  of_rooms(Element::int8, [&](const RoomBatch& b) { params.each_number(sql_sequence(b.known.sequence)); });
  of_rooms(Element::bytes, [&](const RoomBatch& b) {
    const auto& chain = b.known.chain.bytes;
    params.each({reinterpret_cast<const char*>(chain.data()), chain.size()});
  });
  params.begin(Element::int4);
  for (size_t i = 0; i < rooms.size(); ++i) {
    for (size_t n = rooms[i]->messages.size(); n > 0; --n) params.each_number(static_cast<int64_t>(i + 1));
  }
  params.end();
  auto text = [&](bool wanted, const std::string Message::*member) {
    of_messages(wanted, Element::text, [&](const Message& m) { params.each(m.*member); });
  };
  // Of the kinds that have it; NULL in others.
  auto text_of_kind = [&](bool wanted, bool of_text, const std::string Message::*member) {
    of_messages(wanted, Element::text, [&](const Message& m) {
      if ((m.kind == MessageKind::text) == of_text) {
        params.each(m.*member);
      } else {
        params.each_null();
      }
    });
  };
  std::string form;
  of_messages(true, Element::bytes, [&](const Message& m) {
    form.clear();
    append_chain_form(form, m);
    params.each(form);
  });
  text(true, &Message::uuid);
  text(true, &Message::user_id);
  text(true, &Message::user_name);
  text(true, &Message::date);
  of_messages(true, Element::int8, [&](const Message& m) { params.each_number(m.sent_at_ms); });
  text(true, &Message::id_json);
  text_of_kind(true, true, &Message::text);
  of_messages(blobs, Element::int2, [&](const Message& m) { params.each_number(static_cast<int64_t>(m.kind)); });
  text_of_kind(blobs, false, &Message::file_name);
  text_of_kind(blobs, false, &Message::content_type);
  of_messages(blobs, Element::int8, [&](const Message& m) {
    if (m.kind == MessageKind::text) {
      params.each_null();
    } else {
      params.each_number(static_cast<int64_t>(m.size_bytes));
    }
  });
  text_of_kind(blobs, false, &Message::sha256_hex);

  Answer answer;
  if (Failure failure = connection_.run(kAppend, params, answer); failure) return failure;

  // It is committed: what cannot be read of the answer is asked for again.
  auto unread = [&] {
    Failure failure = malformed();
    failure.trouble = Trouble::unknown;
    return failure;
  };
  const std::vector<Field> parts = columns_of(answer.at(0, 0));
  if (answer.rows() != 1 || parts.size() != kAppendParts) return unread();
  if (flag_of(parts[0])) return {Trouble::fenced, "the lease of node " + node + " is gone"};
  const std::vector<Field> fits = elements_of(parts[1]), firsts = elements_of(parts[2]), starts = elements_of(parts[3]),
                           chains = elements_of(parts[4]), there = elements_of(parts[5]),
                           there_at = elements_of(parts[6]);
  if (fits.size() != rooms.size() || firsts.size() != rooms.size() || starts.size() != rooms.size() ||
      there.size() != there_at.size()) {
    return unread();
  }
  size_t i = 0, found = 0;
  for (size_t r = 0; r < rooms.size(); ++r) {
    RoomBatch& batch = *rooms[r];
    batch.fits = flag_of(fits[r]);
    batch.placed.clear();
    std::optional<Chain> last = chain_of(starts[r]);
    Sequence sequence = static_cast<Sequence>(number_of(firsts[r]));
    for (size_t n = 0; n < batch.messages.size(); ++n, ++i) {
      if (!batch.fits) continue;
      Placed& placed = batch.placed.emplace_back();
      if (i < chains.size() && chains[i]) {
        const std::optional<Chain> chain = chain_of(chains[i]);
        if (!last || !chain) return unread();
        placed.added = true;
        placed.row.sequence = ++sequence;
        placed.row.previous = *last;
        placed.row.chain = *chain;
        last = chain;
        continue;
      }
      if (found >= there.size() || number_of(there_at[found]) != static_cast<int64_t>(i + 1)) return unread();
      const std::vector<Field> columns = columns_of(there[found++]);
      if (columns.size() < kMessageColumns ||
          !take_row([&](int column) { return columns[static_cast<size_t>(column)]; }, placed.row)) {
        return unread();
      }
    }
  }
  return {};
}

Failure PostgresLink::read(const std::string& room, const Position& after, size_t limit, size_t bytes_max, Rows& rows) {
  rows = {};
  Params params;
  params.text(room);
  params.number(sql_sequence(after.sequence));
  params.number(sql_limit(limit) + 1);
  params.number(sql_limit(bytes_max));
  Answer answer;
  if (Failure failure = look(kRead, params, answer); failure) return failure;
  const std::optional<Position> head = take_head(answer, 0, room);
  if (!head) return malformed();
  rows.head = *head;
  rows.status = Rows::Status::does_not_fit;
  int line = 0;
  Row row;
  if (after.sequence == 0) {
    if (after.chain != chain_start(room)) return {};
  } else {
    if (!has_row(answer, 0)) return {};
    if (!take_row(answer, 0, row)) return malformed();
    if (row.position() != after) return {};
    line = 1;
  }
  rows.status = Rows::Status::ok;
  size_t bytes = 0;
  Position last = after;
  for (; line < answer.rows() && has_row(answer, line) && rows.rows.size() < limit; ++line) {
    if (!take_row(answer, line, row)) return malformed();
    // A row that nothing leads to does not exist.
    if (row.before() != last) break;
    bytes += row.message.bytes();
    if (bytes > bytes_max && !rows.rows.empty()) break;
    last = row.position();
    rows.rows.push_back(std::move(row));
  }
  return {};
}

Failure PostgresLink::read_range(const std::string& room, Sequence sequence, bool backwards, size_t limit,
                                 size_t bytes_max, Rows& rows) {
  rows = {};
  Params params;
  params.text(room);
  params.number(sql_sequence(sequence));
  params.number(sql_limit(limit));
  params.number(sql_limit(bytes_max));
  Answer answer;
  if (Failure failure = look(backwards ? kBackwards : kForwards, params, answer); failure) return failure;
  const std::optional<Position> head = take_head(answer, 0, room);
  if (!head) return malformed();
  rows.head = *head;
  rows.status = Rows::Status::ok;
  size_t bytes = 0;
  for (int line = 0; line < answer.rows() && has_row(answer, line) && rows.rows.size() < limit; ++line) {
    Row row;
    if (!take_row(answer, line, row)) return malformed();
    if (rows.rows.empty()) {
      // The nearest must be the next one, and the newest must be the head.
      const Sequence expected = backwards ? std::min(sequence - 1, head->sequence) : sequence + 1;
      if (row.sequence != expected || (row.sequence == head->sequence && row.position() != *head)) break;
    } else {
      const Row& near = rows.rows.back();
      if (backwards ? near.before() != row.position() : row.before() != near.position()) break;
    }
    bytes += row.message.bytes();
    if (bytes > bytes_max && !rows.rows.empty()) break;
    rows.rows.push_back(std::move(row));
  }
  if (backwards) std::reverse(rows.rows.begin(), rows.rows.end());
  return {};
}

Failure PostgresLink::find(const std::string& room, const std::string& uuid, Rows& rows) {
  rows = {};
  Params params;
  params.text(room);
  params.text(uuid);
  Answer answer;
  if (Failure failure = look(kFind, params, answer); failure) return failure;
  const std::optional<Position> head = take_head(answer, 0, room);
  if (!head) return malformed();
  rows.head = *head;
  rows.status = Rows::Status::ok;
  if (has_row(answer, 0) && !take_row(answer, 0, rows.rows.emplace_back())) return malformed();
  return {};
}

Failure PostgresLink::heads(const std::vector<std::string>& rooms, std::vector<Position>& heads) {
  heads.clear();
  Params params;
  params.begin(Element::text);
  for (const std::string& room : rooms) params.each(room);
  params.end();
  Answer answer;
  if (Failure failure = look(kHeads, params, answer); failure) return failure;
  if (static_cast<size_t>(answer.rows()) != rooms.size()) return malformed();
  for (size_t i = 0; i < rooms.size(); ++i) {
    const std::optional<Position> head = take_head(answer, static_cast<int>(i), rooms[i]);
    if (!head) return malformed();
    heads.push_back(*head);
  }
  return {};
}

Failure PostgresLink::rooms(const std::string& after, size_t limit, std::vector<std::string>& names) {
  names.clear();
  Params params;
  params.text(after);
  params.number(static_cast<int64_t>(limit));
  Answer answer;
  if (Failure failure = connection_.ask(kRooms, params, answer); failure) return failure;
  for (int i = 0; i < answer.rows(); ++i) names.push_back(text_of(answer.at(i, 0)));
  return {};
}

Failure PostgresLink::newest(const std::string& room, Sequence& sequence) {
  Params params;
  params.text(room);
  Answer answer;
  if (Failure failure = connection_.ask(kNewest, params, answer); failure) return failure;
  sequence = static_cast<Sequence>(number_of(answer.at(0, 0)));
  return {};
}

Failure PostgresLink::mark() {
  if (Failure failure = connection_.ensure(); failure) {
    failure.trouble = Trouble::unknown;
    return failure;
  }
  if (read_on_ != 0 && read_on_ != connection_.connects()) {
    read_on_ = 0;
    return {Trouble::unknown, "PostgreSQL at " + connection_.address() + ": connected anew since the reads"};
  }
  Answer answer;
  const uint64_t before = connection_.connects();
  Failure failure = connection_.run(kMark, Params(), answer);
  // Whatever went wrong, nothing is proven; and a connection made meanwhile is not the one that was read on.
  if (!failure && connection_.connects() != before) {
    failure = {Trouble::unknown, "PostgreSQL at " + connection_.address() + ": connected anew since the reads"};
  }
  if (failure) {
    failure.trouble = Trouble::unknown;
  } else {
    read_on_ = 0;
  }
  return failure;
}

Failure PostgresLink::write_markers(const std::map<std::pair<std::string, std::string>, Sequence>& markers) {
  if (markers.empty()) return {};
  Params params;
  auto all = [&](Element element, auto add) {
    params.begin(element);
    for (const auto& marker : markers) add(marker);
    params.end();
  };
  all(Element::text, [&](const auto& marker) { params.each(marker.first.first); });
  all(Element::text, [&](const auto& marker) { params.each(marker.first.second); });
  all(Element::int8, [&](const auto& marker) { params.each_number(sql_sequence(marker.second)); });
  Answer answer;
  return connection_.run(kWriteMarkers, params, answer);
}

Failure PostgresLink::read_markers(const std::string& room, const std::vector<std::string>& users,
                                   std::vector<Sequence>& markers) {
  markers.clear();
  Params params;
  params.text(room);
  params.begin(Element::text);
  for (const std::string& user : users) params.each(user);
  params.end();
  Answer answer;
  if (Failure failure = connection_.ask(kReadMarkers, params, answer); failure) return failure;
  if (static_cast<size_t>(answer.rows()) != users.size()) return malformed();
  for (int i = 0; i < answer.rows(); ++i) markers.push_back(static_cast<Sequence>(number_of(answer.at(i, 0))));
  return {};
}

}  // namespace tertulia::postgres
