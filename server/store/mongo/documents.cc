#include "store/mongo/documents.h"

namespace tertulia::mongo {

std::string row_key(const std::string& room, const Chain& previous) {
  return room + "/" + chain_text(previous);
}

std::string record_key(std::string_view room, std::string_view name) {
  std::string key = std::to_string(room.size());
  key += ':';
  key += room;
  key += '/';
  key += name;
  return key;
}

std::string version_key(const Record& record) {
  return record_key(record.room, record.name) + "/" + std::to_string(record.version);
}

void write_row(Document& document, const NewRow& row) {
  const Message& m = *row.message;
  document.text("_id", row_key(*row.room, row.before.chain))
      .text("room", *row.room)
      .number("sequence", row.before.sequence + 1)
      .text("previous", chain_text(row.before.chain))
      .text("chain", chain_text(row.chain))
      .text("method", method_name(m.kind))
      .text("uuid", m.uuid)
      .text("userId", m.user_id)
      .text("userName", m.user_name)
      .text("date", m.date)
      .date("sentAt", m.sent_at_ms)
      .text("id", m.id_json);
  if (m.kind == MessageKind::text) {
    document.text("text", m.text);
  } else {
    document.text("fileName", m.file_name)
        .text("contentType", m.content_type)
        .number("size", m.size_bytes)
        .text("sha256", m.sha256_hex);
  }
}

bool read_place(const bson_t* document, Place& place) {
  Reader reader(document);
  place.sequence = reader.number("sequence");
  place.previous = reader.chain("previous");
  place.chain = reader.chain("chain");
  return reader.ok() && place.sequence > 0 && place.sequence <= sequence_max;
}

bool read_row(const bson_t* document, std::string& room, Row& row) {
  Place place;
  if (!read_place(document, place)) return false;
  row.sequence = place.sequence;
  row.previous = place.previous;
  row.chain = place.chain;
  Reader reader(document);
  room = reader.text("room");
  const std::string method = reader.text("method");
  Message& m = row.message;
  bool known = false;
  for (MessageKind kind : {MessageKind::text, MessageKind::image, MessageKind::file}) {
    if (method != method_name(kind)) continue;
    m.kind = kind;
    known = true;
  }
  if (!known) return false;
  m.uuid = reader.text("uuid");
  m.user_id = reader.text("userId");
  m.user_name = reader.text("userName");
  m.date = reader.text("date");
  m.sent_at_ms = reader.date("sentAt");
  m.id_json = reader.text("id");
  if (m.kind == MessageKind::text) {
    m.text = reader.text("text");
  } else {
    m.file_name = reader.text("fileName");
    m.content_type = reader.text("contentType");
    m.size_bytes = reader.number("size");
    m.sha256_hex = reader.text("sha256");
  }
  return reader.ok();
}

void write_record(Document& document, const Record& record) {
  Document nodes;
  Index index;
  for (const std::string& node : record.nodes) nodes.text(index.next(), node);
  document.text("_id", version_key(record))
      .text("key", record_key(record.room, record.name))
      .number("version", record.version)
      .text("room", record.room)
      .text("name", record.name)
      .flag("live", record.live)
      .flag("listed", record.live)
      .text("user", record.user)
      .array("nodes", nodes)
      .text("state", record.state);
}

bool read_record(const bson_t* document, Record& record) {
  Reader reader(document);
  record.version = reader.number("version");
  record.room = reader.text("room");
  record.name = reader.text("name");
  record.live = reader.flag("live");
  record.user = reader.text("user");
  record.nodes = reader.texts("nodes");
  record.state = reader.text("state");
  return reader.ok();
}

}  // namespace tertulia::mongo
