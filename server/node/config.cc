#include "node/config.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>

#include "base/log.h"
#include "node/config_file.h"
#include "node/settings.h"

#ifndef TERTULIA_VERSION
#define TERTULIA_VERSION "unknown"
#endif

namespace tertulia {
namespace {

using Values = std::map<std::string, std::string, std::less<>>;

std::string lines(const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& each : sentences) text += "tertulia: " + each + "\n";
  return text;
}

ExitWith failed(const std::vector<std::string>& sentences) {
  return {2, lines(sentences)};
}

std::string escaped(std::string_view text) {
  std::string out;
  append_escaped(out, text);
  return out;
}

std::string suggestion(const std::string& name, const std::string& before) {
  const std::string nearest = nearest_setting(name);
  return nearest.empty() ? "; `tertulia serve --help` lists all" : "; did you mean " + before + nearest + "?";
}

std::string origin_text(const Origin& origin) {
  switch (origin.kind) {
    case Origin::Kind::by_default: return "default";
    case Origin::Kind::file: return "file " + origin.where;
    case Origin::Kind::environment: return "environment " + origin.where;
    case Origin::Kind::flag: return "flag " + origin.where;
  }
  return {};
}

// Sets each value in turn, from the weakest source to the strongest, and collects what is wrong.
class Assembly {
 public:
  explicit Assembly(Config& config) : config_(config) {
    for (const Setting& setting : settings()) config.origins[setting.name] = {};
  }

  void take_file() {
    if (config_.file.empty()) return;
    auto read = read_config_file(config_.file);
    if (auto* wrong = std::get_if<std::string>(&read)) {
      errors_.push_back(std::move(*wrong));
      return;
    }
    for (const FileEntry& entry : std::get<std::vector<FileEntry>>(read)) {
      const std::string where = config_.file + ":" + std::to_string(entry.line);
      const Setting* setting = find_setting(entry.key);
      if (!entry.wrong.empty()) {
        errors_.push_back(where + ": " + escaped(entry.key) + ": " + entry.wrong);
      } else if (setting == nullptr) {
        errors_.push_back(where + ": " + escaped(entry.key) + " is no setting" + suggestion(entry.key, ""));
      } else if (entry.is_list && !setting->is_list) {
        errors_.push_back(where + ": " + entry.key + ": takes one value, not a list");
      } else {
        take(*setting, entry.value, {Origin::Kind::file, where}, where + ": " + entry.key);
      }
    }
  }

  void take_variables() {
    for (const auto& [name, value] : config_.variables) {
      const Setting& setting = *find_setting(name);
      take(setting, value, {Origin::Kind::environment, setting.variable()}, setting.variable());
    }
  }

  void take_flags() {
    for (const auto& [name, value] : config_.flags) {
      take(*find_setting(name), value, {Origin::Kind::flag, "--" + name}, "--" + name);
    }
  }

  // Relations are judged only once each value is right by itself.
  std::vector<std::string> errors() {
    if (errors_.empty()) {
      errors_ = broken_relations(config_.options, [this](std::string_view name) {
        return std::string(name) + " (" + find_setting(name)->shown(config_.options) + ", " +
               origin_text(config_.origins.find(name)->second) + ")";
      });
    }
    return errors_;
  }

 private:
  void take(const Setting& setting, const std::string& value, Origin origin, const std::string& where) {
    if (const std::string wrong = setting.set(config_.options, value); !wrong.empty()) {
      errors_.push_back(where + ": " + wrong);
    } else {
      config_.origins[setting.name] = std::move(origin);
    }
  }

