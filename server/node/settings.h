// The list of settings: for each field of Options its name, what it means, how its value is written and what is
// allowed. Flags, environment, file, help and print-config are all read off this one list. To add a setting, add the
// field to Options and one line here. Thread: any. Memory: one constant list.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "node/options.h"

namespace tertulia {

struct Setting {
  std::string name;     // the long option and the file's key: drain-window
  std::string form;     // DURATION, SIZE, …
  std::string meaning;  // with unit, zero and default where they say something
  bool is_list = false;
  bool is_live = false;  // SIGHUP changes it
  // Sets it from what was written. Returns what is wrong with the value, empty if nothing; then `options` is unchanged.
  std::function<std::string(Options& options, const std::string& text)> set;
  // As set() reads it.
  std::function<std::string(const Options& options)> show;
  // Shown in a file without quotes.
  bool is_bare = false;
  // It may hold credentials: only what shown() says is for anybody's eyes.
  bool is_secret = false;

  std::string shown(const Options& options) const;
  std::string variable() const;  // TERTULIA_DRAIN_WINDOW
};

const std::vector<Setting>& settings();
const Setting* find_setting(std::string_view name);
// A URL, or several, as messages and logs may show them: whatever stands before an @, and the values of parameters
// that are called passwords, tokens or secrets, are stars.
std::string without_credentials(std::string_view text);
// What an operator should be told about settings that may well be meant so: one sentence for each.
std::vector<std::string> advice(const Options& options, const std::function<bool(std::string_view name)>& is_set);
// The name most like `name`, or empty when none is.
std::string nearest_setting(std::string_view name);

// What is wrong between settings that are each right by themselves: one sentence for each. `show` names a setting with
// its value and where that comes from.
std::vector<std::string> broken_relations(const Options& options,
                                          const std::function<std::string(std::string_view name)>& show);

}  // namespace tertulia
