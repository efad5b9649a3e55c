#include "store/cluster/local_members.h"

#include <algorithm>

#include "base/check.h"

namespace tertulia::cluster {
namespace {

template <class List>
auto by_name(List& list, const std::string& folded) {
  return std::find_if(list.begin(), list.end(), [&](const auto& each) { return each.folded == folded; });
}

}  // namespace

const LocalMember* LocalMembers::find(const Key& key) const {
  auto found = members_.find(key);
  return found == members_.end() ? nullptr : &found->second;
}

bool LocalMembers::holds(const Key& key, const std::string& folded) const {
  const LocalMember* member = find(key);
  return member != nullptr && member->sessions_count > 0 && by_name(member->names, folded) != member->names.end();
}

void LocalMembers::came(const Key& key, const HeldName& name) {
  LocalMember& member = at(key);
  ++member.sessions_count;
  if (by_name(member.names, name.folded) == member.names.end()) member.names.push_back(name);
  std::erase_if(member.graces, [&](const Grace& grace) { return grace.folded == name.folded; });
}

void LocalMembers::one_left(const Key& key) {
  LocalMember& member = at(key);
  CHECK(member.sessions_count > 1, "the last session does not leave as one of several");
  --member.sessions_count;
}

std::vector<HeldName> LocalMembers::last_left(const Key& key) {
  LocalMember& member = at(key);
  CHECK(member.sessions_count == 1, "the last session is the last");
  member.sessions_count = 0;
  std::vector<HeldName> names = std::move(member.names);
  member.names.clear();
  drop_if_empty(key);
  return names;
}

void LocalMembers::name_lost(const Key& key, const std::string& folded) {
  auto found = members_.find(key);
  if (found == members_.end()) return;
  std::erase_if(found->second.names, [&](const HeldName& name) { return name.folded == folded; });
}

int64_t LocalMembers::wake_us(const Grace& grace) const {
  return grace.tells ? grace.due_us : grace.due_us + grace_us_ / 2 + 1'000'000;
}

void LocalMembers::count_grace(const Key& key, const HeldName& name, bool tells, int64_t now_us) {
  LocalMember& member = at(key);
  auto found = by_name(member.graces, name.folded);
  if (found == member.graces.end()) found = member.graces.insert(found, Grace{});
  *found = {name.folded, name.shown, now_us + grace_us_, tells};
  wakes_.emplace(wake_us(*found), std::pair(key, name.folded));
}

const Grace* LocalMembers::grace(const Key& key, const std::string& folded) const {
  const LocalMember* member = find(key);
  if (member == nullptr) return nullptr;
  auto found = by_name(member->graces, folded);
  return found == member->graces.end() ? nullptr : &*found;
}

void LocalMembers::end_grace(const Key& key, const std::string& folded) {
  auto found = members_.find(key);
  if (found == members_.end()) return;
  std::erase_if(found->second.graces, [&](const Grace& grace) { return grace.folded == folded; });
  drop_if_empty(key);
}

std::vector<HeldName> LocalMembers::take_due(const Key& key, int64_t now_us) {
  std::vector<HeldName> due;
  auto found = members_.find(key);
  if (found == members_.end()) return due;
  std::erase_if(found->second.graces, [&](const Grace& grace) {
    if (grace.due_us > now_us) return false;
    due.push_back({grace.folded, grace.shown});
    return true;
  });
  drop_if_empty(key);
  return due;
}

std::vector<std::pair<LocalMembers::Key, HeldName>> LocalMembers::take_due(int64_t now_us) {
  std::vector<std::pair<Key, HeldName>> due;
  while (!wakes_.empty() && wakes_.begin()->first <= now_us) {
    const auto [at_us, what] = *wakes_.begin();
    wakes_.erase(wakes_.begin());
    const auto& [key, folded] = what;
    const Grace* grace = this->grace(key, folded);
    if (grace == nullptr || wake_us(*grace) != at_us) continue;
    due.emplace_back(key, HeldName{grace->folded, grace->shown});
    end_grace(key, folded);
  }
  return due;
}

void LocalMembers::drop_graces() {
  wakes_.clear();
  for (auto each = members_.begin(); each != members_.end();) {
    each->second.graces.clear();
    each = each->second.sessions_count == 0 ? members_.erase(each) : std::next(each);
  }
}

void LocalMembers::drop_if_empty(const Key& key) {
  auto found = members_.find(key);
  if (found != members_.end() && found->second.sessions_count == 0 && found->second.graces.empty()) {
    members_.erase(found);
  }
}

void LocalMembers::ended(const Key& key, const HeldName& name, int64_t now_us) {
  std::vector<Former>& formers = formers_[key];
  auto found =
      std::find_if(formers.begin(), formers.end(), [&](const Former& f) { return f.name.folded == name.folded; });
  if (found != formers.end()) formers.erase(found);
  formers.push_back({name, now_us + former_us_});
  forgets_.emplace(now_us + former_us_, std::pair(key, name.folded));
}

std::optional<std::string> LocalMembers::former_name(const Key& key, int64_t now_us) const {
  auto found = formers_.find(key);
  if (found == formers_.end() || found->second.back().until_us <= now_us) return std::nullopt;
  return found->second.back().name.shown;
}

std::vector<std::pair<LocalMembers::Key, HeldName>> LocalMembers::take_formers(int64_t now_us) {
  std::vector<std::pair<Key, HeldName>> due;
  while (!forgets_.empty() && (forgets_.begin()->first <= now_us || forgets_.size() > formers_max_)) {
    const int64_t at_us = forgets_.begin()->first;
    const std::pair<Key, std::string> what = forgets_.begin()->second;
    forgets_.erase(forgets_.begin());
    auto formers = formers_.find(what.first);
    if (formers == formers_.end()) continue;
    auto found = std::find_if(formers->second.begin(), formers->second.end(), [&](const Former& former) {
      return former.name.folded == what.second && former.until_us == at_us;
    });
    if (found == formers->second.end()) continue;
    due.emplace_back(what.first, found->name);
    formers->second.erase(found);
    if (formers->second.empty()) formers_.erase(formers);
  }
  return due;
}

}  // namespace tertulia::cluster
