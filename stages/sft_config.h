// The config of `zeroth sft`.
#pragma once

#include <string>

#include "stages/row_stage_config.h"

namespace zeroth {

// Rows: {"messages": [..]}, {"prompt", "completion"} as texts or as messages, {"text"}; "tools"
// beside messages.
struct SftDataConfig : RowsConfig {
  std::string loss_on = "auto";
  std::string packing = "none";

  template <class V>
  void fields(V& v) {
    RowsConfig::fields(v);
    v("loss_on", loss_on,
      "learnt tokens: auto = completions, assistant turns of messages, all of a text; completion; "
      "assistant = its turns, of a completion where there is one; turns = its turns in a prompt "
      "too; "
      "all",
      Choice{{"auto", "completion", "assistant", "turns", "all"}});
    v("packing", packing,
      "several rows in one of max_length: bfd = best fit decreasing, longer rows are cut; "
      "bfd_split "
      "= their rest is a row of its own; wrapped = one stream cut every max_length. Rows stay "
      "documents of their own but for wrapped",
      Choice{{"none", "bfd", "bfd_split", "wrapped"}});
  }
};

struct SftConfig : RowStageConfig {
  SftDataConfig data;
  std::string loss = "nll";

  template <class V>
  void fields(V& v) {
    v("data", data, "what is learnt");
    v("loss", loss,
      "nll = mean of -log p over the learnt tokens of an update; dft = of -sg(p) log p (arXiv "
      "2508.05629)",
      Choice{{"nll", "dft"}});
    RowStageConfig::fields(v);
  }
};

}  // namespace zeroth
