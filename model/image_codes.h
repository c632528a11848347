// Codes of images beside the tokens of text, as Janus-Pro has them (Chen et al., "Janus-Pro", 2025,
// section 2): an embedding and a head of their own around the same decoder.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/trajectory.h"
#include "model/config.h"

namespace zeroth {

// What a model draws. Code c is the token id text_vocab + c, so a sequence is one list of ids: text,
// the token that begins an image, then rows * columns codes, row by row.
struct ImageCodes {
  int codes = 0;       // 0: the model draws nothing
  int code_width = 0;  // of gen_embed
  int head_width = 0;  // image_token_embed: between the two matrices of gen_head
  int text_vocab = 0;  // ids below are text
  TokenId begin = -1;  // begins an image; what is drawn behind it, or behind a code, is a code
  TokenId pad = -1;    // stands for the prompt where there is none
  int rows = 0, columns = 0;
  // Classifier-free guidance (Ho and Salimans, 2022): logits are u + guidance (c - u), with u those
  // behind a prompt of padding. This is the policy: samples are drawn from it, log-probs are its.
  float guidance = 1;

  bool present() const { return codes > 0; }
  bool guided() const { return present() && guidance != 1; }
  int cells() const { return rows * columns; }
  bool is_code(TokenId id) const { return present() && id >= text_vocab; }
  // Whether a code is what comes behind this token.
  bool before_code(TokenId id) const { return present() && (id == begin || id >= text_vocab); }
  // What stands in the place of a token where there is no prompt. As in Janus-Pro's own sampling the
  // first token of a sequence stays.
  TokenId without_prompt(TokenId id, int32_t position) const {
    return position == 0 || before_code(id) ? id : pad;
  }
  bool operator==(const ImageCodes&) const = default;
};

// Of a config that PolicyConfig::from_json has read; its file has them in "image_generation"
// (docs/images.md).
ImageCodes image_codes(const PolicyConfig& config);
// The model's ids that are text: vocab_size counts those of codes, too.
int text_vocab(const PolicyConfig& config);
// Values of a row that forward leaves: config.width, or what the rows of images need, too
// (policy/image_rows.h).
int64_t hidden_width(const PolicyConfig& config);

// For PolicyConfig::from_json: whether the file `whole` around a text model says that codes are to
// be read, and then makes `text`, which was read from it, the config of both. Errors are those of
// from_json.
bool asks_for_image_codes(const Json& whole);
void add_image_codes(const Json& whole, const std::string& source, PolicyConfig& text);
// The part of config.source that is the text model's own.
Json& text_source(PolicyConfig& config);

// How often a code stands at the end of prompt + tokens, and whether that makes an image whole.
bool image_ends(const ImageCodes& codes, std::span<const TokenId> prompt,
                std::span<const TokenId> tokens);

// Throws a usage Error for models with image codes: "WHAT does not know image codes".
void refuse_image_codes(const PolicyConfig& config, const char* what);

}  // namespace zeroth
