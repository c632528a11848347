#include "core/config.h"

#include <doctest/doctest.h>

using namespace zeroth;

namespace {

struct Inner {
  int depth = 3;
  std::string mode = "fast";
  template <class V>
  void fields(V& v) {
    v("depth", depth, "how deep", Range{1, 9});
    v("mode", mode, "which way", Choice{{"fast", "slow"}});
  }
};

struct Outer {
  double rate = 0.5;
  bool verbose = false;
  uint64_t seed = 1;
  std::vector<std::string> stop;
  std::vector<int> sizes{1, 2};
  Json options = Json::object();
  Inner inner;
  template <class V>
  void fields(V& v) {
    v("rate", rate, "learning rate", Range{0, 1});
    v("verbose", verbose, "talk");
    v("seed", seed, "seed");
    v("stop", stop, "stop strings");
    v("sizes", sizes, "sizes", Range{1, 100});
    v("options", options, "free form");
    v("inner", inner, "the inside");
  }
};

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kUsage);
    return error.what();
  }
  return "no error";
}

std::string load_error(const std::string& text) {
  Outer config;
  return error_of([&] { load_config(config, parse_json(text, "run.json"), "run.json"); });
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct SetCommand {
  std::vector<std::string> set;
  template <class V>
  void fields(V& v) {
    v("set", set, "override a field", Repeated{});
  }
};

}  // namespace

TEST_CASE("a number that no double holds is bad JSON, not an internal error") {
  const std::string text = error_of([] { parse_json(R"({"rate": 1e999})", "run.json"); });
  CHECK(has(text, "run.json: not valid JSON"));
  CHECK(has(text, "1e999"));
}

TEST_CASE("a config is parsed, with comments, and dumped again") {
  Outer config;
  load_config(config,
              parse_json(R"({"rate": 0.25, // note
      "inner": {"depth": 4, "mode": "slow"}, "sizes": [3], "options": {"a": [1]}, "seed": 18446744073709551615})",
                         "t"),
              "t");
  CHECK(config.rate == 0.25);
  CHECK(config.inner.depth == 4);
  CHECK(config.seed == 18446744073709551615ull);
  const Json dumped = dump_config(config);
  Outer again;
  load_config(again, dumped, "dump");
  CHECK(dump_config(again) == dumped);
  CHECK(dumped["inner"]["mode"] == "slow");
}

TEST_CASE("mistakes name the file, the dotted path, the value and the fix") {
  CHECK(has(load_error(R"({"inner": {"dept": 4}})"), "run.json: unknown key \"inner.dept\""));
  CHECK(has(load_error(R"({"inner": {"dept": 4}})"), "did you mean \"depth\""));
  CHECK(has(load_error(R"({"rate": "fast"})"), "rate is \"fast\""));
  CHECK(has(load_error(R"({"rate": 2})"), "0 to 1"));
  CHECK(has(load_error(R"({"inner": {"mode": "odd"}})"), "choose one of: fast, slow"));
  CHECK(has(load_error(R"({"sizes": [1, 200]})"), "sizes is 200"));
  CHECK(has(load_error(R"({"seed": -1})"), "seed is -1"));
  CHECK(has(load_error(R"({"inner": {"depth": 1.5}})"), "whole number"));
  CHECK(has(load_error(R"({"inner": 3})"), "give an object"));
  CHECK(has(load_error("{\n \"rate\": }"), "line 2"));
  CHECK(has(load_error(std::string(1000, '[')), "nested"));
}

TEST_CASE("overrides and flags reach nested fields") {
  Outer config;
  override_config(config, "inner.depth=7");
  override_config(config, "stop=a,b");
  override_config(config, "options.key=5");
  override_config(config, "inner.mode=slow");
  CHECK(config.inner.depth == 7);
  CHECK(config.stop == std::vector<std::string>{"a", "b"});
  CHECK(config.options["key"] == 5);
  // Members of members, beside those that are there and where none is.
  override_config(config, R"(options.inner={"kept": 1, "word": "w"})");
  override_config(config, "options.inner.url=http://127.0.0.1:8000/v1");
  override_config(config, "options.new.deep=[2]");
  CHECK(config.options == parse_json(R"({"key": 5, "inner": {"kept": 1,
      "word": "w", "url": "http://127.0.0.1:8000/v1"}, "new": {"deep": [2]}})",
                                     "t"));
  CHECK(has(error_of([&] { override_config(config, "options.inner.word.x=1"); }),
            "\"w\" has no member \"x\""));
  CHECK(has(error_of([&] { override_config(config, "inner.depht=7"); }), "did you mean \"depth\""));
  CHECK(has(error_of([&] { override_config(config, "nothing"); }), "no '='"));

  const auto rest = parse_flags(
      config, {"run", "--rate", "0.125", "--verbose", "--depth=2", "--stop", "x", "--stop", "y"},
      "t");
  CHECK(rest == std::vector<std::string>{"run"});
  CHECK(config.rate == 0.125);
  CHECK(config.verbose);
  CHECK(config.inner.depth == 2);
  CHECK(config.stop == std::vector<std::string>{"x", "y"});
  CHECK(has(error_of([&] { parse_flags(config, {"--rat", "1"}, "t"); }), "did you mean --rate"));
  CHECK(has(error_of([&] { parse_flags(config, {"--rate"}, "t"); }), "has no value"));
}

TEST_CASE("one --set is one assignment, whatever commas stand in it") {
  SetCommand command;
  parse_flags(command, {"--set", "stop=[\"a\", \"b\"]", "--set=inner.depth=7"}, "t");
  CHECK(command.set == std::vector<std::string>{"stop=[\"a\", \"b\"]", "inner.depth=7"});
  Outer config;
  override_config(config, command.set[0]);
  CHECK(config.stop == std::vector<std::string>{"a", "b"});
}

TEST_CASE("help shows default, range and choices of every field") {
  Outer config;
  const std::string help = config_help(config);
  CHECK(has(help, "inner.depth"));
  CHECK(has(help, "default 3, 1 to 9"));
  CHECK(has(help, "one of fast slow"));
}
