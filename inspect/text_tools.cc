#include "inspect/text_tools.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "core/error.h"
#include "core/terminal.h"

namespace zeroth {

struct SearchPattern::Impl {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
};

SearchPattern::SearchPattern(const std::string& pattern, bool ignore_case)
    : impl_(std::make_unique<Impl>()) {
  int error = 0;
  size_t at = 0;
  const uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_UCP | PCRE2_MULTILINE |
                           (ignore_case ? PCRE2_CASELESS : 0);
  impl_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options,
                              &error, &at, nullptr);
  if (impl_->code == nullptr) {
    char message[256] = {};
    pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
    fail_usage("the pattern is no regular expression: " + std::string(message) + "\n  " +
                   printable_line(pattern, 0) + "\n  " +
                   std::string(std::min(at, pattern.size()), ' ') + "^",
               "put a backslash before characters that are meant literally, or use --fixed");
  }
  impl_->context = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(impl_->context, 200000);
  pcre2_set_heap_limit(impl_->context, 20000);  // KiB
  pcre2_jit_compile(impl_->code, PCRE2_JIT_COMPLETE);
}

SearchPattern::~SearchPattern() {
  pcre2_match_context_free(impl_->context);
  pcre2_code_free(impl_->code);
}

std::vector<std::pair<size_t, size_t>> SearchPattern::find_all(std::string_view text,
                                                               size_t limit) const {
  std::vector<std::pair<size_t, size_t>> found;
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> match(
      pcre2_match_data_create_from_pattern(impl_->code, nullptr), pcre2_match_data_free);
  size_t at = 0;
  while (at <= text.size() && found.size() < limit) {
    const int code = pcre2_match(impl_->code, reinterpret_cast<PCRE2_SPTR>(text.data()),
                                 text.size(), at, 0, match.get(), impl_->context);
    if (code < 0) break;
    const size_t* where = pcre2_get_ovector_pointer(match.get());
    if (where[1] < where[0]) break;  // \K in a look-ahead can end before it starts
    found.emplace_back(where[0], where[1]);
    at = where[1] > where[0] ? where[1] : where[1] + 1;
  }
  return found;
}

namespace {

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  const auto letter = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80;
  };
  for (size_t at = 0; at < text.size();) {
    size_t end = at + 1;
    if (letter(text[at])) {
      while (end < text.size() && letter(text[end])) ++end;
    }
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

void append(std::vector<DiffPart>& parts, DiffPart::Side side, std::string_view text) {
  if (text.empty()) return;
  if (parts.empty() || parts.back().side != side) parts.push_back({side, ""});
  parts.back().text += text;
}

}  // namespace

std::vector<DiffPart> diff_words(std::string_view first, std::string_view second) {
  // The forward frontier of every edit count is kept to walk back, so the count is bounded.
  constexpr int kMaxEdits = 2000;
  const auto a = words_of(first);
  const auto b = words_of(second);
  const int n = static_cast<int>(a.size());
  const int m = static_cast<int>(b.size());
  const int most = std::min(n + m, kMaxEdits);
  std::vector<std::vector<int>> frontiers;
  std::vector<int> frontier(2 * static_cast<size_t>(most) + 3, 0);
  const auto at = [&](std::vector<int>& v, int k) -> int& {
    return v[static_cast<size_t>(k + most + 1)];
  };
  int edits = -1;
  for (int d = 0; d <= most && edits < 0; ++d) {
    frontiers.push_back(frontier);
    for (int k = -d; k <= d; k += 2) {
      const bool down = k == -d || (k != d && at(frontier, k - 1) < at(frontier, k + 1));
      int x = down ? at(frontier, k + 1) : at(frontier, k - 1) + 1;
      int y = x - k;
      while (x < n && y < m && a[static_cast<size_t>(x)] == b[static_cast<size_t>(y)]) ++x, ++y;
      at(frontier, k) = x;
      if (x >= n && y >= m) {
        edits = d;
        break;
      }
    }
  }
  std::vector<DiffPart> parts;
  if (edits < 0) {
    append(parts, DiffPart::Side::kFirst, first);
    append(parts, DiffPart::Side::kSecond, second);
    return parts;
  }
  std::vector<std::pair<DiffPart::Side, std::string_view>> steps;
  int x = n;
  int y = m;
  for (int d = edits; d >= 0; --d) {
    std::vector<int>& v = frontiers[static_cast<size_t>(d)];
    const int k = x - y;
    const bool down = d > 0 && (k == -d || (k != d && at(v, k - 1) < at(v, k + 1)));
    const int px = d == 0 ? 0 : down ? at(v, k + 1) : at(v, k - 1);
    const int py = d == 0 ? 0 : px - (down ? k + 1 : k - 1);
    const int sx = d == 0 ? 0 : down ? px : px + 1;
    while (x > sx && y > 0) {
      steps.emplace_back(DiffPart::Side::kBoth, a[static_cast<size_t>(x - 1)]);
      --x, --y;
    }
    if (d == 0) break;
    if (down) {
      steps.emplace_back(DiffPart::Side::kSecond, b[static_cast<size_t>(y - 1)]);
    } else {
      steps.emplace_back(DiffPart::Side::kFirst, a[static_cast<size_t>(x - 1)]);
    }
    x = px;
    y = py;
  }
  for (auto step = steps.rbegin(); step != steps.rend(); ++step)
    append(parts, step->first, step->second);
  return parts;
}

}  // namespace zeroth
