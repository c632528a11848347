#include "text/special_tokens.h"

#include <algorithm>

#include "core/config.h"
#include "core/error.h"
#include "text/tokenizer.h"
#include "text/tokenizer_source.h"

namespace zeroth {
namespace {

constexpr const char* kNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};

// What a tokenizer class of transformers has where its config says nothing.
struct ClassDefaults {
  const char* prefix;  // of tokenizer_class
  const char* bos;
  const char* eos;
  const char* unk;
};
constexpr ClassDefaults kClasses[] = {
    {"LlamaTokenizer", "<s>", "</s>", "<unk>"},
    {"CodeLlamaTokenizer", "<s>", "</s>", "<unk>"},
    {"GemmaTokenizer", "<bos>", "<eos>", "<unk>"},
    {"GPT2Tokenizer", "<|endoftext|>", "<|endoftext|>", "<|endoftext|>"},
    {"Qwen2Tokenizer", "", "<|endoftext|>", "<|endoftext|>"},
};

class Reader {
 public:
  Reader(const Tokenizer& tokenizer, const std::map<std::string, std::string>& files,
         const Json& model_config, const std::string& where)
      : tokenizer_(tokenizer),
        model_config_(model_config),
        where_(where),
        settings_(file(files, "tokenizer_config.json")),
        map_(file(files, "special_tokens_map.json")),
        generation_(file(files, "generation_config.json")),
        slow_(files.contains("vocab.json") && !files.contains("tokenizer.json")),
        ranks_(holds_byte_pairs(files) && !files.contains("tokenizer.json") &&
               !files.contains("vocab.json")) {
    out_ = tokenizer.special();
    out_.texts = Json::object();
  }

  SpecialTokens run(const Json& post_processor) {
    read_texts();
    read_ends();
    read_begin();
    read_around(post_processor);
    return std::move(out_);
  }

 private:
  Json file(const std::map<std::string, std::string>& files, const char* name) const {
    const auto at = files.find(name);
    if (at == files.end()) return Json::object();
    Json json = parse_json(at->second, where_ + "/" + name);
    if (!json.is_object()) {
      fail(where_ + "/" + name + ": expected an object, got " + json.type_name());
    }
    return json;
  }

  void note(std::string text) { out_.notes.push_back(std::move(text)); }

  void read_texts() {
    for (const Json* source : {&map_, &settings_}) {  // the later wins
      for (const char* name : kNames) {
        const auto at = source->find(name);
        if (at == source->end()) continue;
        out_.named = true;
        const std::string text = token_content(*at);
        if (text.empty()) {
          out_.texts.erase(name);
        } else {
          out_.texts[name] = text;
        }
      }
    }
    const auto type = settings_.find("tokenizer_class");
    const std::string type_name = type == settings_.end() ? "" : token_content(*type);
    out_.named = out_.named || !type_name.empty();
    for (const ClassDefaults& known : kClasses) {
      if (!type_name.starts_with(known.prefix)) continue;
      fill("bos_token", known.bos);
      fill("eos_token", known.eos);
      fill("unk_token", known.unk);
    }
    // vocab.json and merges.txt alone are GPT-2's or Qwen2's layout.
    if (slow_ && type_name.empty() && tokenizer_.token_id("<|endoftext|>") >= 0) {
      fill("eos_token", "<|endoftext|>");
    }
    // Files of ranks (text/tokenizer_ranks.h) come with programs that know these.
    if (ranks_) {
      for (const auto& [begin, end] :
           {std::pair("<s>", "</s>"), std::pair("<|begin_of_text|>", "<|end_of_text|>")}) {
        if (tokenizer_.token_id(begin) < 0 || tokenizer_.token_id(end) < 0) continue;
        fill("bos_token", begin);
        fill("eos_token", end);
        out_.named = true;
      }
    }
  }

  // A default, where no file says anything about the name.
  void fill(const char* name, const std::string& text) {
    if (!text.empty() && !settings_.contains(name) && !map_.contains(name)) out_.texts[name] = text;
  }

