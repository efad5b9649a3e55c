// How durations and sizes are written in flags, files and messages: 2s, 500ms, 10m; 64KiB, 8MiB.
// Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tertulia {

// A whole number with ms, s, m or h; 0 needs no unit. Nothing when it is anything else or beyond a year.
std::optional<int64_t> parse_duration_ms(std::string_view text);
// In the largest unit that shows it whole.
std::string show_duration(int64_t ms);

// A whole number of bytes, or with KiB, MiB or GiB (B may be added to plain bytes). Nothing when it is anything else or
// beyond 2^50.
std::optional<uint64_t> parse_size(std::string_view text);
std::string show_size(uint64_t bytes);

}  // namespace tertulia
