#include "store/sqlite_batch.h"

#include "base/failpoint.h"

namespace tertulia::sqlite {

std::string Batch::open(Connection& connection) {
  connection_ = &connection;
  heads_.clear();
  const std::pair<Statement*, const char*> all[] = {
      {&begin_, "BEGIN IMMEDIATE"},
      {&commit_, "COMMIT"},
      {&rollback_, "ROLLBACK"},
      {&savepoint_, "SAVEPOINT message"},
      {&release_, "RELEASE message"},
      {&back_, "ROLLBACK TO message"},
      {&room_, "SELECT id FROM rooms WHERE name = ?1"},
      {&add_room_, "INSERT INTO rooms (name) VALUES (?1)"},
      {&head_, "SELECT seq, chain FROM messages WHERE room = ?1 ORDER BY seq DESC LIMIT 1"},
      {&insert_,
       "INSERT INTO messages (room, seq, previous, chain, uuid, kind, user_id, user_name, date, sent_at, id_json, text,"
       " file_name, content_type, size, sha256)"
       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
       " ON CONFLICT (room, uuid) DO NOTHING"},
      {&existing_,
       "SELECT seq, previous, chain, kind, user_id, text, file_name, sha256 FROM messages WHERE room = ?1 AND uuid = "
       "?2"},
      {&marker_,
       "INSERT INTO read_markers (room, user_id, seq) VALUES (?1, ?2, ?3)"
       " ON CONFLICT (room, user_id) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq"},
  };
  for (auto& [statement, sql] : all) {
    if (statement->prepare(connection, sql) != SQLITE_OK) {
      std::string error = "store: the tables are not as they should be: " + connection.error() + ".";
      close();
      return error;
    }
  }
  durable_entry_ = connection.number("SELECT max(entry) FROM messages", 0);
  return "";
}

void Batch::close() {
  for (Statement* s : {&begin_, &commit_, &rollback_, &savepoint_, &release_, &back_, &room_, &add_room_, &head_,
                       &insert_, &existing_, &marker_}) {
    s->finish();
  }
  connection_ = nullptr;
  heads_.clear();
}

BatchOutcome Batch::write(const std::vector<BatchItem*>& items, const Markers& markers, std::string& reason) {
  refused_.clear();
  bool careful = false;
  for (;;) {
    switch (pass(items, markers, careful, reason)) {
      case Pass::done: return BatchOutcome::committed;
      case Pass::not_now: return BatchOutcome::not_now;
      case Pass::unknown:
        for (BatchItem* item : items) keep_plan(*item);
        return BatchOutcome::unknown;
      case Pass::again:
        // The first time no message is refused yet; every further time there is one more that is, so this ends.
        careful = true;
    }
  }
}

// Nobody else writes before this batch is decided, so an earlier attempt's plan is as good as the last one's.
void Batch::keep_plan(BatchItem& item) {
  item.planned.resize(item.messages.size());
  for (size_t i = 0; i < item.each.size(); ++i) {
    if (item.each[i].kind == Appended::Kind::added) item.planned[i] = item.each[i];
  }
  item.each.clear();
}

Batch::Pass Batch::fail(int code, std::string& reason) {
  reason = connection_->error();
  if (connection_->in_transaction()) {
    Use rollback(rollback_);
    int result = rollback->step();
    if (trouble_of(result) != Trouble::none && connection_->in_transaction()) code = SQLITE_IOERR;
  }
  switch (trouble_of(code)) {
    case Trouble::message: return Pass::again;
    case Trouble::unknown: return Pass::unknown;
    default: return Pass::not_now;
  }
}

void Batch::refuse(const Message* message, std::string why) {
  refused_[message] = std::move(why);
}

Batch::Pass Batch::pass(const std::vector<BatchItem*>& items, const Markers& markers, bool careful,
                        std::string& reason) {
  heads_.begin();
  wrote_ = false;
  last_entry_ = durable_entry_;
  uint64_t added = 0, repeats = 0, conflicts = 0, refused_count = 0;
  {
    Use begin(begin_);
    int code = begin->step();
    if (code != SQLITE_DONE) return fail(code, reason);
  }
  if (int code = write_markers(markers); code != SQLITE_OK) {
    Pass failed = fail(code, reason);
    return failed == Pass::again ? Pass::not_now : failed;
  }
  for (BatchItem* item : items) {
    item->each.clear();
    item->each.reserve(item->messages.size());
    HeadCache::Entry* room = nullptr;
    if (int code = find_room(item->room, room); code != SQLITE_OK) {
      Pass failed = fail(code, reason);
      return failed == Pass::again ? Pass::not_now : failed;
    }
    // Only this writer adds rows, so a log that has become another one has become shorter, or ends otherwise; what lies
    // below the head is not looked at again.
    const Position& known = item->known;
    item->fits = known.sequence < room->work.sequence || known == room->work;
    if (!item->fits) continue;
    for (size_t i = 0; i < item->messages.size(); ++i) {
      const Message& message = item->messages[i];
      Appended& one = item->each.emplace_back();
      if (auto refused = refused_.find(&message); refused != refused_.end()) {
        one.kind = Appended::Kind::refused;
        one.reason = refused->second;
        ++refused_count;
        continue;
      }
      const Appended* planned = i < item->planned.size() ? &item->planned[i] : nullptr;
      int code = careful ? append_carefully(*room, message, planned, one) : append_one(*room, message, planned, one);
      if (code != SQLITE_OK) {
        // A message whose own error took the transaction back with it: the next pass leaves it out.
        if (careful && trouble_of(code) == Trouble::message) refuse(&message, connection_->error());
        return fail(code, reason);
      }
      added += one.kind == Appended::Kind::added;
      repeats += one.kind == Appended::Kind::repeated;
      conflicts += one.kind == Appended::Kind::conflict;
      refused_count += one.kind == Appended::Kind::refused;
    }
  }
#ifdef TERTULIA_FAILPOINTS
  if (options_.unsafe_answer_before_commit && before_commit) before_commit();
#endif
  if (FAILPOINT("before_commit")) return fail(SQLITE_IOERR, reason);
  const int64_t began_us = clock_.now_us();
  {
    Use commit(commit_);
    int code = commit->step();
    if (code != SQLITE_DONE) {
      Pass failed = fail(code, reason);
      return failed == Pass::again ? Pass::not_now : failed;
    }
  }
  if (FAILPOINT("after_commit_before_answer")) {
    reason = "failpoint";
    return Pass::unknown;
  }
  heads_.commit();
  durable_entry_ = last_entry_;
  auto count = [](std::atomic<uint64_t>& counter, uint64_t by) { counter.fetch_add(by, std::memory_order_relaxed); };
  if (wrote_) {
    count(metrics_.commits, 1);
    count(metrics_.commit_us, static_cast<uint64_t>(clock_.now_us() - began_us));
  }
  count(metrics_.rows, added);
  count(metrics_.repeats, repeats);
  count(metrics_.conflicts, conflicts);
  count(metrics_.refused, refused_count);
  return Pass::done;
}

int Batch::find_room(const std::string& name, HeadCache::Entry*& room) {
  room = heads_.find(name);
  if (room != nullptr) return SQLITE_OK;
  int64_t id = 0;
  Position head{0, chain_start(name)};
  {
    Use find(room_);
    find->bind(1, name);
    int code = find->step();
    if (code != SQLITE_ROW && code != SQLITE_DONE) return code;
    if (code == SQLITE_ROW) id = find->number(0);
  }
  if (id != 0) {
    Use find(head_);
    find->bind(1, id);
    int code = find->step();
    if (code != SQLITE_ROW && code != SQLITE_DONE) return code;
    if (code == SQLITE_ROW) head = {static_cast<Sequence>(find->number(0)), find->chain(1)};
  }
  room = heads_.add(name, id, head);
  return SQLITE_OK;
}

int Batch::append_carefully(HeadCache::Entry& room, const Message& message, const Appended* planned, Appended& one) {
  {
    Use savepoint(savepoint_);
    int code = savepoint->step();
    if (code != SQLITE_DONE) return code;
  }
  const HeadCache::Entry before = room;
  int code = append_one(room, message, planned, one);
  if (trouble_of(code) == Trouble::message) {
    if (!connection_->in_transaction()) return code;
    refuse(&message, connection_->error());
    one = {};
    one.reason = refused_[&message];
    // A room that was made for this message goes with it.
    room.work_id = before.work_id;
    room.work = before.work;
    Use back(back_);
    code = back->step() == SQLITE_DONE ? SQLITE_OK : sqlite3_extended_errcode(connection_->raw());
  }
  if (code != SQLITE_OK) return code;
  Use release(release_);
  code = release->step();
  return code == SQLITE_DONE ? SQLITE_OK : code;
}

int Batch::append_one(HeadCache::Entry& room, const Message& message, const Appended* planned, Appended& one) {
  if (room.work_id == 0) {
    Use add(add_room_);
    add->bind(1, room.room);
    int code = add->step();
    if (code != SQLITE_DONE) return code;
    room.work_id = sqlite3_last_insert_rowid(connection_->raw());
    wrote_ = true;
  }
  Row row;
  row.sequence = room.work.sequence + 1;
  row.previous = room.work.chain;
  row.chain = chain_next(row.previous, row.sequence, message);
  int code = insert(room, row, message);
  if (code != SQLITE_DONE) return code;
  if (sqlite3_changes(connection_->raw()) == 1) {
    if (last_entry_ == durable_entry_) FAILPOINT("first_row_inserted");
    last_entry_ = sqlite3_last_insert_rowid(connection_->raw());
    wrote_ = true;
    room.work = row.position();
    one.kind = Appended::Kind::added;
    one.position = room.work;
    one.previous = row.previous;
    return SQLITE_OK;
  }
  Use find(existing_);
  find->bind(1, room.work_id);
  find->bind(2, message.uuid);
  code = find->step();
  if (code == SQLITE_DONE) {
    // Something in the database (a trigger) let the row vanish without an error.
    one.kind = Appended::Kind::refused;
    one.reason = "the database ignored it";
    return SQLITE_OK;
  }
  if (code != SQLITE_ROW) return code;
  const Position position{static_cast<Sequence>(find->number(0)), find->chain(2)};
  Message there;
  there.kind = static_cast<MessageKind>(find->number(3));
  there.user_id = find->text(4);
  there.text = find->text(5);
  there.file_name = find->text(6);
  there.sha256_hex = find->text(7);
  if (!same_body(there, message)) {
    one.kind = Appended::Kind::conflict;
    return SQLITE_OK;
  }
  // What an attempt with an unknown outcome had added is this call's own row, not a repeat.
  const bool own = planned != nullptr && planned->kind == Appended::Kind::added && planned->position == position;
  one.kind = own ? Appended::Kind::added : Appended::Kind::repeated;
  one.position = position;
  if (own) one.previous = find->chain(1);
  return SQLITE_OK;
}

int Batch::insert(const HeadCache::Entry& room, const Row& row, const Message& m) {
  Use s(insert_);
  int bad = SQLITE_OK;
  auto check = [&](int code) {
    if (code != SQLITE_OK) bad = code;
  };
  check(s->bind(1, room.work_id));
  check(s->bind(2, static_cast<int64_t>(row.sequence)));
  check(s->bind(3, row.previous));
  check(s->bind(4, row.chain));
  check(s->bind(5, m.uuid));
  check(s->bind(6, static_cast<int64_t>(m.kind)));
  check(s->bind(7, m.user_id));
  check(s->bind(8, m.user_name));
  check(s->bind(9, m.date));
  check(s->bind(10, m.sent_at_ms));
  check(s->bind(11, m.id_json));
  const bool text = m.kind == MessageKind::text;
  check(text ? s->bind(12, m.text) : s->bind_nothing(12));
  check(text ? s->bind_nothing(13) : s->bind(13, m.file_name));
  check(text ? s->bind_nothing(14) : s->bind(14, m.content_type));
  check(text ? s->bind_nothing(15) : s->bind(15, static_cast<int64_t>(m.size_bytes)));
  check(text ? s->bind_nothing(16) : s->bind(16, m.sha256_hex));
  return bad == SQLITE_OK ? s->step() : bad;
}

int Batch::write_markers(const Markers& markers) {
  for (const auto& [who, sequence] : markers) {
    int64_t id = 0;
    if (HeadCache::Entry* known = heads_.find(who.first)) {
      id = known->work_id;
    } else {
      Use find(room_);
      find->bind(1, who.first);
      int code = find->step();
      if (code != SQLITE_ROW && code != SQLITE_DONE) return code;
      if (code == SQLITE_ROW) id = find->number(0);
    }
    if (id == 0) continue;  // a room without a message: there is nothing to have read
    Use marker(marker_);
    marker->bind(1, id);
    marker->bind(2, who.second);
    marker->bind(3, static_cast<int64_t>(sequence));
    int code = marker->step();
    if (code != SQLITE_DONE) return code;
    wrote_ = true;
  }
  return SQLITE_OK;
}

}  // namespace tertulia::sqlite
