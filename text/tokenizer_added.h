// Added tokens: texts that are one token wherever they appear, looked for before the model sees the
// text. Follows AddedVocabulary of Hugging Face's tokenizers library (0.23).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/bpe.h"
#include "text/tokenizer_regex.h"
#include "text/tokenizer_steps.h"

namespace zeroth {

struct AddedToken {
  std::string content;
  bool single_word = false;  // only between non-word characters
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and behind it
  bool normalized = false;   // looked for in the normalized text, in its own normalized form
  bool special = false;      // left out by decode
};

// Leftmost-longest search for a set of texts. Thread safe after the last add.
class TextTrie {
 public:
  void add(std::string_view text, int value);  // of equal texts the first stays
  bool empty() const { return nodes_.size() == 1; }
  // The longest text at the start of `text`: its value (-1: none) and length.
  std::pair<int, size_t> longest(std::string_view text) const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, int>> children;  // ascending bytes
    int value = -1;
  };
  std::vector<Node> nodes_ = std::vector<Node>(1);
};

class AddedTokens {
 public:
  // Gives the token the id of `vocabulary` when that holds its content, else the next free id (as
  // the library does, whatever the file says). A token added before or without content is ignored.
  void add(const AddedToken& token, const Vocabulary& vocabulary);
  // Builds the search; once, after the last add. `normalizer` may be null; from here on the content
  // of a token with `normalized` is its normalized form.
  void finish(const Normalizer* normalizer);

  // A part of a text: an added token (id >= 0) or plain text between them.
  struct Part {
    Span span;
    TokenId id;
  };
  // Cuts `text` at tokens whose `normalized` flag equals the argument. Special tokens are passed
  // over unless `special`.
  std::vector<Part> split(std::string_view text, bool normalized, bool special) const;

  const AddedToken* find(TokenId id) const;       // null: not an added token
  TokenId id_of(std::string_view content) const;  // by the content that was added; -1: none
  TokenId end() const { return end_; }            // largest id + 1, 0 without tokens

 private:
  std::vector<AddedToken> tokens_;
  std::vector<TokenId> ids_;  // of tokens_
  std::unordered_map<TokenId, size_t> by_id_;
  std::unordered_map<std::string, size_t> by_content_;
  TextTrie tries_[2];  // [normalized] -> index into tokens_
  TokenId end_ = 0;
};

}  // namespace zeroth
