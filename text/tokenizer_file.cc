#include "text/tokenizer_file.h"

#include <algorithm>

#include "core/error.h"

namespace zeroth {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxKeys = 4096;  // of one object that is not the vocabulary
constexpr size_t kMaxMerges = size_t{1} << 23;
constexpr size_t kMaxToken = size_t{64} << 10;  // bytes of one spelling

std::pair<std::string, std::string> split_merge(std::string_view line, const std::string& where) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    fail(where + ": merge \"" + std::string(line.substr(0, 200)) +
             "\" is not two tokens with a space between",
         "fetch the file again");
  }
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

// Builds the document while it is parsed, except for the two big members: those go straight into
// flat containers. (A document tree of 150,000 keys costs seconds; insertion into an ordered object
// compares with every earlier key.)
class Sax : public nlohmann::json_sax<Json> {
 public:
  // `whole_vocabulary`: the document itself is the vocabulary (vocab.json).
  Sax(std::string source, bool whole_vocabulary)
      : source_(std::move(source)), whole_vocabulary_(whole_vocabulary) {}

  TokenizerFile file;

  bool null() override { return value(nullptr); }
  bool boolean(bool v) override { return value(v); }
  bool number_integer(int64_t v) override { return mode_ == Mode::kVocab ? token(v) : value(v); }
  bool number_unsigned(uint64_t v) override {
    if (mode_ != Mode::kVocab) return value(v);
    return token(static_cast<int64_t>(std::min<uint64_t>(v, INT64_MAX)));
  }
  bool number_float(double v, const std::string&) override { return value(v); }
  bool binary(Json::binary_t&) override { return value(nullptr); }

  bool string(std::string& v) override {
    if (mode_ != Mode::kMerges) return value(v);
    if (v.size() > kMaxToken) oversized("a merge");
    if (!in_pair_) {
      merges().push_back(split_merge(v, merge_name()));
    } else if (pair_.size() < 2) {
      pair_.push_back(v);
    } else {
      fail(merge_name() + ": more than two tokens", "a merge is [\"left\", \"right\"]");
    }
    return true;
  }

  bool key(std::string& v) override {
    key_ = v;
    if (mode_ == Mode::kTree) {
      if (stack_.back()->size() >= kMaxKeys) {
        fail(source_ + ": an object of more than " + std::to_string(kMaxKeys) + " keys at " +
             path());
      }
      if (stack_.back()->contains(v)) fail(source_ + ": key \"" + path() + "\" is given twice");
    }
    return true;
  }

  bool start_object(size_t) override {
    if (mode_ != Mode::kTree) wrong_type("an object");
    if (stack_.empty() ? whole_vocabulary_ : at_model_member("vocab")) {
      mode_ = Mode::kVocab;
      return true;
    }
    push(Json::object());
    return true;
  }
  bool end_object() override {
    if (mode_ == Mode::kVocab) {
      mode_ = Mode::kTree;
      return true;
    }
    pop();
    return true;
  }

  bool start_array(size_t) override {
    if (mode_ == Mode::kMerges && !in_pair_) {
      in_pair_ = true;
      pair_.clear();
      return true;
    }
    if (mode_ != Mode::kTree) wrong_type("a list");
    if (at_model_member("merges")) {
      mode_ = Mode::kMerges;
      return true;
    }
    push(Json::array());
    return true;
  }
  bool end_array() override {
    if (mode_ == Mode::kMerges && in_pair_) {
      if (pair_.size() != 2) {
        fail(merge_name() + ": not two tokens", "a merge is [\"left\", \"right\"]");
      }
      merges().emplace_back(std::move(pair_[0]), std::move(pair_[1]));
      in_pair_ = false;
    } else if (mode_ == Mode::kMerges) {
      mode_ = Mode::kTree;
    } else {
      pop();
    }
    return true;
  }

  bool parse_error(size_t, const std::string&, const Json::exception& error) override {
    std::string message = error.what();
    const size_t detail = message.find("] ");
    fail(source_ + ": not valid JSON: " +
             (detail == std::string::npos ? message : message.substr(detail + 2)),
         "the file may be cut off; fetch it again");
  }

 private:
  enum class Mode { kTree, kVocab, kMerges };

  Bpe::Merges& merges() {
    if (file.merges.size() >= kMaxMerges) oversized("model.merges");
    return file.merges;
  }
  std::string merge_name() const {
    return source_ + ": model.merges[" + std::to_string(file.merges.size()) + "]";
  }
  [[noreturn]] void oversized(const std::string& what) const {
    fail(source_ + ": " + what + " is too large");
  }
  [[noreturn]] void wrong_type(const std::string& got) const {
    if (mode_ == Mode::kMerges) fail(merge_name() + ": expected a pair of tokens, got " + got);
    fail(source_ + ": the id of token \"" + key_.substr(0, 200) + "\" is " + got,
         "ids are whole numbers");
  }

  bool token(int64_t id) {
    if (key_.size() > kMaxToken) oversized("a token");
    file.vocabulary.add(key_, id, source_);
    return true;
  }

  template <class T>
  bool value(T&& v) {
    if (mode_ != Mode::kTree) wrong_type(Json(v).type_name());
    place(Json(std::forward<T>(v)));
    return true;
  }

  bool at_model_member(const char* name) const {
    return !whole_vocabulary_ && stack_.size() == 2 && keys_.size() == 1 && keys_[0] == "model" &&
           stack_.back()->is_object() && key_ == name;
  }

