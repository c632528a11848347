#include <algorithm>
#include <cctype>

#include "core/error.h"
#include "text/tokenizer_bytes.h"
#include "text/tokenizer_steps.h"
#include "text/tokenizer_unicode.h"

namespace zeroth {
namespace {

using step_fields::text;

void replace_all(std::string& in, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  std::string out;
  size_t at = 0;
  for (size_t hit; (hit = in.find(from, at)) != std::string::npos; at = hit + from.size()) {
    out.append(in, at, hit - at);
    out += to;
  }
  out.append(in, at);
  in = std::move(out);
}

void join(std::vector<std::string>& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  tokens.assign(1, std::move(all));
}

class ByteLevelDecoder : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens, bool) const override {
    std::string bytes;
    for (const std::string& token : tokens) {
      // An added token is spelt as itself and may hold characters outside the alphabet.
      if (!append_from_byte_level(token, bytes)) bytes += token;
    }
    tokens.assign(1, std::move(bytes));
  }
};

// <0xNN> spells one byte.
class ByteFallbackDecoder : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens, bool) const override {
    std::vector<std::string> out;
    bool in_bytes = false;
    for (std::string& token : tokens) {
      const int byte = byte_of(token);
      if (byte < 0) {
        out.push_back(std::move(token));
      } else {
        if (!in_bytes) out.emplace_back();
        out.back() += static_cast<char>(byte);
      }
      in_bytes = byte >= 0;
    }
    tokens = std::move(out);
  }

 private:
  static int byte_of(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
    int value = 0;
    for (char c : token.substr(3, 2)) {
      if (!std::isxdigit(static_cast<unsigned char>(c))) return -1;
      value = value * 16 + (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return value;
  }
};

class FuseDecoder : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens, bool) const override { join(tokens); }
};

// Cuts up to `start` and `stop` copies of a character off the ends of every token. Behind a Fuse
// that is the whole text, so in the middle of one nothing is cut.
class StripDecoder : public Decoder {
 public:
  StripDecoder(std::string content, int64_t start, int64_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void apply(std::vector<std::string>& tokens, bool whole) const override {
    if (!whole) return;
    for (std::string& token : tokens) {
      std::string_view rest = token;
      for (int64_t i = 0; i < start_ && rest.starts_with(content_); ++i) {
        rest.remove_prefix(content_.size());
      }
      for (int64_t i = 0; i < stop_ && rest.ends_with(content_); ++i) {
        rest.remove_suffix(content_.size());
      }
      token = std::string(rest);
    }
  }

 private:
  std::string content_;
  int64_t start_, stop_;
};

class ReplaceDecoder : public Decoder {
 public:
  ReplaceDecoder(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(std::vector<std::string>& tokens, bool) const override {
    for (std::string& token : tokens) {
      if (valid_utf8_prefix(token) != token.size()) continue;  // bytes of a cut character
      token = pattern_.replace_all(token, content_);
    }
  }

 private:
  Regex pattern_;
  std::string content_;
};

class MetaspaceDecoder : public Decoder {
 public:
  MetaspaceDecoder(std::string replacement, bool prepended)
      : replacement_(std::move(replacement)), prepended_(prepended) {}
  void apply(std::vector<std::string>& tokens, bool whole) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      replace_all(tokens[i], replacement_, i == 0 && whole && prepended_ ? "" : " ");
    }
  }

 private:
  std::string replacement_;
  bool prepended_;
};

class SuffixDecoder : public Decoder {  // "BPEDecoder"
 public:
  explicit SuffixDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void apply(std::vector<std::string>& tokens, bool whole) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      replace_all(tokens[i], suffix_, whole && i + 1 == tokens.size() ? "" : " ");
    }
  }

 private:
  std::string suffix_;
};

class DecoderSequence : public Decoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<Decoder>> steps)
      : steps_(std::move(steps)) {}
  void apply(std::vector<std::string>& tokens, bool whole) const override {
    for (const auto& step : steps_) step->apply(tokens, whole);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> steps_;
};

}  // namespace

std::unique_ptr<Decoder> make_decoder(const Json& json, const std::string& where) {
  if (json.is_null()) return nullptr;
  const std::string type = text(json, "type", where);
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "Strip") {
    const std::string content = text(json, "content", where);
    if (content.empty()) fail(where + ".content: empty", "one character belongs there");
    return std::make_unique<StripDecoder>(content, step_fields::number(json, "start", where),
                                          step_fields::number(json, "stop", where));
  }
  if (type == "Replace") {
    return std::make_unique<ReplaceDecoder>(step_fields::pattern(json, "pattern", where),
                                            text(json, "content", where));
  }
  if (type == "Metaspace") {
    const bool has_scheme = step_fields::find(json, "prepend_scheme", where) != nullptr;
    const bool prepended = has_scheme ? text(json, "prepend_scheme", where) != "never"
                                      : step_fields::flag(json, "add_prefix_space", true, where);
    return std::make_unique<MetaspaceDecoder>(text(json, "replacement", where), prepended);
  }
  if (type == "BPEDecoder") return std::make_unique<SuffixDecoder>(text(json, "suffix", where));
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Decoder>> steps;
    for (const Json& item : step_fields::list(json, "decoders", where)) {
      const std::string at = where + ".decoders[" + std::to_string(steps.size()) + "]";
      auto step = make_decoder(item, at);
      if (step == nullptr) fail(at + ": null instead of a step");
      steps.push_back(std::move(step));
    }
    return std::make_unique<DecoderSequence>(std::move(steps));
  }
  fail(where + ": unknown decoder \"" + type + "\"",
       "known: ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace, BPEDecoder, Sequence");
}

}  // namespace zeroth
