// The contents of a SentencePiece model (Kudo and Richardson, "SentencePiece", 2018; the messages
// of sentencepiece_model.proto), read from tokenizer.model by a bounded reader of its own: the file
// is untrusted, and the same tables also come out of GGUF files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace zeroth {

enum class PieceType { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

struct SentencePieceModel {
  struct Piece {
    std::string text;
    float score = 0;  // a merge with a higher score comes first
    PieceType type = PieceType::kNormal;
  };
  std::vector<Piece> pieces;  // by id

  enum class Kind { kUnigram = 1, kBpe, kWord, kChar } kind = Kind::kUnigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::string unk_surface = " \xe2\x81\x87 ";  // what an unknown piece decodes to
  std::string bos_piece = "<s>";
  std::string eos_piece = "</s>";

  std::string charsmap;  // precompiled normalization rules, empty for none
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

// Throws Error naming `source` on a truncated or malformed file.
SentencePieceModel parse_sentencepiece_model(std::string_view bytes, const std::string& source);

// The inverse: a tokenizer.model that the sentencepiece library loads.
std::string write_sentencepiece_model(const SentencePieceModel& model);

}  // namespace zeroth
