#include "text/tokenizer_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "core/error.h"
#include "text/tokenizer_charset.h"
#include "text/tokenizer_pattern.h"
#include "text/tokenizer_unicode.h"

namespace zeroth {
namespace {

std::string pcre2_message(int code) {
  PCRE2_UCHAR text[256];
  if (pcre2_get_error_message(code, text, sizeof(text)) < 0) return "PCRE2 error";
  return reinterpret_cast<const char*>(text);
}

template <auto free_function>
struct Deleter {
  template <class T>
  void operator()(T* object) const {
    free_function(object);
  }
};
using Code = std::unique_ptr<pcre2_code, Deleter<pcre2_code_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context, Deleter<pcre2_compile_context_free>>;

// Match state of one thread, reused by every expression: creating it costs more than most matches.
struct Scratch {
  std::unique_ptr<pcre2_match_data, Deleter<pcre2_match_data_free>> match{
      pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, Deleter<pcre2_match_context_free>> context{
      pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_jit_stack, Deleter<pcre2_jit_stack_free>> stack{
      pcre2_jit_stack_create(32 << 10, 4 << 20, nullptr)};

  Scratch() {
    if (!match || !context) fail("out of memory for regular expressions");
    if (stack) pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
    pcre2_set_heap_limit(context.get(), 256 << 10);  // KiB
  }
};

Scratch& scratch() {
  thread_local Scratch instance;
  return instance;
}

}  // namespace

CharSet enumerated_set(const std::string& single) {
  // Every character once, one after the other, and where each begins.
  std::string all;
  std::vector<std::pair<size_t, CodePoint>> starts;
  for (CodePoint code = 0; code < 0x110000; ++code) {
    if (code == 0xd800) code = 0xe000;
    starts.emplace_back(all.size(), code);
    append_utf8(all, code);
  }
  int error = 0;
  PCRE2_SIZE offset = 0;
  const Code compiled(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(single.data()), single.size(),
                                    PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &error, &offset,
                                    nullptr));
  if (!compiled) fail("bad set in a tokenizer's regular expression: " + pcre2_message(error));
  pcre2_jit_compile(compiled.get(), PCRE2_JIT_COMPLETE);
  CharSet out;
  Scratch& state = scratch();
  pcre2_set_match_limit(state.context.get(), 10'000'000);
  CodePoint first = 1, last = 0;  // the open range; first > last: none
  const auto close = [&] {
    if (first <= last) out.items += range_item(first, last);
  };
  auto at = starts.begin();
  for (size_t from = 0; from < all.size();) {
    const int rc = pcre2_match(compiled.get(), reinterpret_cast<PCRE2_SPTR>(all.data()), all.size(),
                               from, PCRE2_NO_UTF_CHECK, state.match.get(), state.context.get());
    if (rc < 0) break;
    const PCRE2_SIZE* found = pcre2_get_ovector_pointer(state.match.get());
    at = std::lower_bound(at, starts.end(), std::pair<size_t, CodePoint>(found[0], 0));
    const CodePoint code = at->second;
    if (first > last || code != last + 1) {
      close();
      first = code;
    }
    last = code;
    from = found[1];
  }
  close();
  if (out.items.empty()) out.singles.push_back("(?!)");
  return out;
}

struct Regex::Impl {
  Code code;
  std::string shown;  // for messages
};

Regex::Regex(const std::string& pcre2_pattern, std::string_view shown, const std::string& where)
    : impl_(std::make_unique<Impl>()) {
  CompileContext context(pcre2_compile_context_create(nullptr));
  if (!context) fail("out of memory for regular expressions");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  impl_->code.reset(pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(pcre2_pattern.data()), pcre2_pattern.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_UTF_CHECK | PCRE2_NEVER_BACKSLASH_C,
      &error, &offset, context.get()));
  impl_->shown = shown.substr(0, 400);
  if (!impl_->code) {
    fail(where + ": bad regular expression: " + pcre2_message(error), "pattern: " + impl_->shown);
  }
  // Without a just-in-time compiler (an unusual processor) the interpreter gives the same matches.
  pcre2_jit_compile(impl_->code.get(), PCRE2_JIT_COMPLETE);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

Regex Regex::compile(std::string_view pattern, const std::string& where) {
  return Regex(oniguruma_to_pcre2(pattern, where), pattern, where);
}

Regex Regex::literal(std::string_view text, const std::string& where) {
  return Regex(literal_pattern(text), text, where);
}

void Regex::find_all(std::string_view text, std::vector<Span>& matches) const {
  matches.clear();
  Scratch& state = scratch();
  // Enough for every linear backtrack over the whole text; a nested one runs into it soon.
  const size_t budget = std::min<size_t>(uint32_t{0xffffffff}, 1'000'000 + 8 * text.size());
  pcre2_set_match_limit(state.context.get(), static_cast<uint32_t>(budget));
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  bool matched_before = false;
  size_t last_end = 0;
  for (size_t at = 0; at <= text.size();) {
    int rc = pcre2_match(impl_->code.get(), subject, text.size(), at, PCRE2_NO_UTF_CHECK,
                         state.match.get(), state.context.get());
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its state on the heap
      rc = pcre2_match(impl_->code.get(), subject, text.size(), at,
                       PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, state.match.get(), state.context.get());
    }
    if (rc == PCRE2_ERROR_NOMATCH) return;
    if (rc < 0) {
      fail("matching a tokenizer's regular expression on " + std::to_string(text.size()) +
               " bytes: " + pcre2_message(rc),
           "the pattern backtracks without bound: " + impl_->shown);
    }
    const PCRE2_SIZE* found = pcre2_get_ovector_pointer(state.match.get());
    const Span span{found[0], found[1]};
    if (span.begin > span.end || span.end > text.size()) {
      fail("a tokenizer's regular expression matched backwards", "pattern: " + impl_->shown);
    }
    if (span.begin == span.end && matched_before && last_end == span.end) {
      at += std::max(1, decode_utf8(text.substr(std::min(at, text.size()))).length);
      continue;
    }
    at = last_end = span.end;
    matched_before = true;
    matches.push_back(span);
  }
}

std::string Regex::replace_all(std::string_view text, std::string_view content) const {
  constexpr size_t kMaxText = size_t{1} << 30;
  std::vector<Span> matches;
  find_all(text, matches);
  std::string out;
  size_t at = 0;
  for (const Span& match : matches) {
    out += text.substr(at, match.begin - at);
    out += content;
    at = match.end;
    if (out.size() > kMaxText) {
      fail("a tokenizer's Replace step makes more than 1 GiB of text", "pattern: " + impl_->shown);
    }
  }
  out += text.substr(at);
  return out;
}

}  // namespace zeroth
