// The tables and functions in the database, and how they come there.
#pragma once

#include <string>

namespace tertulia::postgres {

class Connection;

inline constexpr int kSchemaVersion = 1;
inline constexpr int kServerVersionMin = 150'000;

// Makes what is missing, in one transaction under a lock, so that many nodes may start at once. Empty, or a sentence.
[[nodiscard]] std::string prepare_schema(Connection& connection);

}  // namespace tertulia::postgres
