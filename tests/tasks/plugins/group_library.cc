// A shared-library plug-in that sees whole groups: the score is the share of the others that are
// shorter.
#include <string>
#include <vector>

#include "tasks/plugins/plugin_abi.h"

namespace {

std::vector<std::string> g_facts;  // valid until the next call

int64_t count(void*, int) { return 2; }

int problem(void*, int, int64_t, zeroth_problem* out) {
  static const std::string prompt = "write", answer = "a";
  out->prompt = {prompt.data(), prompt.size()};
  out->answer = {answer.data(), answer.size()};
  return 0;
}

int grade(void*, const zeroth_problem*, zeroth_text, zeroth_text, int, zeroth_result*) { return 9; }

int grade_group(void*, const zeroth_problem*, size_t count, const zeroth_text* completions,
                const zeroth_text*, const int*, zeroth_result* out) {
  g_facts.assign(count, "{\"seen\": " + std::to_string(count) + "}");
  for (size_t i = 0; i < count; ++i) {
    size_t shorter = 0;
    for (size_t k = 0; k < count; ++k) shorter += completions[k].size < completions[i].size;
    out[i].score = count < 2 ? 0 : static_cast<double>(shorter) / static_cast<double>(count - 1);
    out[i].info = {g_facts[i].data(), g_facts[i].size()};
  }
  return 0;
}

const zeroth_plugin kPlugin = {ZEROTH_PLUGIN_ABI,
                               sizeof(zeroth_plugin),
                               "ranks",
                               nullptr,
                               nullptr,
                               count,
                               problem,
                               grade,
                               grade_group,
                               nullptr,
                               0};

}  // namespace

extern "C" const zeroth_plugin* zeroth_plugin_v1(void) { return &kPlugin; }
