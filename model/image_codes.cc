#include "model/image_codes.h"

#include <algorithm>
#include <span>
#include <string>

#include "core/error.h"
#include "model/config_parts.h"
#include "model/config_reader.h"

namespace zeroth {
namespace {

constexpr const char* kKey = "image_generation";
constexpr const char* kLanguage = "language_config";

// Where classes and sizes of the parts stand: {"cls": .., "params": {..}}.
ConfigReader params_of(const ConfigReader& whole, const char* part, const std::string& cls) {
  const ConfigReader in = whole.object(part);
  const std::string found = in.text({"cls"}, cls);
  if (found != cls) in.bad("cls", "is '" + found + "'", "use " + cls);
  return in.object("params");
}

void check_equal(const ConfigReader& in, const char* key, int64_t wanted, const char* why) {
  const int found = in.integer({key}, std::nullopt, 1, kMaxVocab);
  if (found == wanted) return;
  in.bad(key, "is " + std::to_string(found), "use " + std::to_string(wanted) + ", " + why);
}

ImageCodes read_codes(const Json& whole, const std::string& source, const PolicyConfig& text) {
  const ConfigReader top(whole, source);
  ImageCodes out;
  out.text_vocab = text.vocab_size;
  const ConfigReader vision = top.object("gen_vision_config").object("params");
  out.codes = vision.integer({"image_token_size"}, std::nullopt, 2, kMaxVocab - text.vocab_size);
  out.code_width = vision.integer({"n_embed"}, std::nullopt, 1, kMaxSize);

  const ConfigReader aligner = params_of(top, "gen_aligner_config", "MlpProjector");
  const std::string type = aligner.text({"projector_type"}, "mlp_gelu");
  if (type != "mlp_gelu") aligner.bad("projector_type", "is '" + type + "'", "use mlp_gelu");
  check_equal(aligner, "depth", 2, "the only depth that is read");
  check_equal(aligner, "input_dim", out.code_width, "the n_embed of gen_vision_config");
  check_equal(aligner, "n_embed", text.width, "the language model's hidden_size");

  const ConfigReader head = params_of(top, "gen_head_config", "vision_head");
  check_equal(head, "n_embed", text.width, "the language model's hidden_size");
  check_equal(head, "image_token_size", out.codes, "that of gen_vision_config");
  out.head_width = head.integer({"image_token_embed"}, std::nullopt, 1, kMaxSize);

  const ConfigReader own = top.object(kKey);
  out.begin = own.integer({"begin_token_id"}, std::nullopt, 0, text.vocab_size - 1);
  out.pad = own.integer({"pad_token_id"}, std::nullopt, 0, text.vocab_size - 1);
  if (out.pad == out.begin) {
    own.bad("pad_token_id", "is " + std::to_string(out.pad) + ", as begin_token_id",
            "padding must not begin an image: use another token");
  }
  out.rows = own.integer({"rows"}, std::nullopt, 1, 4096);
  out.columns = own.integer({"columns"}, std::nullopt, 1, 4096);
  if (out.cells() >= text.max_position) {
    own.bad("rows", "times columns is " + std::to_string(out.cells()) + " codes",
            "an image must fit into max_position_embeddings = " +
                std::to_string(text.max_position) + ", with a prompt in front of it");
  }
  out.guidance = static_cast<float>(own.real({"guidance"}, 1, 0, 100));
  for (const auto& [key, value] : own.items()) {
    static const std::vector<std::string> known = {"begin_token_id", "pad_token_id", "rows",
                                                   "columns", "guidance"};
    if (std::find(known.begin(), known.end(), key) == known.end())
      own.bad(key, "is no key of it", "use begin_token_id, pad_token_id, rows, columns, guidance");
  }
  return out;
}

}  // namespace

bool asks_for_image_codes(const Json& whole) {
  return whole.is_object() && whole.contains(kKey) && !whole[kKey].is_null();
}

void add_image_codes(const Json& whole, const std::string& source, PolicyConfig& text) {
  if (text.family != Family::kLlama || !whole.contains(kLanguage)) {
    fail_usage(source + ": '" + kKey + "' beside a " + to_string(text.family) + " text model",
               "image codes are read of MultiModalityCausalLM with a llama language_config");
  }
  const ImageCodes codes = read_codes(whole, source, text);
  text.source = whole;
  text.vocab_size += codes.codes;
  // Layout and reader know the text model's names; those of codes keep theirs.
  for (const char* own : {"gen_embed.", "gen_aligner.", "gen_head."})
    text.names.push_back({own, own});
}

ImageCodes image_codes(const PolicyConfig& config) {
  const Json& whole = config.source;
  if (!asks_for_image_codes(whole)) return {};
  const auto integer = [](const Json& from, const char* key) { return from.at(key).get<int>(); };
  const Json& own = whole.at(kKey);
  const Json& vision = whole.at("gen_vision_config").at("params");
  ImageCodes out;
  out.codes = integer(vision, "image_token_size");
  out.code_width = integer(vision, "n_embed");
  out.head_width = integer(whole.at("gen_head_config").at("params"), "image_token_embed");
  out.text_vocab = config.vocab_size - out.codes;
  out.begin = integer(own, "begin_token_id");
  out.pad = integer(own, "pad_token_id");
  out.rows = integer(own, "rows");
  out.columns = integer(own, "columns");
  const auto guidance = own.find("guidance");
  if (guidance != own.end() && !guidance->is_null())
    out.guidance = static_cast<float>(guidance->get<double>());
  return out;
}

int text_vocab(const PolicyConfig& config) { return config.vocab_size - image_codes(config).codes; }

int64_t hidden_width(const PolicyConfig& config) {
  const ImageCodes codes = image_codes(config);
  if (!codes.present()) return config.width;
  // Features with the one that multiplies the bias, or a row of text; then which of both it is.
  const int64_t row = std::max<int64_t>(config.width, codes.head_width + 1) + 1;
  return (row + 15) / 16 * 16;
}

Json& text_source(PolicyConfig& config) {
  return asks_for_image_codes(config.source) ? config.source.at(kLanguage) : config.source;
}

bool image_ends(const ImageCodes& codes, std::span<const TokenId> prompt,
                std::span<const TokenId> tokens) {
  if (tokens.empty() || !codes.is_code(tokens.back())) return false;
  const auto behind_text = [&](std::span<const TokenId> ids) {
    int64_t n = 0;
    for (size_t i = ids.size(); i-- > 0 && codes.is_code(ids[i]);) ++n;
    return n;
  };
  int64_t n = behind_text(tokens);
  if (n == static_cast<int64_t>(tokens.size())) n += behind_text(prompt);
  return n >= codes.cells();
}

void refuse_image_codes(const PolicyConfig& config, const char* what) {
  if (!asks_for_image_codes(config.source)) return;
  fail_usage(std::string(what) + " does not know image codes, which this model has",
             "take \"image_generation\" out of its config.json: then it is the text model alone");
}

}  // namespace zeroth
