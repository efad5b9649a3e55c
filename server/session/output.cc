#include "session/output.h"

#include <algorithm>

#include "base/check.h"
#include "protocol/frames.h"

namespace tertulia {
namespace {

// A session that has nothing to say keeps no buffer: the answer to its join alone would be a fifth of what a silent
// member costs, and an allocation is nothing beside the system call that has just emptied it.
void release(std::string& buffer) {
  std::string().swap(buffer);
}

}  // namespace

void Output::add(Plan& out, Plan::Kind kind, std::string_view bytes, Member* member, Position after, Position last,
                 size_t skipped) const {
  out.pieces[out.count] = {const_cast<char*>(bytes.data()), bytes.size()};
  out.segments[out.count] = {kind, member, after, last, skipped};
  ++out.count;
  out.bytes += bytes.size();
}

void Output::plan(std::span<Member* const> members, std::string_view signals, size_t bytes_max, Plan& out) {
  out.count = 0;
  out.bytes = 0;
  out.more = false;
  out.needs = nullptr;
  out.live.clear();
  if (!rest_.empty()) add(out, Plan::Kind::rest, rest_);
  Position cut_end;
  if (cut_ != nullptr) {
    const auto piece = cut_->log->piece_behind(cut_->cursor, 1, cut_->cursor.sequence + 1);
    if (!piece) {
      out.needs = cut_;
      return;
    }
    CHECK(piece->bytes > cut_->cut_bytes, "a frame made again is the frame that was cut");
    cut_end = piece->last;
    add(out, Plan::Kind::log, {piece->data + cut_->cut_bytes, piece->bytes - cut_->cut_bytes}, cut_, cut_->cursor,
        cut_end, cut_->cut_bytes);
  }
  if (privates_.size() > privates_sent_)
    add(out, Plan::Kind::privates, std::string_view(privates_).substr(privates_sent_));
  for (Member* member : members) {
    if (!member->behind()) continue;
    plan_member(*member, member == cut_ ? cut_end : member->cursor, bytes_max, out);
    if (out.more) return;
  }
  if (!signals.empty() && out.needs == nullptr && out.count < Plan::pieces_max) add(out, Plan::Kind::signals, signals);
}

void Output::plan_member(Member& member, Position at, size_t bytes_max, Plan& out) {
  bool live_due = member.live_due;
  while (true) {
    const bool live_now = live_due && at.sequence >= member.live_after;
    if (!live_now && at.sequence >= member.log->head_sequence()) return;
    if (out.bytes >= bytes_max || out.count == Plan::pieces_max || (live_now && !out.live.empty())) {
      out.more = true;
      return;
    }
    if (live_now) {
      append_live(out.live, member.log->room_name(), member.live_after);
      add(out, Plan::Kind::live, out.live, &member);
      live_due = false;
      continue;
    }
    const auto piece = member.log->piece_behind(at, bytes_max - out.bytes, live_due ? member.live_after : sequence_max);
    if (!piece) {
      out.needs = &member;
      return;
    }
    add(out, Plan::Kind::log, {piece->data, piece->bytes}, &member, at, piece->last);
    at = piece->last;
  }
}

uint64_t Output::sent(const Plan& plan, size_t bytes) {
  uint64_t frames = 0;
  for (size_t i = 0; i < plan.count; ++i) {
    const Plan::Segment& segment = plan.segments[i];
    const std::string_view piece(static_cast<const char*>(plan.pieces[i].iov_base), plan.pieces[i].iov_len);
    const size_t taken = std::min(bytes, piece.size());
    bytes -= taken;
    const bool whole = taken == piece.size();
    switch (segment.kind) {
      case Plan::Kind::rest:
        rest_.erase(0, taken);
        if (whole) release(rest_);
        break;
      case Plan::Kind::privates:
        privates_sent_ += taken;
        if (whole) {
          release(privates_);
          privates_sent_ = 0;
        } else if (privates_sent_ >= privates_.size() / 2) {
          // Whoever reads slowly and asks on never finds it empty: without this it would keep all that was ever said.
          privates_.erase(0, privates_sent_);
          privates_sent_ = 0;
        }
        break;
      case Plan::Kind::log: {
        Member& member = *segment.member;
        if (whole) {
          frames += segment.last.sequence - member.cursor.sequence;
          member.cursor = segment.last;
          member.cut_bytes = 0;
          if (cut_ == &member) cut_ = nullptr;
        } else if (taken > 0) {
          const Tail::Cut cut = member.log->cut(segment.after, segment.skipped + taken);
          if (cut.last.sequence != segment.after.sequence) {
            frames += cut.last.sequence - member.cursor.sequence;
            member.cursor = cut.last;
          }
          member.cut_bytes = cut.rest_bytes;
          cut_ = cut.rest_bytes > 0 ? &member : nullptr;
        }
        break;
      }
      case Plan::Kind::live:
        if (taken > 0) {
          segment.member->live_due = false;
          rest_.assign(piece.substr(taken));
        }
        break;
      case Plan::Kind::signals:
        if (taken > 0) rest_.assign(piece.substr(taken));
        break;
    }
    if (!whole) break;
  }
  return frames;
}

bool Output::detach(Member& member) {
  if (cut_ != &member) return true;
  const auto piece = member.log->piece_behind(member.cursor, 1, member.cursor.sequence + 1);
  if (!piece) return false;
  rest_.assign(piece->data + member.cut_bytes, piece->bytes - member.cut_bytes);
  member.cut_bytes = 0;
  cut_ = nullptr;
  return true;
}

}  // namespace tertulia
