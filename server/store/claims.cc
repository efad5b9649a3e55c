#include "store/claims.h"

#include <algorithm>

#include "base/check.h"

namespace tertulia {

struct Claims::Member {
  struct Name {
    std::string folded, shown;
    bool old = false;  // claimed before his last session went; waits until until_us although he is back by another name
    int64_t until_us = 0;
  };
  std::string user_id;
  uint64_t sessions_count = 0;
  std::vector<Name> names;     // he is known by the first
  uint64_t serial = 0;         // of the state that a deadline was made for: one made for an older state is void
  bool present = false;        // counted and listed: has a session, or is in his grace
  bool reserved = false;       // without sessions: his names wait for him
  int64_t grace_until_us = 0;  // without sessions
  bool left_unsaid = false;    // gone, and nobody has been told yet
  std::string former_name;     // gone: the name he had
};

struct Claims::Room {
  std::unordered_map<std::string, std::unique_ptr<Member>, Hash, std::equal_to<>> members;  // by user, former ones too
  std::map<std::string, Member*, std::less<>> names;                                        // by folded name
  uint64_t present_count = 0;
};

Claims::Claims(const ClaimsOptions& options, bool names_kept, int64_t now_us)
    : options_(options), held_until_us_(names_kept ? now_us + options.name_grace_ms * 1000 : now_us) {}

Claims::~Claims() = default;

Claims::Room* Claims::find_room(std::string_view room) {
  auto found = rooms_.find(room);
  return found == rooms_.end() ? nullptr : found->second.get();
}

ClaimResult Claims::claim(const ClaimRequest& request, int64_t now_us) {
  pass_time(now_us);
  ClaimResult result;
  auto wait_until = [&](int64_t at_us) {
    result.status = ClaimResult::Status::waiting;
    result.after_start = now_us < held_until_us_;
    result.retry_after_ms = std::max<int64_t>(1, (at_us - now_us + 999) / 1000);
    return result;
  };
  Room* room = find_room(request.room);
  Member* member = nullptr;
  bool his_already = false;
  Member* robbed = nullptr;
  if (room != nullptr) {
    auto found = room->members.find(request.user_id);
    if (found != room->members.end()) member = found->second.get();
    auto holder = room->names.find(request.name_folded);
    if (holder != room->names.end() && holder->second != member) {
      Member& other = *holder->second;
      if (other.sessions_count == 0) {
        if (other.reserved) return wait_until(other.grace_until_us);
        robbed = &other;  // his page is being loaded again: he is present, his name is free
      } else {
        auto name = std::find_if(other.names.begin(), other.names.end(),
                                 [&](const Member::Name& n) { return n.folded == request.name_folded; });
        if (name->old) return wait_until(name->until_us);
        result.status = ClaimResult::Status::taken;
        return result;
      }
    }
    his_already = holder != room->names.end() && holder->second == member;
  }
  if (now_us < held_until_us_ && !request.returning && !his_already) return wait_until(held_until_us_);

  const bool was_present = member != nullptr && member->present;
  result.status = ClaimResult::Status::too_many;
  const bool room_is_empty = room == nullptr || room->present_count == 0;
  if (room_is_empty && rooms_present_count_ >= options_.rooms_max) return result;
  if (!was_present && room != nullptr && room->present_count >= options_.members_per_room_max) return result;
  if (was_present && !his_already && member->names.size() >= options_.names_per_member_max) return result;

  if (room == nullptr) room = rooms_.emplace(request.room, std::make_unique<Room>()).first->second.get();
  // Only now, when nothing can refuse the claim any more: the other one loses his name, and so his presence.
  if (robbed != nullptr) member_gone(request.room, *room, *robbed, now_us);
  if (member == nullptr) {
    member = room->members.emplace(request.user_id, std::make_unique<Member>()).first->second.get();
    member->user_id = request.user_id;
  }
  if (!member->present) {
    CHECK(member->names.empty(), "somebody who is not present holds no name");
    // Gone and back before anybody was told: then nobody is told of either.
    result.first = !member->left_unsaid;
    member->left_unsaid = false;
    member->present = true;
    if (room->present_count++ == 0) ++rooms_present_count_;
    ++present_count_;
  }
  auto name = std::find_if(member->names.begin(), member->names.end(),
                           [&](const Member::Name& n) { return n.folded == request.name_folded; });
  if (member->sessions_count == 0) {
    // He is back, and known by the name he comes with. His other names wait for his other sessions.
    for (Member::Name& n : member->names) {
      n.old = true;
      n.until_us = member->grace_until_us;
    }
    if (name == member->names.end()) {
      name = member->names.insert(name, {request.name_folded, request.user_name});
    }
    std::rotate(member->names.begin(), name, name + 1);
    name = member->names.begin();
    member->serial = ++serial_;
    if (member->names.size() > 1 && member->reserved) {
      // His old names end when they would have ended.
      auto due = Due{member->grace_until_us, member->serial, request.room, request.user_id};
      auto place = std::upper_bound(graces_.begin(), graces_.end(), due.at_us,
                                    [](int64_t at_us, const Due& d) { return at_us < d.at_us; });
      graces_.insert(place, std::move(due));
    } else {
      // Names that were free for everybody are not kept for him either.
      keep_first_name_only(*room, *member);
    }
  } else if (name == member->names.end()) {
    name = member->names.insert(name, {request.name_folded, request.user_name});
  }
  name->old = false;
  room->names[request.name_folded] = member;
  ++member->sessions_count;
  result.status = ClaimResult::Status::granted;
  result.members_count = room->present_count;
  return result;
}

ReleaseResult Claims::release(std::string_view room, std::string_view user_id, bool clean, int64_t now_us) {
  return leave(room, user_id, clean ? Leaving::clean : Leaving::unclean, now_us);
}

ReleaseResult Claims::release_reloading(std::string_view room, std::string_view user_id, int64_t now_us) {
  return leave(room, user_id, Leaving::reloading, now_us);
}

ReleaseResult Claims::leave(std::string_view room_name, std::string_view user_id, Leaving how, int64_t now_us) {
  pass_time(now_us);
  ReleaseResult result;
  Room* room = find_room(room_name);
  if (room == nullptr) return result;
  auto found = room->members.find(user_id);
  if (found != room->members.end() && found->second->sessions_count > 0) {
    Member& member = *found->second;
    result.last = --member.sessions_count == 0;
    if (result.last && how == Leaving::clean) {
      member_gone(std::string(room_name), *room, member, now_us);
      member.left_unsaid = false;
      result.left = true;
    } else if (result.last) {
      member.reserved = how == Leaving::unclean;
      if (!member.reserved) keep_first_name_only(*room, member);
      member.grace_until_us = now_us + options_.name_grace_ms * 1000;
      member.serial = ++serial_;
      graces_.push_back({member.grace_until_us, member.serial, std::string(room_name), member.user_id});
    }
  }
  result.members_count = room->present_count;
  return result;
}

ReleaseResult Claims::expire(std::string_view room_name, std::string_view user_id, int64_t now_us) {
  pass_time(now_us);
  ReleaseResult result;
  Room* room = find_room(room_name);
  if (room == nullptr) return result;
  result.members_count = room->present_count;
  auto found = room->members.find(user_id);
  if (found == room->members.end()) return result;
  result.left = std::exchange(found->second->left_unsaid, false);
  result.last = found->second->sessions_count == 0;
  return result;
}

void Claims::pass_time(int64_t now_us) {
  while (!graces_.empty() && graces_.front().at_us <= now_us) {
    Due due = std::move(graces_.front());
    graces_.pop_front();
    end_grace(due);
  }
  while (!formers_.empty() && (formers_.front().at_us <= now_us || formers_.size() > options_.former_members_max)) {
    Due due = std::move(formers_.front());
    formers_.pop_front();
    Room* room = find_room(due.room);
    if (room == nullptr) continue;
    auto found = room->members.find(due.user_id);
    if (found == room->members.end() || found->second->serial != due.member_serial) continue;
    room->members.erase(found);
    forget_if_idle(due.room);
  }
}

void Claims::end_grace(const Due& due) {
  Room* room = find_room(due.room);
  if (room == nullptr) return;
  auto found = room->members.find(due.user_id);
  if (found == room->members.end() || found->second->serial != due.member_serial) return;
  Member& member = *found->second;
  if (member.sessions_count > 0) {
    std::erase_if(member.names, [&](const Member::Name& n) {
      if (n.old) room->names.erase(n.folded);
      return n.old;
    });
    return;
  }
  member_gone(due.room, *room, member, due.at_us);
}

void Claims::member_gone(const std::string& room_name, Room& room, Member& member, int64_t now_us) {
  member.former_name = member.names.front().shown;
  for (const Member::Name& name : member.names) room.names.erase(name.folded);
  member.names.clear();
  member.present = false;
  member.reserved = false;
  member.left_unsaid = true;
  if (--room.present_count == 0) --rooms_present_count_;
  --present_count_;
  member.serial = ++serial_;
  formers_.push_back({now_us + options_.former_member_ms * 1000, member.serial, room_name, member.user_id});
}

void Claims::keep_first_name_only(Room& room, Member& member) {
  for (size_t i = 1; i < member.names.size(); ++i) room.names.erase(member.names[i].folded);
  member.names.erase(member.names.begin() + 1, member.names.end());
}

std::optional<std::string> Claims::member_name(std::string_view room_name, std::string_view user_id, int64_t now_us) {
  pass_time(now_us);
  Room* room = find_room(room_name);
  if (room == nullptr) return std::nullopt;
  auto found = room->members.find(user_id);
  if (found == room->members.end()) return std::nullopt;
  const Member& member = *found->second;
  return member.present ? member.names.front().shown : member.former_name;
}

MemberList Claims::members(std::string_view room_name, std::string_view after, size_t limit, int64_t now_us) {
  CHECK(limit > 0, "a page of members holds at least one");
  pass_time(now_us);
  MemberList list;
  list.ok = true;
  Room* room = find_room(room_name);
  if (room == nullptr) return list;
  list.total = room->present_count;
  std::string_view last;
  for (auto it = room->names.upper_bound(after); it != room->names.end(); ++it) {
    const Member& member = *it->second;
    if (member.names.front().folded != it->first) continue;  // his second name; he is listed once
    if (list.members.size() == limit) {
      list.next = last;
      break;
    }
    list.members.push_back({member.user_id, member.names.front().shown, 0});
    last = it->first;
  }
  return list;
}

uint64_t Claims::members_count(std::string_view room_name, int64_t now_us) {
  pass_time(now_us);
  Room* room = find_room(room_name);
  return room == nullptr ? 0 : room->present_count;
}

bool Claims::empty(int64_t now_us) {
  pass_time(now_us);
  return present_count_ == 0 && now_us >= held_until_us_;
}

void Claims::forget_if_idle(std::string_view room_name) {
  auto found = rooms_.find(room_name);
  if (found != rooms_.end() && found->second->members.empty()) rooms_.erase(found);
}

}  // namespace tertulia
