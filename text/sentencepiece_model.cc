#include "text/sentencepiece_model.h"

#include <bit>
#include <cmath>

#include "core/error.h"

namespace zeroth {
namespace {

constexpr size_t kMaxPieces = size_t{1} << 22;

// The wire format of protocol buffers (encoding guide, "message structure"): a field is a key
// (number << 3 | wire type) and a value.
class WireReader {
 public:
  WireReader(std::string_view bytes, const std::string& source) : bytes_(bytes), source_(source) {}

  struct Field {
    uint32_t number = 0;
    uint32_t type = 0;       // 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes
    uint64_t value = 0;      // types 0, 1 and 5
    std::string_view bytes;  // type 2
  };

  bool next(Field& field) {
    if (at_ == bytes_.size()) return false;
    const uint64_t key = varint();
    if (key >> 3 == 0 || key >> 3 > 0x1fffffff) malformed("a field number out of range");
    field = {static_cast<uint32_t>(key >> 3), static_cast<uint32_t>(key & 7), 0, {}};
    switch (field.type) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.value = fixed(8);
        break;
      case 5:
        field.value = fixed(4);
        break;
      case 2: {
        const uint64_t length = varint();
        if (length > bytes_.size() - at_) malformed("a field that runs over the end");
        field.bytes = bytes_.substr(at_, length);
        at_ += length;
        break;
      }
      default:
        malformed("wire type " + std::to_string(field.type));
    }
    return true;
  }

  [[noreturn]] void malformed(const std::string& what) const {
    fail(source_ + ": not a SentencePiece model: " + what + " at byte " + std::to_string(at_),
         "the file may be cut off; fetch it again");
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (at_ == bytes_.size()) malformed("an unfinished number");
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    malformed("a number of more than ten bytes");
  }

  uint64_t fixed(size_t size) {
    if (bytes_.size() - at_ < size) malformed("an unfinished number");
    uint64_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes_[at_ + i])) << (8 * i);
    }
    at_ += size;
    return value;
  }

  std::string_view bytes_;
  const std::string& source_;
  size_t at_ = 0;
};

SentencePieceModel::Piece read_piece(std::string_view bytes, size_t id, const std::string& source) {
  SentencePieceModel::Piece piece;
  WireReader reader(bytes, source);
  for (WireReader::Field field; reader.next(field);) {
    if (field.number == 1 && field.type == 2) piece.text = std::string(field.bytes);
    if (field.number == 2 && field.type == 5) {
      piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
    }
    if (field.number == 3 && field.type == 0) {
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
  WireReader reader(bytes, source);
  for (WireReader::Field field; reader.next(field);) {
    if (field.type == 0) {
      if (field.number == 3) {
        if (field.value < 1 || field.value > 4) reader.malformed("an unknown model type");
        model.kind = static_cast<SentencePieceModel::Kind>(field.value);
      }
      if (field.number == 24) model.whitespace_as_suffix = field.value != 0;
      if (field.number == 35) model.byte_fallback = field.value != 0;
    } else if (field.type == 2) {
      if (field.number == 44) model.unk_surface = std::string(field.bytes);
      if (field.number == 46) model.bos_piece = std::string(field.bytes);
      if (field.number == 47) model.eos_piece = std::string(field.bytes);
    }
  }
}

void read_normalizer_spec(std::string_view bytes, SentencePieceModel& model,
                          const std::string& source) {
  WireReader reader(bytes, source);
  for (WireReader::Field field; reader.next(field);) {
    if (field.number == 2 && field.type == 2) model.charsmap = std::string(field.bytes);
    if (field.type != 0) continue;
    if (field.number == 3) model.add_dummy_prefix = field.value != 0;
    if (field.number == 4) model.remove_extra_whitespaces = field.value != 0;
    if (field.number == 5) model.escape_whitespaces = field.value != 0;
  }
}

}  // namespace

SentencePieceModel parse_sentencepiece_model(std::string_view bytes, const std::string& source) {
  SentencePieceModel model;
  WireReader reader(bytes, source);
  for (WireReader::Field field; reader.next(field);) {
    if (field.type != 2) continue;
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

namespace {

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7f));
  out += static_cast<char>(value);
}

void append_number(std::string& out, uint32_t field, uint64_t value) {
  append_varint(out, field << 3);
  append_varint(out, value);
}

void append_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  append_varint(out, field << 3 | 2);
  append_varint(out, bytes.size());
  out += bytes;
}

}  // namespace

std::string write_sentencepiece_model(const SentencePieceModel& model) {
  std::string out;
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    std::string message;
    append_bytes(message, 1, piece.text);
    append_varint(message, 2 << 3 | 5);
    const auto score = std::bit_cast<uint32_t>(piece.score);
    for (int i = 0; i < 4; ++i) message += static_cast<char>(score >> (8 * i) & 255);
    append_number(message, 3, static_cast<uint64_t>(piece.type));
    append_bytes(out, 1, message);
  }
  std::string trainer;
  append_number(trainer, 3, static_cast<uint64_t>(model.kind));
  append_number(trainer, 24, model.whitespace_as_suffix);
  append_number(trainer, 35, model.byte_fallback);
  append_bytes(trainer, 44, model.unk_surface);
  append_bytes(trainer, 46, model.bos_piece);
  append_bytes(trainer, 47, model.eos_piece);
  append_bytes(out, 2, trainer);
  std::string normalizer;
  append_bytes(normalizer, 1, "identity");
  append_bytes(normalizer, 2, model.charsmap);
  append_number(normalizer, 3, model.add_dummy_prefix);
  append_number(normalizer, 4, model.remove_extra_whitespaces);
  append_number(normalizer, 5, model.escape_whitespaces);
  append_bytes(out, 3, normalizer);
  return out;
}

}  // namespace zeroth
