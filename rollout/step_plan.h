// What one forward call of the engine computes and draws: the scheduler's orders and what came of
// them. Plain data.
#pragma once

#include <cstdint>
#include <vector>

#include "core/trajectory.h"
#include "kernels/ops.h"

namespace zeroth {

// One token to draw after the forward call of a step.
struct Draw {
  int sequence;  // index of add() order
  int request;
  int row;  // row of the step that it continues; -1: the last prompt row, kept by the caller
  // Tokens of a draft that its row is behind; the draws of a sequence stand together, in order. It
  // counts only if those before it drew the tokens of the draft (StepPlan::tokens of their rows).
  int ahead = 0;
};

// One forward call. Copies come first, then the rows (laid out as ForwardBatch wants them), then
// the kept prompt rows are saved, then the draws are made.
struct StepPlan {
  struct Copy {
    int32_t from, to;
  };
  struct PromptRow {
    int request, row;
  };
  std::vector<Copy> copies;
  std::vector<TokenId> tokens;
  std::vector<int32_t> positions;
  std::vector<int32_t> sequence;
  // By the indices in `sequence`: whose rows they are; sequence -1: the request's prompt.
  struct Source {
    int request, sequence;
  };
  std::vector<Source> sources;
  std::vector<int32_t> page_table;
  std::vector<int32_t> page_begin;
  std::vector<kernels::KvWrite> writes;
  std::vector<PromptRow> prompt_rows;  // hidden rows that later draws with row == -1 continue
  std::vector<Draw> draws;
  int64_t prefill_rows = 0;  // rows that are neither the newest token of a sequence nor a draft
  void clear();
};

struct Outcome {
  TokenId token;
  bool finished;
  bool drawn = true;  // false: a draw behind a draft that did not come true, or behind the end
};

}  // namespace zeroth
