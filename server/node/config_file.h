// Reads a configuration file: TOML whose keys are the long options, without sections.
// Thread: any. Memory: 64 KiB of file at most.
#pragma once

#include <string>
#include <variant>
#include <vector>

namespace tertulia {

struct FileEntry {
  std::string key;
  std::string value;     // as a flag would have it; a list's items joined with commas
  std::string wrong;     // not empty: what is wrong with the value's type
  bool is_list = false;  // was written as an array
  unsigned line = 0;
};

// The entries by line, or one sentence that says what is wrong and where.
std::variant<std::vector<FileEntry>, std::string> read_config_file(const std::string& path);

}  // namespace tertulia
