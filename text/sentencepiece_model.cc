#include "text/sentencepiece_model.h"

#include <bit>
#include <cmath>

#include "core/error.h"
#include "core/protobuf.h"

namespace zeroth {
namespace {

constexpr size_t kMaxPieces = size_t{1} << 22;

class ModelReader : public WireReader {
 public:
  ModelReader(std::string_view bytes, const std::string& source)
      : WireReader(bytes), source_(source) {}

 private:
  void refuse(const std::string& what) const override {
    fail(
        source_ + ": not a SentencePiece model: " + what + " at byte " + std::to_string(position()),
        "the file may be cut off; fetch it again");
  }

  const std::string& source_;
};

SentencePieceModel::Piece read_piece(std::string_view bytes, size_t id, const std::string& source) {
  SentencePieceModel::Piece piece;
  ModelReader reader(bytes, source);
  for (WireField field; reader.next(field);) {
    if (field.number == 1 && field.type == WireType::kBytes) piece.text = std::string(field.bytes);
    if (field.number == 2 && field.type == WireType::kFixed32) {
      piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
    }
    if (field.number == 3 && field.type == WireType::kVarint) {
      if (field.value < 1 || field.value > 6) {
        fail(source + ": piece " + std::to_string(id) + " has the unknown type " +
                 std::to_string(field.value),
             "types are 1 (normal) to 6 (byte)");
      }
      piece.type = static_cast<PieceType>(field.value);
    }
  }
  if (!std::isfinite(piece.score)) {
    fail(source + ": the score of piece " + std::to_string(id) + " is not finite",
         "fetch the file again");
  }
  return piece;
}

void read_trainer_spec(std::string_view bytes, SentencePieceModel& model,
                       const std::string& source) {
  ModelReader reader(bytes, source);
  for (WireField field; reader.next(field);) {
    if (field.type == WireType::kVarint) {
      if (field.number == 3) {
        if (field.value < 1 || field.value > 4) reader.malformed("an unknown model type");
        model.kind = static_cast<SentencePieceModel::Kind>(field.value);
      }
      if (field.number == 24) model.whitespace_as_suffix = field.value != 0;
      if (field.number == 35) model.byte_fallback = field.value != 0;
    } else if (field.type == WireType::kBytes) {
      if (field.number == 44) model.unk_surface = std::string(field.bytes);
      if (field.number == 46) model.bos_piece = std::string(field.bytes);
      if (field.number == 47) model.eos_piece = std::string(field.bytes);
    }
  }
}

void read_normalizer_spec(std::string_view bytes, SentencePieceModel& model,
                          const std::string& source) {
  ModelReader reader(bytes, source);
  for (WireField field; reader.next(field);) {
    if (field.number == 2 && field.type == WireType::kBytes)
      model.charsmap = std::string(field.bytes);
    if (field.type != WireType::kVarint) continue;
    if (field.number == 3) model.add_dummy_prefix = field.value != 0;
    if (field.number == 4) model.remove_extra_whitespaces = field.value != 0;
    if (field.number == 5) model.escape_whitespaces = field.value != 0;
  }
}

}  // namespace

SentencePieceModel parse_sentencepiece_model(std::string_view bytes, const std::string& source) {
  SentencePieceModel model;
  ModelReader reader(bytes, source);
  for (WireField field; reader.next(field);) {
    if (field.type != WireType::kBytes) continue;
    if (field.number == 1) {
      if (model.pieces.size() >= kMaxPieces) reader.malformed("more than 4194304 pieces");
      model.pieces.push_back(read_piece(field.bytes, model.pieces.size(), source));
    }
    if (field.number == 2) read_trainer_spec(field.bytes, model, source);
    if (field.number == 3) read_normalizer_spec(field.bytes, model, source);
  }
  if (model.pieces.empty()) reader.malformed("no pieces");
  return model;
}

std::string write_sentencepiece_model(const SentencePieceModel& model) {
  WireWriter out;
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    WireWriter message;
    message.bytes(1, piece.text);
    message.fixed32(2, std::bit_cast<uint32_t>(piece.score));
    message.varint(3, static_cast<uint64_t>(piece.type));
    out.bytes(1, message.str());
  }
  WireWriter trainer;
  trainer.varint(3, static_cast<uint64_t>(model.kind));
  trainer.varint(24, model.whitespace_as_suffix);
  trainer.varint(35, model.byte_fallback);
  trainer.bytes(44, model.unk_surface);
  trainer.bytes(46, model.bos_piece);
  trainer.bytes(47, model.eos_piece);
  out.bytes(2, trainer.str());
  WireWriter normalizer;
  normalizer.bytes(1, "identity");
  normalizer.bytes(2, model.charsmap);
  normalizer.varint(3, model.add_dummy_prefix);
  normalizer.varint(4, model.remove_extra_whitespaces);
  normalizer.varint(5, model.escape_whitespaces);
  out.bytes(3, normalizer.str());
  return out.str();
}

}  // namespace zeroth
