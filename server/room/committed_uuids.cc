#include "room/committed_uuids.h"

#include <cstring>
#include <string>

#include "protocol/digest.h"

namespace tertulia {
namespace {

std::array<uint8_t, 16> short_digest(std::initializer_list<std::string_view> pieces) {
  const Sha256 full = sha256(pieces);
  std::array<uint8_t, 16> out;
  std::memcpy(out.data(), full.data(), out.size());
  return out;
}

void add_field(std::string& form, std::string_view field) {
  form += std::to_string(field.size());
  form += ':';
  form += field;
}

}  // namespace

BodyDigest body_digest(const Message& message) {
  std::string form;
  form.reserve(message.text.size() + message.user_id.size() + 128);
  form += static_cast<char>('0' + static_cast<int>(message.kind));
  add_field(form, message.user_id);
  if (message.kind == MessageKind::text) {
    add_field(form, message.text);
  } else {
    add_field(form, message.sha256_hex);
    add_field(form, message.file_name);
  }
  return short_digest({form});
}

size_t CommittedUuids::KeyHash::operator()(const Key& key) const {
  size_t value;
  std::memcpy(&value, key.data(), sizeof value);
  return value;
}

CommittedUuids::Key CommittedUuids::key_of(const Chain& room, std::string_view uuid) const {
  const std::string_view name(reinterpret_cast<const char*>(room.bytes.data()), room.bytes.size());
  if (!forgotten_.empty()) {
    const auto found = forgotten_.find(room);
    if (found != forgotten_.end()) return short_digest({name, std::to_string(found->second), "/", uuid});
  }
  return short_digest({name, uuid});
}

const CommittedUuids::Known* CommittedUuids::find(const Chain& room, std::string_view uuid) const {
  const auto found = known_.find(key_of(room, uuid));
  return found == known_.end() ? nullptr : &found->second;
}

void CommittedUuids::remember(const Chain& room, std::string_view uuid, const Known& known) {
  if (entries_max_ == 0) return;
  const Key key = key_of(room, uuid);
  if (!known_.insert_or_assign(key, known).second) return;
  if (order_.size() < entries_max_) {
    order_.push_back(key);
    return;
  }
  known_.erase(order_[next_]);
  order_[next_] = key;
  next_ = (next_ + 1) % entries_max_;
}

void CommittedUuids::forget(const Chain& room) {
  ++forgotten_[room];
  if (forgotten_.size() <= forgotten_max) return;
  // Very many rooms have gone back: without what is known of all of them nothing need be kept of any.
  forget_all();
}

void CommittedUuids::forget_all() {
  forgotten_.clear();
  known_.clear();
  order_.clear();
  next_ = 0;
}

}  // namespace tertulia
