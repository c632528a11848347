#include "core/error.h"
#include "text/tokenizer_bytes.h"
#include "text/tokenizer_steps.h"
#include "text/tokenizer_unicode.h"

namespace zeroth {
namespace step_fields {

const Json* find(const Json& json, const char* key, const std::string& where) {
  if (!json.is_object()) fail(where + ": expected an object, got " + json.type_name());
  const auto it = json.find(key);
  return it == json.end() || it->is_null() ? nullptr : &*it;
}

bool flag(const Json& json, const char* key, bool fallback, const std::string& where) {
  const Json* value = find(json, key, where);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    fail(where + "." + key + ": expected true or false, got " + value->dump(-1, ' ', true));
  }
  return value->get<bool>();
}

std::string text(const Json& json, const char* key, const std::string& where) {
  const Json* value = find(json, key, where);
  if (value == nullptr) fail(where + "." + key + ": missing", "a text belongs there");
  if (!value->is_string()) fail(where + "." + key + ": expected text, got " + value->type_name());
  return value->get<std::string>();
}

int64_t number(const Json& json, const char* key, const std::string& where) {
  const Json* value = find(json, key, where);
  if (value == nullptr) fail(where + "." + key + ": missing", "a count belongs there");
  const bool fits = value->is_number_unsigned()
                        ? value->get<uint64_t>() <= uint64_t{1} << 62
                        : value->is_number_integer() && value->get<int64_t>() >= 0;
  if (!fits) fail(where + "." + key + ": expected a count, got " + value->dump(-1, ' ', true));
  return value->get<int64_t>();
}

Regex pattern(const Json& json, const char* key, const std::string& where) {
  const std::string at = where + "." + key;
  const Json* value = find(json, key, where);
  if (value == nullptr) fail(at + ": missing", "{\"String\": ..} or {\"Regex\": ..} belongs there");
  if (value->is_string()) return Regex::literal(value->get<std::string>(), at);
  if (find(*value, "String", at) != nullptr) return Regex::literal(text(*value, "String", at), at);
  return Regex::compile(text(*value, "Regex", at), at);
}

const Json& list(const Json& json, const char* key, const std::string& where) {
  const Json* value = find(json, key, where);
  if (value == nullptr || !value->is_array()) {
    fail(where + "." + key + ": expected a list of steps",
         "a Sequence holds its steps under \"" + std::string(key) + "\"");
  }
  return *value;
}

}  // namespace step_fields

namespace {

using step_fields::flag;
using step_fields::text;

class UnicodeNormalizer : public Normalizer {
 public:
  explicit UnicodeNormalizer(NormalForm form) : form_(form) {}
  std::string apply(std::string_view text) const override { return normalize_utf8(text, form_); }

 private:
  NormalForm form_;
};

class LowercaseNormalizer : public Normalizer {
 public:
  std::string apply(std::string_view text) const override { return lower_utf8(text); }
};

class ByteLevelNormalizer : public Normalizer {
 public:
  std::string apply(std::string_view text) const override { return to_byte_level(text); }
};

class PrependNormalizer : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string apply(std::string_view text) const override {
    return text.empty() ? std::string() : prefix_ + std::string(text);
  }

 private:
  std::string prefix_;
};

class StripNormalizer : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  std::string apply(std::string_view text) const override {
    while (left_ && !text.empty()) {
      const Utf8Char c = decode_utf8(text);
      if (!is_white_space(c.code) || c.length == 0) break;
      text.remove_prefix(c.length);
    }
    while (right_ && !text.empty()) {
      size_t start = text.size() - 1;
      while (start > 0 && (text[start] & 0xc0) == 0x80) --start;
      if (!is_white_space(decode_utf8(text.substr(start)).code)) break;
      text = text.substr(0, start);
    }
    return std::string(text);
  }

 private:
  bool left_, right_;
};

class ReplaceNormalizer : public Normalizer {
 public:
  ReplaceNormalizer(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::string apply(std::string_view text) const override {
    return pattern_.replace_all(text, content_);
  }

 private:
  Regex pattern_;
  std::string content_;
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> steps)
      : steps_(std::move(steps)) {}
  std::string apply(std::string_view text) const override {
    std::string out(text);
    for (const auto& step : steps_) out = step->apply(out);
    return out;
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const Json& json, const std::string& where) {
  if (json.is_null()) return nullptr;
  const std::string type = text(json, "type", where);
  if (type == "NFC") return std::make_unique<UnicodeNormalizer>(NormalForm::kNfc);
  if (type == "NFD") return std::make_unique<UnicodeNormalizer>(NormalForm::kNfd);
  if (type == "NFKC") return std::make_unique<UnicodeNormalizer>(NormalForm::kNfkc);
  if (type == "NFKD") return std::make_unique<UnicodeNormalizer>(NormalForm::kNfkd);
  if (type == "Lowercase") return std::make_unique<LowercaseNormalizer>();
  if (type == "ByteLevel") return std::make_unique<ByteLevelNormalizer>();
  if (type == "Prepend") return std::make_unique<PrependNormalizer>(text(json, "prepend", where));
  if (type == "Strip") {
    return std::make_unique<StripNormalizer>(flag(json, "strip_left", true, where),
                                             flag(json, "strip_right", true, where));
  }
  if (type == "Replace") {
    return std::make_unique<ReplaceNormalizer>(step_fields::pattern(json, "pattern", where),
                                               text(json, "content", where));
  }
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Normalizer>> steps;
    for (const Json& item : step_fields::list(json, "normalizers", where)) {
      const std::string at = where + ".normalizers[" + std::to_string(steps.size()) + "]";
      auto step = make_normalizer(item, at);
      if (step == nullptr) fail(at + ": null instead of a step");
      steps.push_back(std::move(step));
    }
    return std::make_unique<NormalizerSequence>(std::move(steps));
  }
  fail(where + ": unknown normalizer \"" + type + "\"",
       "known: NFC, NFD, NFKC, NFKD, Lowercase, ByteLevel, Prepend, Strip, Replace, Sequence");
}

}  // namespace zeroth
