// How a row of the table becomes a row of a log.
#pragma once

#include "protocol/message.h"
#include "store/sqlite.h"

namespace tertulia::sqlite {

#define TERTULIA_ROW_COLUMNS                                                                                      \
  "seq, previous, chain, uuid, kind, user_id, user_name, date, sent_at, id_json, text, file_name, content_type, " \
  "size, sha256"

inline Row row_of(const Statement& s) {
  Row row;
  row.sequence = static_cast<Sequence>(s.number(0));
  row.previous = s.chain(1);
  row.chain = s.chain(2);
  Message& m = row.message;
  m.uuid = s.text(3);
  m.kind = static_cast<MessageKind>(s.number(4));
  m.user_id = s.text(5);
  m.user_name = s.text(6);
  m.date = s.text(7);
  m.sent_at_ms = s.number(8);
  m.id_json = s.text(9);
  m.text = s.text(10);
  if (m.kind != MessageKind::text) {
    m.file_name = s.text(11);
    m.content_type = s.text(12);
    m.size_bytes = static_cast<uint64_t>(s.number(13));
    m.sha256_hex = s.text(14);
  }
  return row;
}

}  // namespace tertulia::sqlite
