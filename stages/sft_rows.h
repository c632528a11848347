// From a row of a file to tokens and which of them are learnt, as TRL's SFTTrainer makes them
// (trl/trainer/sft_trainer.py of 1.16, _prepare_dataset).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "stages/learnt_row.h"
#include "stages/row_stage.h"
#include "stages/sft_config.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace zeroth {

// Rules seen in TRL: an end token stands behind texts and completions that do not end in it; a text
// gets what the tokenizer puts in front, a chat what its template writes; the prompt of a row is
// what its tokens and those of the whole have in common, the template asked for an answer.
//
// Beyond TRL: a template without {% generation %} is rendered message by message, and the assistant's
// part is what its messages add, up to the last end token in them. Immutable; thread safe.
class RowEncoder {
 public:
  // `loss_on` as in SftDataConfig. The tokenizer outlives it. Throws Error for a template that
  // cannot be run here.
  RowEncoder(const RowsConfig& data, const std::string& loss_on, const PromptConfig& prompt,
             const Tokenizer& tokenizer);

  // Throws Error that names `place`, what is wrong with the row and how to mend it.
  LearntRow encode(const Json& row, const std::string& place) const;

 private:
  LearntRow encode_text(const std::string& text) const;
  LearntRow encode_completion(const Json& row, const std::string& place) const;
  LearntRow encode_messages(const Json& messages, const Json& row, bool assistant_only,
                            const std::string& place) const;
  std::string render(const Json& messages, const Json& row, bool ask, const std::string& place,
                     std::vector<jinja::GenerationSpan>* spans = nullptr) const;
  void learn_assistant(const Json& messages, const Json& row, const std::string& text,
                       const std::vector<jinja::GenerationSpan>& generated, LearntRow& out,
                       const std::string& place) const;
  std::string with_end(const std::string& text) const;

  RowsConfig data_;
  std::string loss_on_;
  const Tokenizer& tokenizer_;
  std::string bos_;
  PromptEncoder prompts_;
  std::string end_text_;  // of the end token; empty: the tokenizer names none
  std::unique_ptr<ChatTemplate> template_;
};

// Rows of a file, encoded and cut to `max_length` (0 = not cut).
struct EncodedRows {
  std::vector<LearntRow> rows;  // of one token too, as TRL keeps them: they are packed with others
  RowCounts counts;
  int64_t targets = 0;        // learnt tokens of all rows that another precedes
  std::string first_without;  // place of the first row without one
};

// Which end of a row of more than `max_length` tokens is kept; whether it was cut.
bool cut_row(LearntRow& row, int64_t max_length, const std::string& truncation);

// With `max_length` rows without a learnt token are left out, as TRL does once it has cut rows.
// Throws Error that names the place of a malformed row, or the file when no row is left.
EncodedRows read_sft_rows(const std::string& path, const RowEncoder& encoder, int64_t max_length,
                          const std::string& truncation);

// Every row alone for "none"; best fit decreasing (arXiv 2404.10830), ties in the order of rows, for
// "bfd" and "bfd_split"; "wrapped". Linear but for the sort and one search a row.
std::vector<PackedRow> pack_rows(std::vector<LearntRow> rows, const std::string& strategy,
                                 int64_t max_length);

}  // namespace zeroth
