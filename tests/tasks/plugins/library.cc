// A shared-library plug-in that does what the completion says.
#include <unistd.h>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include "tasks/plugins/plugin_abi.h"

namespace {

struct State {
  std::string options, prompt, log;
};

bool is(zeroth_text text, const char* word) {
  return std::string(text.data == nullptr ? "" : text.data, text.size) == word;
}

zeroth_text text(const std::string& s) { return {s.data(), s.size()}; }

// Options are the path of a log file in quotes.
void* open_state(zeroth_text options) {
  auto* state = new State;
  state->options.assign(options.data, options.size);
  const size_t at = state->options.find("\"log\":\"");
  if (at == std::string::npos) return nullptr;
  state->log = state->options.substr(at + 7, state->options.find('"', at + 7) - at - 7);
  return state;
}

void close_state(void* state) { delete static_cast<State*>(state); }

int64_t count(void*, int split) { return split == ZEROTH_TRAIN ? 5 : 2; }

int problem(void* opaque, int split, int64_t index, zeroth_problem* out) {
  auto* state = static_cast<State*>(opaque);
  if (split == ZEROTH_TRAIN && index == 4) return 7;
  state->prompt = "number " + std::to_string(index);
  out->prompt = text(state->prompt);
  static const std::string answer = "right", meta = "{\"kind\": 3}";
  out->answer = text(answer);
  out->meta = text(meta);
  std::printf("prints do not disturb the protocol\n");
  return 0;
}

int grade(void* opaque, const zeroth_problem* problem, zeroth_text completion, zeroth_text answer,
          int finish, zeroth_result* out) {
  auto* state = static_cast<State*>(opaque);
  if (is(completion, "crash")) std::raise(SIGSEGV);
  if (is(completion, "abort")) std::abort();
  if (is(completion, "hang")) ::sleep(1000);
  if (is(completion, "code")) return 5;
  if (is(completion, "nan")) {
    out->score = std::nan("");
    return 0;
  }
  static const std::string error = "no data", info = "{\"steps\": 2}", parts = "{\"style\": 0.5}";
  if (is(completion, "error")) {
    out->error = text(error);
    return 0;
  }
  std::ofstream(state->log, std::ios::app) << std::string(completion.data, completion.size) << "\n";
  out->score = answer.size == problem->answer.size &&
               std::memcmp(answer.data, problem->answer.data, answer.size) == 0 &&
               finish == ZEROTH_FINISH_STOP;
  static const std::string levels(200000, '[');
  static const std::string deep = "/* \" */" + levels + std::string(levels.size(), ']');
  out->info = text(is(completion, "deep") ? deep : info);
  out->parts = text(parts);
  return 0;
}

// Counts the turns; "more" goes on, "fail" and "nan" are faults, all else ends the episode.
int step(void* state, const zeroth_problem*, size_t count, const zeroth_turn* turns,
         zeroth_text reply, int, zeroth_step* out) {
  static std::string words, facts = "{\"steps\": 1}";
  const std::string said(reply.data, reply.size);
  if (said == "fail") return 3;
  out->reward = said == "nan" ? NAN : static_cast<double>(count);
  out->done = said != "more";
  words = "turn " + std::to_string(count + 1);
  for (size_t i = 0; i < count; ++i)
    words += " " + std::string(turns[i].reply.data, turns[i].reply.size) + "/" +
             std::string(turns[i].observation.data, turns[i].observation.size);
  out->observation = text(words);
  out->info = text(facts);
  return state == nullptr;
}

const zeroth_plugin kPlugin = {ZEROTH_PLUGIN_ABI,
                               sizeof(zeroth_plugin),
                               "library",
                               open_state,
                               close_state,
                               count,
                               problem,
                               grade,
                               nullptr,
                               step,
                               4};

}  // namespace

extern "C" const zeroth_plugin* zeroth_plugin_v1(void) { return &kPlugin; }