  Config& config_;
  std::vector<std::string> errors_;
};

std::vector<std::string> assemble(Config& config) {
  Assembly assembly(config);
  assembly.take_file();
  assembly.take_variables();
  assembly.take_flags();
  return assembly.errors();
}

const Setting* find_variable(std::string_view variable) {
  for (const Setting& setting : settings()) {
    if (setting.variable() == variable) return &setting;
  }
  return nullptr;
}

// The environment is shared with others (an orchestrator sets TERTULIA_PORT for a service of this name), so a name that
// is not known is no error; a near miss is worth a word.
void read_environment(const Environment& environment, Config& config) {
  const std::string prefix = "TERTULIA_";
  for (const auto& [variable, value] : environment) {
    if (!variable.starts_with(prefix)) continue;
    if (variable == "TERTULIA_CONFIG") {
      config.file = value;
      continue;
    }
    const Setting* setting = find_variable(variable);
    if (setting != nullptr) {
      config.variables[setting->name] = value;
    } else if (const std::string near = nearest_setting(variable.substr(prefix.size())); !near.empty()) {
      config.notices.push_back(escaped(variable) + " is no setting and was ignored; did you mean " +
                               find_setting(near)->variable() + "?");
    }
  }
}

// What CLI11 fills; it knows only texts, the settings judge them.
struct Line {
  std::map<std::string, std::vector<std::string>> values;
  std::string file;
  std::string directory;
};

void add_settings(CLI::App& command, Line& line, const Options& defaults,
                  const std::vector<std::string_view>& only = {}) {
  for (const Setting& setting : settings()) {
    const bool wanted = only.empty() || std::find(only.begin(), only.end(), setting.name) != only.end();
    if (!wanted) continue;
    const std::string preset = setting.show(defaults);
    command
        .add_option("--" + setting.name, line.values[setting.name],
                    setting.meaning + (preset.empty() ? "" : " (" + preset + ")") + (setting.is_live ? " [live]" : ""))
        ->type_name(setting.form)
        ->type_size(1)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->allow_extra_args(false);
  }
  command.add_option("--config", line.file, "A TOML file whose keys are these options without the dashes")
      ->type_name("FILE");
  command.allow_extras();
}

constexpr const char* footer =
    "Flags go before the environment (TERTULIA_DRAIN_WINDOW=2s), that before the file, that before the defaults (in\n"
    "brackets). What is marked [live] is read from the file again on SIGHUP.";

}  // namespace

Environment environment_of(const char* const* variables) {
  Environment environment;
  for (; *variables != nullptr; ++variables) {
    const std::string_view entry = *variables;
    const size_t equals = entry.find('=');
    if (equals != std::string_view::npos) environment.emplace(entry.substr(0, equals), entry.substr(equals + 1));
  }
  return environment;
}

