// Makes small byte-level BPE tokenizers: the shipped base checkpoint uses one, so do toy studies.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace zeroth {

// Ids: specials, tags, the 256 bytes, numbers from 10 up, words, then merges in the order learned.
// Every text round-trips through encode and decode (texts that spell a special aside).
struct TokenizerSpec {
  // Tokens that decode leaves out; the first one ends a text. At least one.
  std::vector<std::string> specials = {"<|endoftext|>"};
  // One token wherever they appear in a text, and kept by decode: <think>, </answer>.
  std::vector<std::string> tags;
  // One token where they stand alone: no letter touches an end that is a letter, no digit an end
  // that is a digit. " the" and "the" are different words.
  std::vector<std::string> words;
  // 0..max_number are one token each; other runs of digits are a token a digit. -1: none.
  int max_number = -1;
  // Merges to learn from a corpus. Learned tokens hold no digits, and letters with at most one
  // space before them.
  int merges = 0;
};

// Calls its argument with each text of a corpus, any number of times over.
using TextSource = std::function<void(const std::function<void(std::string_view)>&)>;

// A tokenizer.json that Tokenizer::load and Hugging Face's tokenizers read alike. With
// spec.merges > 0, `corpus` is read once and pairs are merged greedily (Sennrich et al., 2016,
// algorithm 1): the most frequent pair first, of equals the one with the smaller ids; fewer merges
// come out when no pair occurs twice. A pure function of its arguments. Throws Error(kUsage) on
// empty, repeated or malformed entries.
std::string build_tokenizer_json(const TokenizerSpec& spec, const TextSource& corpus = nullptr);

// The tokenizer_config.json that belongs beside it.
std::string build_tokenizer_config(const TokenizerSpec& spec);

}  // namespace zeroth