  Json* place(Json&& node) {
    if (stack_.empty()) {
      file.rest = std::move(node);
      return &file.rest;
    }
    Json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(node));
      return &parent.back();
    }
    return &(parent[key_] = std::move(node));
  }

  void push(Json&& node) {
    if (stack_.size() >= kMaxDepth) fail(source_ + ": nested deeper than 64 levels at " + path());
    if (!stack_.empty()) keys_.push_back(stack_.back()->is_array() ? "[]" : key_);
    stack_.push_back(place(std::move(node)));
  }
  void pop() {
    stack_.pop_back();
    if (!keys_.empty()) keys_.pop_back();
  }
  std::string path() const {
    std::string out;
    for (const std::string& key : keys_) out += key + ".";
    return (out + key_).substr(0, 400);
  }

  std::string source_;
  bool whole_vocabulary_;
  Mode mode_ = Mode::kTree;
  std::vector<Json*> stack_;  // open containers; a parent never grows while a child is open
  std::vector<std::string> keys_;
  std::string key_;
  bool in_pair_ = false;
  std::vector<std::string> pair_;
};

TokenizerFile parse(std::string_view text, const std::string& source, bool whole_vocabulary) {
  Sax sax(source, whole_vocabulary);
  Json::sax_parse(text.begin(), text.end(), &sax);
  return std::move(sax.file);
}

}  // namespace

TokenizerFile parse_tokenizer_json(std::string_view text, const std::string& source) {
  TokenizerFile file = parse(text, source, false);
  if (!file.rest.is_object()) {
    fail(source + ": expected an object, got " + file.rest.type_name(),
         "a tokenizer.json of the tokenizers library belongs here");
  }
  return file;
}

Vocabulary parse_vocab_json(std::string_view text, const std::string& source) {
  TokenizerFile file = parse(text, source, true);
  if (!file.rest.is_null() || file.vocabulary.size() == 0) {
    fail(source + ": expected an object of tokens and ids",
         "a GPT-2 style vocab.json belongs here");
  }
  return std::move(file.vocabulary);
}

Bpe::Merges parse_merges_txt(std::string_view text, const std::string& source) {
  Bpe::Merges merges;
  for (size_t at = 0, number = 1; at < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    if (merges.size() >= kMaxMerges) fail(source + ": more than 8388608 merges");
    merges.push_back(split_merge(line, source + ":" + std::to_string(number)));
  }
  return merges;
}

namespace {

// A step of the pipeline with the members that the library insists on, nested steps likewise.
Json completed(Json step) {
  if (step.is_array()) {
    for (Json& item : step) item = completed(std::move(item));
    return step;
  }
  if (!step.is_object()) return step;
  for (auto& [key, value] : step.items()) {
    if (value.is_structured() && key != "pattern") value = completed(std::move(value));
  }
  const auto fill = [&](const char* key, const Json& value) {
    if (!step.contains(key)) step[key] = value;
  };
  const Json type = step.value("type", Json());
  if (type == "ByteLevel") {
    fill("add_prefix_space", true);
    fill("trim_offsets", true);
    fill("use_regex", true);
  }
  if (type == "Split") fill("invert", false);
  if (type == "Digits") fill("individual_digits", false);
  return step;
}

}  // namespace

std::string write_tokenizer_json(const TokenizerFile& file) {
  const auto member = [](const Json& json, const char* key) {
    return json.is_object() && json.contains(key) ? json.at(key) : Json();
  };
  Json added = Json::array();
  for (const Json& token : member(file.rest, "added_tokens")) {
    Json whole = {{"id", 0},         {"content", ""},   {"single_word", false},
                  {"lstrip", false}, {"rstrip", false}, {"normalized", false},
                  {"special", false}};
    whole.update(token);
    added.push_back(std::move(whole));
  }
  Json model = {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", nullptr},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", false},
                {"byte_fallback", false},
                {"ignore_merges", false}};
  model.update(member(file.rest, "model"));
  Json document = {{"version", "1.0"},
                   {"truncation", nullptr},
                   {"padding", nullptr},
                   {"added_tokens", std::move(added)}};
  for (const char* key : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    document[key] = completed(member(file.rest, key));
  }
  // The vocabulary is put into the text by hand: an ordered object compares a new key with every
  // earlier one.
  std::string vocab;
  for (TokenId id = 0; id < file.vocabulary.end(); ++id) {
    if (!file.vocabulary.contains(id)) continue;
    vocab += (vocab.empty() ? "\n      " : ",\n      ") +
             Json(file.vocabulary.spelling(id)).dump() + ": " + std::to_string(id);
  }
  std::string merges;
  for (const auto& [left, right] : file.merges) {
    merges += (merges.empty() ? "\n      [" : ",\n      [") + Json(left).dump() + ", " +
              Json(right).dump() + "]";
  }
  std::string text = document.dump(2);
  text.resize(text.rfind('}') - 1);  // the model goes in front of the closing brace and its newline
  std::string inner = model.dump(4);
  inner.resize(inner.rfind('}') - 1);
  return text + ",\n  \"model\": " + inner + ",\n    \"vocab\": {" + vocab +
         "\n    },\n    \"merges\": [" + merges + "\n    ]\n  }\n}\n";
}

}  // namespace zeroth
