// Any bytes as tokenizer file and as text: an Error or a tokenizer that encodes and decodes, no
// crash, no sanitizer report, no hang (run with -timeout). The first byte picks the kind of file;
// the file ends at the first zero byte, the text follows.
#include <cstdint>
#include <string>

#include "core/error.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_bpe.h"
#include "text/tokenizer_file.h"
#include "text/tokenizer_regex.h"
#include "text/tokenizer_unicode.h"

namespace {

using namespace zeroth;

void use(const Tokenizer& tokenizer, const std::string& text) {
  for (const bool special : {false, true}) {
    const auto ids = tokenizer.encode(text, special);
    for (const TokenId id : ids) {
      if (id < 0 || id >= tokenizer.vocab_size()) __builtin_trap();
      tokenizer.token_bytes(id);
    }
    tokenizer.decode(ids, special);
  }
}

void run(uint8_t kind, const std::string& file, const std::string& text) {
  if (kind % 4 == 0) {
    use(BpeTokenizer(parse_tokenizer_json(file, "fuzz"), "fuzz"), text);
  } else if (kind % 4 == 1) {
    use(SentencePieceTokenizer(parse_sentencepiece_model(file, "fuzz"), "fuzz"), text);
  } else if (kind % 4 == 2) {
    std::vector<Span> spans;
    Regex::compile(file, "fuzz").find_all(text.substr(0, valid_utf8_prefix(text)), spans);
  } else {
    TokenizerFile parts;
    parts.rest = {{"model", {{"type", "BPE"}}}, {"pre_tokenizer", {{"type", "ByteLevel"}}}};
    parts.vocabulary = parse_vocab_json(file, "fuzz");
    parts.merges = parse_merges_txt(text, "fuzz");
    use(BpeTokenizer(std::move(parts), "fuzz"), text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string all(reinterpret_cast<const char*>(data + 1), size - 1);
  // A SentencePiece model is full of zeros: its text comes first.
  const bool text_first = data[0] % 4 == 1;
  const size_t cut = std::min(all.find('\0'), all.size());
  const std::string head = all.substr(0, cut);
  const std::string tail = cut < all.size() ? all.substr(cut + 1) : "";
  try {
    run(data[0], text_first ? tail : head, text_first ? head : tail);
  } catch (const zeroth::Error&) {
  }
  return 0;
}
