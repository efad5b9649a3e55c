// From what the operator wrote to Options: flags > environment (TERTULIA_*) > file (--config, TOML) > defaults.
//
// Pure but for reading the file. Every error says what, where (flag, variable, file and line) and what to do; all
// errors are told at once. A name that is not known is an error in flags and file, with the nearest one suggested; in
// the environment, where others put names too, a near miss is only a notice. Thread: any; a Config belongs to its
// holder. Memory: the file is read only up to 64 KiB.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "node/options.h"

namespace tertulia {

using Environment = std::map<std::string, std::string, std::less<>>;
// REQUIRES: ends with a null pointer, as environ does.
Environment environment_of(const char* const* variables);

struct Origin {
  enum class Kind : uint8_t { by_default, file, environment, flag };
  Kind kind = Kind::by_default;
  std::string where;  // "tertulia.toml:3", "TERTULIA_LISTEN", "--listen"; empty for a default
};

enum class Command : uint8_t { serve, backup, verify, drain };

struct Config {
  Command command = Command::serve;
  std::string argument;  // backup: the directory to write
  Options options;
  std::map<std::string, Origin, std::less<>> origins;  // of every setting
  std::vector<std::string> notices;                    // sentences for the log
  std::string file;                                    // --config, or empty

  // Kept for reload(): values by setting, as written.
  std::map<std::string, std::string, std::less<>> flags, variables;
};

// The process should write `text` (to stderr if code is not 0) and end with `code`. Help, version, check-config and
// print-config end so with 0; a wrong command line or configuration with 2.
struct ExitWith {
  int code = 0;
  std::string text;
};

// `arguments` without the program's name.
std::variant<Config, ExitWith> parse(std::span<const std::string> arguments, const Environment& environment);

struct Reloaded {
  Options::Live live;
  std::vector<std::string> changed;       // settings that take effect now
  std::vector<std::string> need_restart;  // settings that were changed too, but only a restart can take up
  std::vector<std::string> notices;
};

// Reads the file again, under the flags and variables of the start. An error (told in one text) means: go on as before.
// `running` is the configuration of the start; live settings are compared with `live`, which are in force now.
std::variant<Reloaded, std::string> reload(const Config& running, const Options::Live& live);

// One line a setting, readable as a configuration file, with the origin behind each.
std::string print_config(const Config& config);

}  // namespace tertulia
