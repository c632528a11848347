// Options of tasks that live outside the binary (tasks/plugins/plugin_task.h).
#pragma once

#include <string>

#include "tasks/environment.h"
#include "tasks/options.h"
#include "tasks/plugins/plugin_pool.h"

namespace zeroth {

// What all carriers share.
struct PluginOptions : ResponseOptions, PluginPoolOptions, EnvironmentLimits {
  Json options = Json::object();
  Json problems = Json();
  Json part_weights = Json::object();
  bool whole_groups = false;
  PluginOptions() {
    prompt_template = "bare";
    format_weight = 0;
    max_turns = kMostTurns;
  }
  template <class V>
  void fields(V& v) {
    v("options", options, "what the plug-in is given when it starts");
    v("problems", problems,
      "task that makes the problems, NAME:key=value,.. or {\"name\", \"options\"}; empty: the "
      "plug-in makes them");
    v("part_weights", part_weights,
      "weights of the further scores that the plug-in gives, by name; 0 without");
    v("whole_groups", whole_groups,
      "send the samples of a problem together, never cut over requests, for rewards that compare "
      "them; also when the plug-in's hello says \"groups\": true");
    PluginPoolOptions::fields(v);
    EnvironmentLimits::fields(v);
    ResponseOptions::fields(v);
  }
};

struct ProcessOptions : PluginOptions {
  Json command = Json::array();
  template <class V>
  void fields(V& v) {
    v("command", command, "words of the command, or one text that is taken apart at blanks");
    PluginOptions::fields(v);
  }
};

struct SoOptions : PluginOptions {
  std::string path;
  std::string host;
  template <class V>
  void fields(V& v) {
    v("path", path, "shared library that exports zeroth_plugin_v1 (tasks/plugins/plugin_abi.h)");
    v("host", host, "zeroth binary that loads it; empty: this one");
    PluginOptions::fields(v);
  }
};

struct HttpOptions : PluginOptions {
  std::string url;
  std::string shape = "zeroth";
  HttpOptions() { workers = 4; }
  template <class V>
  void fields(V& v) {
    v("url", url, "http://HOST:PORT/PATH that requests are POSTed to");
    v("shape", shape, "shape of the requests; openrlhf and nemo_gym only grade",
      Choice{{"zeroth", "openrlhf", "nemo_gym"}});
    PluginOptions::fields(v);
  }
};

}  // namespace zeroth
