// The steps around the model of a tokenizer.json: normalizers rewrite text, pre-tokenizers cut it
// into words, decoders turn spellings back into text. Each follows the step of the same name in
// Hugging Face's tokenizers library (0.23); a step, an option or a value that is not known here
// throws Error naming it and the field. All are immutable and thread safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "text/tokenizer_regex.h"

namespace zeroth {

// Words in order: disjoint ascending spans of `text`. What lies between spans has been dropped.
struct Pieces {
  std::string text;
  std::vector<Span> spans;
  bool opens_text = false;  // the first byte of `text` is the first of the whole input

  std::string_view view(const Span& span) const {
    return std::string_view(text).substr(span.begin, span.end - span.begin);
  }
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual std::string apply(std::string_view text) const = 0;  // valid UTF-8 in and out
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Pieces& pieces) const = 0;
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Rewrites the spellings of consecutive tokens; their concatenation is the text. With `whole`
  // unset the tokens come from the middle of a text, so what belongs to its ends is left alone.
  virtual void apply(std::vector<std::string>& tokens, bool whole) const = 0;
};

// Each returns null for a JSON null. `where` names file and field in errors.
std::unique_ptr<Normalizer> make_normalizer(const Json& json, const std::string& where);
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Json& json, const std::string& where);
std::unique_ptr<Decoder> make_decoder(const Json& json, const std::string& where);

// True when the steps write words in the byte-level alphabet.
bool uses_byte_level(const Json& normalizer, const Json& pre_tokenizer);

// Typed access to the fields of a step; a wrong type throws Error naming `where` and the field.
namespace step_fields {
const Json* find(const Json& json, const char* key, const std::string& where);  // null: absent
bool flag(const Json& json, const char* key, bool fallback, const std::string& where);
std::string text(const Json& json, const char* key, const std::string& where);  // required
int64_t number(const Json& json, const char* key, const std::string& where);    // required, >= 0
// {"String": s} or {"Regex": r}, the latter in Oniguruma's syntax.
Regex pattern(const Json& json, const char* key, const std::string& where);
// Steps of a Sequence under `key`.
const Json& list(const Json& json, const char* key, const std::string& where);
}  // namespace step_fields

}  // namespace zeroth
