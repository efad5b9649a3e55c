#include "node/units.h"

#include <charconv>
#include <span>

namespace tertulia {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

constexpr Unit duration_units[] = {{"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}};
constexpr Unit size_units[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}};
constexpr uint64_t duration_ms_max = 366ull * 24 * 3'600'000;
constexpr uint64_t size_max = 1ull << 50;

std::optional<uint64_t> parse(std::string_view text, std::span<const Unit> units, uint64_t max) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number > max) return std::nullopt;
  const std::string_view name = text.substr(static_cast<size_t>(end - text.data()));
  if (name.empty() && number == 0) return 0;
  for (const Unit& unit : units) {
    if (name == unit.name) return number <= max / unit.factor ? std::optional(number * unit.factor) : std::nullopt;
  }
  return std::nullopt;
}

std::string show(uint64_t number, std::span<const Unit> units) {
  for (const Unit& unit : units) {
    if (number != 0 && number % unit.factor == 0) return std::to_string(number / unit.factor) + std::string(unit.name);
  }
  return "0";
}

}  // namespace

std::optional<int64_t> parse_duration_ms(std::string_view text) {
  const auto ms = parse(text, duration_units, duration_ms_max);
  return ms ? std::optional(static_cast<int64_t>(*ms)) : std::nullopt;
}

std::string show_duration(int64_t ms) {
  return ms < 0 ? "-" + show(static_cast<uint64_t>(-ms), duration_units)
                : show(static_cast<uint64_t>(ms), duration_units);
}

std::optional<uint64_t> parse_size(std::string_view text) {
  if (text.find_first_not_of("0123456789") == std::string_view::npos)
    return parse(std::string(text) + "B", size_units, size_max);
  return parse(text, size_units, size_max);
}

std::string show_size(uint64_t bytes) {
  return show(bytes, size_units);
}

}  // namespace tertulia