  // Token ids under `key`: a number or a list of numbers. Those without a token are said and left
  // out.
  std::vector<TokenId> ids(const Json& json, const char* key, const char* file) {
    std::vector<TokenId> out;
    const auto value = json.find(key);
    if (value == json.end() || value->is_null()) return out;
    const auto add = [&](const Json& item) {
      const std::string place = where_ + "/" + file + ": " + key;
      if (!item.is_number_integer() || item.get<double>() > INT32_MAX) {
        fail(place + ": \"" + item.dump(-1, ' ', true) + "\" is no token id",
             "a token id or a list of token ids belongs there");
      }
      const auto id = item.get<int64_t>();
      if (id < 0 || id >= tokenizer_.vocab_size()) {
        note(std::string(file) + " names " + key + " " + std::to_string(id) +
             ", which is no token of this tokenizer (0.." +
             std::to_string(tokenizer_.vocab_size() - 1) + "): left out");
      } else {
        out.push_back(static_cast<TokenId>(id));
      }
    };
    if (value->is_array()) {
      for (const Json& item : *value) add(item);
    } else {
      add(*value);
    }
    return out;
  }

  // The id of a named token, none when it has no name or the vocabulary lacks it.
  std::vector<TokenId> named(const char* name) {
    const auto at = out_.texts.find(name);
    if (at == out_.texts.end()) return {};
    const TokenId id = tokenizer_.token_id(at->get<std::string>());
    if (id >= 0) return {id};
    if (settings_.contains(name)) {
      note(std::string("tokenizer_config.json names ") + name + " " + at->dump() +
           ", which the vocabulary lacks: left out");
    }
    return {};
  }

