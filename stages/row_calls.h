// Packed rows as forward calls.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "policy/scoring.h"
#include "stages/learnt_row.h"

namespace zeroth {

// One forward call. The responses are the tokens from the first learnt one of a document to its
// last; those between that are not learnt have learnt = 0.
struct RowCall {
  TargetBatch batch;
  std::vector<char> learnt;         // [responses]
  std::vector<int64_t> document;    // [responses] index among the documents of all rows, in order
  int64_t first_row = 0, rows = 0;  // the packed rows of the call
};

// Calls of about `micro_batch_tokens` tokens that hold whole packed rows, each a part, so that the
// cut changes no bit of a gradient. Rows without a learnt token are in no call.
std::vector<RowCall> lay_calls(std::span<const PackedRow* const> rows, int64_t micro_batch_tokens);

// Log-probs of the responses [responses], without what a backward would need.
void score_call(Scorer& scorer, const Weights& weights, const RowCall& call,
                std::vector<float>& logprob);

// The rows, as lay_calls() takes them.
std::vector<const PackedRow*> pointers(const std::vector<PackedRow>& rows);
int64_t tokens_of(const PackedRow& row);
int64_t targets_of(const PackedRow& row);
int64_t documents_of(std::span<const PackedRow* const> rows);

}  // namespace zeroth
