#include "node/config_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

// The parser's own code is only here, so that it is compiled once.
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

namespace tertulia {
namespace {

constexpr size_t file_bytes_max = 64 << 10;
// The parser descends once for every dot of a key, and so does what takes its result apart; a deep key would exhaust
// the stack. No key of ours has a dot at all.
constexpr size_t dots_per_line_max = 1'000;

std::optional<std::string> read_all(const std::string& path, std::string& wrong) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    wrong = "cannot open " + path + " (" + std::strerror(errno) +
            "); check the path that --config or TERTULIA_CONFIG names";
    return std::nullopt;
  }
  std::string text(file_bytes_max + 1, '\0');
  size_t size = 0;
  ssize_t got = 0;
  while (size < text.size() &&
         ((got = read(fd, text.data() + size, text.size() - size)) > 0 || (got < 0 && errno == EINTR))) {
    size += got > 0 ? static_cast<size_t>(got) : 0;
  }
  const int error = errno;
  close(fd);
  if (got < 0) {
    wrong = "cannot read " + path + " (" + std::strerror(error) + ")";
    return std::nullopt;
  }
  if (size > file_bytes_max) {
    wrong = path + " is larger than 64 KiB; is it a configuration file?";
    return std::nullopt;
  }
  text.resize(size);
  return text;
}

bool is_too_deep(std::string_view text) {
  size_t dots = 0;
  for (const char c : text) {
    if (c == '\n') dots = 0;
    if (c == '.' && ++dots > dots_per_line_max) return true;
  }
  return false;
}

void take_value(const toml::node& node, FileEntry& entry) {
  if (const auto* text = node.as_string()) {
    entry.value = text->get();
  } else if (const auto* number = node.as_integer()) {
    entry.value = std::to_string(number->get());
  } else if (const auto* real = node.as_floating_point()) {
    std::string shown = std::to_string(real->get());
    while (shown.find('.') != std::string::npos && (shown.back() == '0' || shown.back() == '.')) {
      const bool point = shown.back() == '.';
      shown.pop_back();
      if (point) break;
    }
    entry.value = shown;
  } else if (const auto* yes = node.as_boolean()) {
    entry.value = yes->get() ? "on" : "off";
  } else if (const auto* array = node.as_array()) {
    entry.is_list = true;
    for (const toml::node& item : *array) {
      const auto* each = item.as_string();
      if (each == nullptr || each->get().find(',') != std::string::npos) {
        entry.wrong = "a list holds texts in quotes, without commas";
        return;
      }
      entry.value += (entry.value.empty() ? "" : ",") + each->get();
    }
  } else if (node.is_table()) {
    entry.wrong = "there are no sections; write the settings themselves, one a line";
  } else {
    entry.wrong = "dates and times are no values here; write it in quotes";
  }
}

}  // namespace

std::variant<std::vector<FileEntry>, std::string> read_config_file(const std::string& path) {
  std::string wrong;
  const std::optional<std::string> text = read_all(path, wrong);
  if (!text) return wrong;
  if (is_too_deep(*text)) return path + ": a line with more than 1,000 dots is no configuration";

  std::vector<FileEntry> entries;
  try {
    const toml::table table = toml::parse(std::string_view(*text), std::string_view(path));
    for (const auto& [key, node] : table) {
      FileEntry& entry = entries.emplace_back();
      entry.key = key.str();
      entry.line = key.source().begin.line;
      take_value(node, entry);
    }
  } catch (const toml::parse_error& error) {
    return path + ":" + std::to_string(error.source().begin.line) + ": not TOML: " + std::string(error.description()) +
           "; texts, durations and sizes stand in quotes, as drain-window = \"2s\"";
  }
  std::sort(entries.begin(), entries.end(), [](const FileEntry& a, const FileEntry& b) { return a.line < b.line; });
  return entries;
}

}  // namespace tertulia