  std::string shown(const std::vector<TokenId>& list) const {
    std::string out;
    for (const TokenId id : list) {
      out += (out.empty() ? "" : ", ") + std::to_string(id) + " " +
             Json(tokenizer_.token_text(id)).dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    return out;
  }

  void read_ends() {
    const struct {
      const char* file;
      std::vector<TokenId> ids;
    } sources[] = {
        {"the tokenizer", named("eos_token")},
        {"generation_config.json", ids(generation_, "eos_token_id", "generation_config.json")},
        {"config.json", ids(model_config_, "eos_token_id", "config.json")}};
    std::vector<TokenId> all;
    std::string text;
    bool differ = false;
    const std::vector<TokenId>* first = nullptr;
    for (const auto& source : sources) {
      if (source.ids.empty()) continue;
      text += std::string(text.empty() ? "" : "; ") + source.file + ": " + shown(source.ids);
      differ = differ || (first != nullptr && *first != source.ids);
      if (first == nullptr) first = &source.ids;
      for (const TokenId id : source.ids) {
        if (std::find(all.begin(), all.end(), id) == all.end()) all.push_back(id);
      }
    }
    if (differ)
      note("the files name different end tokens, and each of them ends a text (" + text + ")");
    if (!all.empty()) out_.ends = std::move(all);
    if (out_.ends.empty()) {
      note("no file names an end token (eos_token): a completion ends at its token limit only");
    }
  }

  void read_begin() {
    const std::vector<TokenId> by_name = named("bos_token");
    const std::vector<TokenId> by_generation =
        ids(generation_, "bos_token_id", "generation_config.json");
    const std::vector<TokenId> by_model = ids(model_config_, "bos_token_id", "config.json");
    for (const auto* list : {&by_name, &by_generation, &by_model}) {
      if (list->empty()) continue;
      out_.begin = list->front();
      break;
    }
    if (!by_name.empty() && !by_generation.empty() && by_name.front() != by_generation.front()) {
      note("the tokenizer's begin token is " + shown(by_name) + ", generation_config.json's " +
           shown(by_generation) + ": the tokenizer's is taken");
    }
  }

  void read_around(const Json& post_processor) {
    out_.front.clear();
    out_.back.clear();
    const bool replaced =
        settings_.contains("add_bos_token") || settings_.contains("add_eos_token");
    if (replaced) {
      if (flag("add_bos_token") && out_.begin >= 0) out_.front = {out_.begin};
      if (flag("add_eos_token") && !out_.ends.empty()) out_.back = {out_.ends.front()};
    } else if (tokenizer_.format() == TokenizerFormat::kSentencePiece) {
      // LlamaTokenizer's own rule for a tokenizer.model.
      if (out_.begin >= 0) out_.front = {out_.begin};
    } else {
      post_process(post_processor);
    }
  }

  bool flag(const char* key) const {
    const auto at = settings_.find(key);
    if (at == settings_.end() || at->is_null()) return false;
    if (!at->is_boolean()) {
      fail(where_ + "/tokenizer_config.json: " + key + " is " + at->dump(-1, ' ', true),
           "true or false belongs there");
    }
    return at->get<bool>();
  }

  void post_process(const Json& step) {
    if (step.is_null()) return;
    const std::string place = where_ + "/tokenizer.json: post_processor";
    const auto type_at = step.is_object() ? step.find("type") : step.end();
    const std::string type =
        step.is_object() && type_at != step.end() ? token_content(*type_at) : "";
    if (type == "ByteLevel") return;
    if (type == "Sequence" && step.contains("processors") && step["processors"].is_array()) {
      for (const Json& inner : step["processors"]) post_process(inner);
    } else if (type == "TemplateProcessing") {
      add_template(step, place);
    } else if (type == "BertProcessing" || type == "RobertaProcessing") {
      out_.front.push_back(pair_id(step, "cls", place));
      out_.back.insert(out_.back.begin(), pair_id(step, "sep", place));
    } else {
      fail(place + ": \"" + type + "\" is not known",
           "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel and Sequence are");
    }
  }

  TokenId checked(const Json& id, const std::string& place) const {
    if (!id.is_number_integer() || id < 0 || id >= tokenizer_.vocab_size()) {
      fail(place + ": " + id.dump(-1, ' ', true) + " is no token of the vocabulary",
           "fetch the file again");
    }
    return id.get<TokenId>();
  }

  TokenId pair_id(const Json& step, const char* key, const std::string& place) const {
    const auto pair = step.find(key);
    if (pair == step.end() || !pair->is_array() || pair->size() != 2) {
      fail(place + ": " + key + " is no pair of a token and its id", "fetch the file again");
    }
    return checked((*pair)[1], place);
  }

  // {"single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": ..}], "special_tokens": {"<s>":
  // {"ids": [1]}}}
  void add_template(const Json& step, const std::string& place) {
    const auto single = step.find("single");
    if (single == step.end() || !single->is_array()) {
      fail(place + ": 'single' is missing or no list", "fetch the file again");
    }
    bool behind = false;
    for (const Json& part : *single) {
      if (part.is_object() && part.contains("Sequence")) {
        behind = true;
        continue;
      }
      const Json* token =
          part.is_object() && part.contains("SpecialToken") ? &part["SpecialToken"] : nullptr;
      const std::string name = token != nullptr && token->is_object() && token->contains("id")
                                   ? token_content((*token)["id"])
                                   : "";
      const auto known = step.find("special_tokens");
      const bool found = known != step.end() && known->is_object() && known->contains(name) &&
                         (*known)[name].is_object() && (*known)[name].contains("ids") &&
                         (*known)[name]["ids"].is_array();
      if (!found) fail(place + ": the ids of \"" + name + "\" are missing", "fetch the file again");
      for (const Json& id : (*known)[name]["ids"]) {
        (behind ? out_.back : out_.front).push_back(checked(id, place));
      }
    }
  }

  const Tokenizer& tokenizer_;
  const Json& model_config_;
  std::string where_;
  Json settings_, map_, generation_;
  bool slow_;   // vocab.json and merges.txt
  bool ranks_;  // a file of ranks
  SpecialTokens out_;
};

}  // namespace

SpecialTokens special_tokens_of(const Tokenizer& tokenizer,
                                const std::map<std::string, std::string>& files,
                                const Json& model_config, const Json& post_processor,
                                const std::string& where) {
  return Reader(tokenizer, files, model_config, where).run(post_processor);
}

}  // namespace zeroth
