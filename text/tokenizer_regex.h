// A compiled regular expression of a tokenizer, over PCRE2.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace zeroth {

// A piece of text, in bytes: [begin, end).
struct Span {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const Span&) const = default;
};

// Immutable; thread safe (match state belongs to the thread).
class Regex {
 public:
  // `pattern` in Oniguruma's syntax. Throws Error naming `where` when it is malformed, or uses what
  // cannot be matched exactly.
  static Regex compile(std::string_view pattern, const std::string& where);
  // Matches `text` itself.
  static Regex literal(std::string_view text, const std::string& where);

  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // Non-overlapping matches from left to right; an empty match right after the previous match is
  // passed over. `text` must be valid UTF-8. Backtracking is bounded: beyond a budget that grows
  // with the text, Error names the pattern.
  void find_all(std::string_view text, std::vector<Span>& matches) const;

  // `text` with every match replaced by `content`. Throws Error when that exceeds 1 GiB.
  std::string replace_all(std::string_view text, std::string_view content) const;

 private:
  struct Impl;
  Regex(const std::string& pcre2_pattern, std::string_view shown, const std::string& where);
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth
