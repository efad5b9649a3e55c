// How rows and records stand in their collections, for people who read them too.
#pragma once

#include <string>
#include <string_view>

#include "store/mongo/bson.h"
#include "store/mongo/collection.h"

namespace tertulia::mongo {

inline constexpr char kMessages[] = "messages";
inline constexpr char kRecords[] = "records";
inline constexpr char kMarkers[] = "markers";
inline constexpr char kSchema[] = "tertulia";
inline constexpr uint64_t kSchemaVersion = 1;

// "lobby/AAAAAAAAAAAAAAAA": the room and the chain that the row continues. A chain has always the same length, so no
// two of them are spelled alike.
std::string row_key(const std::string& room, const Chain& previous);
// "5:lobby/ana": the room's length in bytes comes first, so that a slash in a name leads nobody astray.
std::string record_key(std::string_view room, std::string_view name);
std::string version_key(const Record& record);

// Appends to document; see its ok().
void write_row(Document& document, const NewRow& row);
void write_record(Document& document, const Record& record);

// False: this is no document of ours.
[[nodiscard]] bool read_row(const bson_t* document, std::string& room, Row& row);
[[nodiscard]] bool read_place(const bson_t* document, Place& place);
[[nodiscard]] bool read_record(const bson_t* document, Record& record);

}  // namespace tertulia::mongo
