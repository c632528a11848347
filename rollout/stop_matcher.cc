#include "rollout/stop_matcher.h"

#include <algorithm>

#include "core/error.h"

namespace zeroth {

StopStrings::StopStrings(const std::vector<std::string>& strings) {
  for (const std::string& text : strings) {
    if (text.empty()) {
      fail_usage("a stop string is empty", "give at least one character, or leave the option out");
    }
    const auto same = [&](const Pattern& pattern) { return pattern.text == text; };
    if (std::any_of(patterns_.begin(), patterns_.end(), same)) continue;
    Pattern pattern{text, std::vector<int32_t>(text.size() + 1, 0)};
    int32_t border = 0;
    for (size_t i = 1; i < text.size(); ++i) {
      while (border > 0 && text[i] != text[border]) border = pattern.link[border];
      if (text[i] == text[border]) ++border;
      pattern.link[i + 1] = border;
    }
    patterns_.push_back(std::move(pattern));
  }
}

StopMatcher::StopMatcher(const StopStrings& strings)
    : strings_(&strings), matched_(strings.patterns_.size(), 0) {}

bool StopMatcher::feed(std::string_view bytes) {
  for (const char byte : bytes) {
    ++seen_;
    for (size_t p = 0; p < matched_.size(); ++p) {
      const auto& [text, link] = strings_->patterns_[p];
      int32_t& length = matched_[p];
      while (length > 0 && text[length] != byte) length = link[length];
      if (text[length] == byte) ++length;
      if (length < static_cast<int32_t>(text.size())) continue;
      const int64_t begin = seen_ - length;
      if (begin_ < 0 || begin < begin_) begin_ = begin;
    }
    if (begin_ >= 0) return true;
  }
  return false;
}

}  // namespace zeroth