std::variant<Config, ExitWith> parse(std::span<const std::string> arguments, const Environment& environment) {
  Config config;
  read_environment(environment, config);

  Line line;
  line.file = config.file;
  CLI::App app("A group chat server that never loses, repeats or reorders a message.", "tertulia");
  app.require_subcommand(0, 1);
  app.footer("`tertulia COMMAND --help` tells a command's options.");
  bool version = false;
  app.add_flag("--version", version, "Print the version");
  app.allow_extras();
  CLI::App& serve = *app.add_subcommand("serve", "Serve until SIGTERM (drains) or SIGINT (ends at once, safely)");
  CLI::App& check = *app.add_subcommand("check-config", "Say what is wrong with the configuration, and serve nothing");
  CLI::App& print = *app.add_subcommand("print-config", "Print every setting with where its value comes from");
  for (CLI::App* each : {&serve, &check, &print}) {
    add_settings(*each, line, config.options);
    each->footer(footer);
  }
  CLI::App& backup = *app.add_subcommand("backup", "Copy the store, consistent, also while a server uses it");
  backup.add_option("DIR", line.directory, "The directory to write; it must not exist or be empty")->required();
  add_settings(backup, line, config.options, {"data-dir", "store", "log-format", "log-level"});
  CLI::App& verify =
      *app.add_subcommand("verify", "Read the whole store and recompute every chain, as after a restore");
  add_settings(verify, line, config.options, {"data-dir", "store", "log-format", "log-level"});
  CLI::App& drain = *app.add_subcommand("drain", "Tell a running server to leave gracefully");
  add_settings(drain, line, config.options, {"internal-listen"});
  CLI::App& tell_version = *app.add_subcommand("version", "Print the version");

  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants it
    app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    return ExitWith{0, chosen.empty() ? app.help() : chosen.front()->help("tertulia")};
  } catch (const CLI::ParseError& error) {
    return failed({escaped(without_credentials(error.what())) + "; `tertulia --help` tells how"});
  }

  const auto chosen = app.get_subcommands();
  std::vector<std::string> rest = app.remaining(true);
  if (!rest.empty()) {
    const auto flag =
        std::find_if(rest.begin(), rest.end(), [](const std::string& each) { return each.starts_with("-"); });
    if (flag == rest.end()) {
      return failed({escaped(without_credentials(rest.front())) +
                     (chosen.empty() ? " is no command" : " is one argument too many") +
                     "; `tertulia --help` lists the commands"});
    }
    const std::string name = flag->substr(std::min(flag->find_first_not_of('-'), flag->size()), flag->find('=') - 2);
    if (find_setting(name) != nullptr) {
      return failed({"--" + name +
                     (chosen.empty() ? " stands behind a command; write `tertulia serve --" + name + " …`"
                                     : " means nothing to `tertulia " + chosen.front()->get_name() + "`")});
    }
    return failed({escaped(without_credentials(*flag)) + " is no option" + suggestion(name, "--")});
  }
  if (version || tell_version.parsed()) return ExitWith{0, "tertulia " TERTULIA_VERSION "\n"};
  if (chosen.empty()) return ExitWith{2, app.help()};

  std::vector<std::string> twice;
  for (const auto& [name, values] : line.values) {
    if (values.empty()) continue;
    std::string value = values.front();
    for (size_t i = 1; i < values.size(); ++i) value += "," + values[i];
    if (values.size() > 1 && !find_setting(name)->is_list) twice.push_back("--" + name + " is given twice; keep one");
    config.flags[name] = value;
  }
  if (!twice.empty()) return failed(twice);
  config.file = line.file;
  if (const auto errors = assemble(config); !errors.empty()) return failed(errors);
  const auto is_set = [&](std::string_view name) {
    return config.origins.find(name)->second.kind != Origin::Kind::by_default;
  };
  for (std::string& sentence : advice(config.options, is_set)) config.notices.push_back(std::move(sentence));

  if (check.parsed()) return ExitWith{0, lines(config.notices) + "The configuration is good.\n"};
  if (print.parsed()) return ExitWith{0, print_config(config)};
  config.command = backup.parsed()   ? Command::backup
                   : verify.parsed() ? Command::verify
                   : drain.parsed()  ? Command::drain
                                     : Command::serve;
  config.argument = line.directory;
  return config;
}

std::variant<Reloaded, std::string> reload(const Config& running, const Options::Live& live) {
  Config fresh;
  fresh.file = running.file;
  fresh.flags = running.flags;
  fresh.variables = running.variables;
  if (const auto errors = assemble(fresh); !errors.empty()) return lines(errors);

  Options in_force = running.options;
  in_force.live = live;
  Reloaded reloaded;
  reloaded.live = fresh.options.live;
  reloaded.notices = fresh.notices;
  for (const Setting& setting : settings()) {
    if (setting.show(fresh.options) == setting.show(in_force)) continue;
    (setting.is_live ? reloaded.changed : reloaded.need_restart).push_back(setting.name);
  }
  return reloaded;
}

std::string print_config(const Config& config) {
  std::string text;
  for (const Setting& setting : settings()) {
    std::string value = setting.shown(config.options);
    std::string entry = setting.name + " = ";
    if (setting.is_list) {
      entry += "[";
      for (size_t at = 0; at < value.size();) {
        const size_t comma = std::min(value.find(',', at), value.size());
        entry += (at == 0 ? "\"" : ", \"") + escaped(std::string_view(value).substr(at, comma - at)) + "\"";
        at = comma + 1;
      }
      entry += "]";
    } else if (setting.is_bare) {
      entry += value;
    } else {
      entry += "\"" + escaped(value) + "\"";
    }
    entry.resize(std::max<size_t>(entry.size() + 1, 44), ' ');
    text += entry + "# " + escaped(origin_text(config.origins.find(setting.name)->second)) + "\n";
  }
  return text;
}

}  // namespace tertulia
