#include "stages/row_calls.h"

#include <algorithm>

namespace zeroth {
namespace {

// The tokens that a document's learnt ones lie among: [first, end), first >= 1.
struct Scored {
  int64_t first = 0, end = 0;
};

Scored scored(const LearntRow& document) {
  const auto last = std::find(document.learnt.rbegin(), document.learnt.rend(), 1);
  const auto first = std::find(document.learnt.begin() + 1, document.learnt.end(), 1);
  return {first - document.learnt.begin(), document.learnt.rend() - last};
}

bool same_prompt(const LearntRow& a, const LearntRow& b) {
  const int64_t first = scored(a).first;
  return first > 1 && scored(b).first == first &&
         std::equal(a.tokens.begin(), a.tokens.begin() + first - 1, b.tokens.begin());
}

// Documents of a row; neighbours of one prompt are a group, which computes it once.
void add_documents(const PackedRow& row, int64_t index, RowCall& call) {
  for (size_t begin = 0, end = 0; begin < row.size(); begin = end) {
    end = begin + 1;
    if (row[begin].targets() == 0) continue;
    while (end < row.size() && row[end].targets() > 0 && same_prompt(row[begin], row[end])) ++end;
    std::vector<std::span<const TokenId>> children;
    for (size_t d = begin; d < end; ++d) {
      const Scored part = scored(row[d]);
      const std::span all(row[d].tokens);
      children.push_back(all.subspan(part.first - 1, part.end - part.first));
      call.batch.target.insert(call.batch.target.end(), all.begin() + part.first,
                               all.begin() + part.end);
      call.learnt.insert(call.learnt.end(), row[d].learnt.begin() + part.first,
                         row[d].learnt.begin() + part.end);
      call.document.insert(call.document.end(), children.back().size(),
                           index + static_cast<int64_t>(d));
    }
    const std::span<const TokenId> prompt(row[begin].tokens);
    call.batch.packed.add_group(prompt.first(scored(row[begin]).first - 1), children);
  }
}

}  // namespace

void score_call(Scorer& scorer, const Weights& weights, const RowCall& call,
                std::vector<float>& logprob) {
  logprob.resize(call.batch.target.size());
  scorer.forward(weights, call.batch);
  scorer.score(weights, call.batch, call.batch.responses(), logprob.data(), nullptr);
}

std::vector<const PackedRow*> pointers(const std::vector<PackedRow>& rows) {
  std::vector<const PackedRow*> out(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) out[i] = &rows[i];
  return out;
}

int64_t tokens_of(const PackedRow& row) {
  int64_t tokens = 0;
  for (const LearntRow& document : row) tokens += static_cast<int64_t>(document.tokens.size());
  return tokens;
}

int64_t targets_of(const PackedRow& row) {
  int64_t targets = 0;
  for (const LearntRow& document : row) targets += document.targets();
  return targets;
}

int64_t documents_of(std::span<const PackedRow* const> rows) {
  int64_t documents = 0;
  for (const PackedRow* row : rows) documents += static_cast<int64_t>(row->size());
  return documents;
}

std::vector<RowCall> lay_calls(std::span<const PackedRow* const> rows, int64_t micro_batch_tokens) {
  std::vector<RowCall> calls;
  int64_t used = 0, document = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t first = document;
    document += static_cast<int64_t>(rows[i]->size());
    if (targets_of(*rows[i]) == 0) continue;
    const int64_t tokens = tokens_of(*rows[i]);
    if (calls.empty() || used + tokens > micro_batch_tokens) {
      calls.emplace_back();
      calls.back().first_row = static_cast<int64_t>(i);
      used = 0;
    }
    used += tokens;
    RowCall& call = calls.back();
    call.rows = static_cast<int64_t>(i) + 1 - call.first_row;
    call.batch.packed.begin_part();
    add_documents(*rows[i], first, call);
  }
  for (RowCall& call : calls) {
    call.batch.packed.finish();
    call.batch.temperature.assign(call.batch.target.size(), 1.0f);
  }
  return calls;
}

}  // namespace zeroth
