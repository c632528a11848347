#include "scan/scanners.h"

#include <algorithm>
#include <unordered_set>

#include "core/terminal.h"

namespace zeroth {
namespace {

// Raised whenever a built-in scan changes its results, so that stored results are redone.
constexpr int kScanVersion = 3;

enum class Script { kNone, kLatin, kGreek, kCyrillic, kHebrew, kArabic, kIndic, kThai, kEastAsian };

Script script_of(char32_t c) {
  const auto in = [c](char32_t lo, char32_t hi) { return c >= lo && c <= hi; };
  if (in('a', 'z') || in('A', 'Z') || in(0xc0, 0x24f) || in(0x1e00, 0x1eff)) return Script::kLatin;
  if (in(0x370, 0x3ff) || in(0x1f00, 0x1fff)) return Script::kGreek;
  if (in(0x400, 0x52f)) return Script::kCyrillic;
  if (in(0x590, 0x5ff)) return Script::kHebrew;
  if (in(0x600, 0x77f) || in(0x8a0, 0x8ff)) return Script::kArabic;
  if (in(0x900, 0xdff)) return Script::kIndic;
  if (in(0xe00, 0xe7f)) return Script::kThai;
  // Japanese mixes three scripts and Chinese shares one of them: they count as one.
  if (in(0x3040, 0x30ff) || in(0x3400, 0x9fff) || in(0xac00, 0xd7af) || in(0xf900, 0xfaff) ||
      in(0x1100, 0x11ff) || in(0x20000, 0x3ffff)) {
    return Script::kEastAsian;
  }
  return Script::kNone;
}

bool is_correct(const Sample& sample) {
  return std::any_of(sample.verdicts.begin(), sample.verdicts.end(),
                     [](const Verdict& verdict) { return verdict.reason == Reason::kCorrect; });
}

std::vector<Span> merged(std::vector<Span> spans) {
  std::vector<Span> out;
  for (const Span& span : spans) {
    if (!out.empty() && span.begin < out.back().end) {
      out.back().end = std::max(out.back().end, span.end);
    } else {
      out.push_back(span);
    }
  }
  return out;
}

void count_words(const WordMatcher& matcher, const std::string& text, SampleScan& scan) {
  scan.hits = matcher.find(text);
  scan.words.assign(matcher.lists().size(), 0);
  scan.substrings.assign(matcher.lists().size(), 0);
  std::vector<Span> markers;
  for (const WordHit& hit : scan.hits) {
    ++scan.substrings[hit.list];
    scan.words[hit.list] += hit.whole;
    if (hit.whole && matcher.lists()[hit.list].reflection) markers.push_back({hit.begin, hit.end});
  }
  scan.markers = merged(std::move(markers));
}

void find_flips(SampleScan& scan) {
  for (const Candidate& candidate : scan.candidates) {
    if (candidate.correct) {
      scan.first_correct = candidate.begin;
      break;
    }
  }
  scan.flip_list = flips_of(scan.candidates);
  for (const FlipAt& flip : scan.flip_list) {
    ++scan.flips[static_cast<size_t>(flip.flip)];
    if (flip.flip != Flip::kWrongToRight) continue;
    const Candidate& wrong = scan.candidates[flip.candidate - 1];
    const Candidate& right = scan.candidates[flip.candidate];
    for (const Span& marker : scan.markers) {
      if (marker.begin >= wrong.begin && marker.begin < right.end && marker.end > wrong.begin) {
        scan.ahas.push_back({marker.begin, right.end});
        break;
      }
    }
  }
}

}  // namespace

const Verdict* failed_grading(const Sample& sample) {
  if (is_correct(sample)) return nullptr;
  for (const Verdict& verdict : sample.verdicts) {
    if (verdict.reason == Reason::kCheckerError || verdict.reason == Reason::kBadGold)
      return &verdict;
  }
  return nullptr;
}

Loop find_loop(const std::vector<TokenId>& tokens) {
  constexpr size_t kMinRounds = 4;
  constexpr size_t kMinTokens = 24;
  // Prefix function of the reversed sequence (Knuth, Morris, Pratt): a prefix of length n with
  // border b repeats with period n - b, and a prefix of the reversed sequence is a tail of the
  // trace.
  const size_t size = tokens.size();
  std::vector<uint32_t> border(size, 0);
  const auto at = [&](size_t i) { return tokens[size - 1 - i]; };
  Loop best;
  for (size_t i = 1; i < size; ++i) {
    uint32_t length = border[i - 1];
    while (length > 0 && at(i) != at(length)) length = border[length - 1];
    if (at(i) == at(length)) ++length;
    border[i] = length;
    const size_t tail = i + 1;
    const size_t period = tail - length;
    if (length > 0 && tail >= kMinTokens && tail >= kMinRounds * period) {
      best = {static_cast<uint32_t>(size - tail), static_cast<uint32_t>(period)};
    }
  }
  return best;
}

double repeated_share(const std::vector<TokenId>& tokens) {
  constexpr size_t kGram = 4;
  if (tokens.size() < kGram + 1) return 0;
  std::unordered_set<uint64_t> seen;
  const size_t grams = tokens.size() - kGram + 1;
  seen.reserve(grams);
  for (size_t i = 0; i < grams; ++i) {
    uint64_t hash = 0;
    for (size_t k = 0; k < kGram; ++k) {
      hash = (hash ^ static_cast<uint32_t>(tokens[i + k])) * 0x9E3779B97F4A7C15u;
      hash ^= hash >> 29;
    }
    seen.insert(hash);
  }
  return static_cast<double>(grams - seen.size()) / static_cast<double>(grams);
}

int count_language_switches(std::string_view text) {
  int switches = 0;
  Script current = Script::kNone;
  Script word = Script::kNone;
  int letters = 0;
  const auto end_word = [&] {
    // Single letters are symbols (x, alpha), not words of a language; East Asian words may be one
    // letter.
    if (letters >= 2 || word == Script::kEastAsian) {
      if (current != Script::kNone && word != current) ++switches;
      current = word;
    }
    letters = 0;
  };
  for (size_t at = 0; at < text.size();) {
    const Script script = script_of(next_character(text, at));
    if (script != word) {
      if (word != Script::kNone) end_word();
      word = script;
    }
    if (script != Script::kNone) ++letters;
  }
  if (word != Script::kNone) end_word();
  return switches;
}

size_t token_at(const std::vector<uint32_t>& token_begins, uint32_t byte) {
  const auto after = std::upper_bound(token_begins.begin(), token_begins.end(), byte);
  return after == token_begins.begin() ? 0 : static_cast<size_t>(after - token_begins.begin()) - 1;
}

SampleScanner::SampleScanner(const Task* task, ScanOptions options)
    : task_(task), options_(std::move(options)), matcher_([&] {
        std::vector<WordList> lists = built_in_word_lists();
        lists.insert(lists.end(), options_.word_lists.begin(), options_.word_lists.end());
        return lists;
      }()) {}

std::string SampleScanner::fingerprint() const {
  std::string out = "scan " + std::to_string(kScanVersion);
  for (const WordList& list : lists()) {
    out += "; " + list.name + " " + std::to_string(list.version);
    if (list.source.empty()) {
      for (const std::string& word : list.words) out += "," + word;
    }
  }
  for (const auto& scanner : options_.scanners) {
    out += "; " + scanner->name() + " " + std::to_string(scanner->version());
  }
  return out + (task_ == nullptr ? "; no task" : "; " + task_->name());
}

std::vector<SampleScan> SampleScanner::scan(const Group& group) const {
  CandidateGrader grader(task_, group.problem);
  std::vector<SampleScan> scans;
  scans.reserve(group.samples.size());
  for (const Sample& sample : group.samples) {
    SampleScan scan;
    scan.correct = is_correct(sample);
    scan.failed = failed_grading(sample) != nullptr;
    scan.truncated = sample.finish == FinishReason::kLength;
    const Loop loop = find_loop(sample.tokens);
    scan.loop = loop.period > 0;
    scan.loop_begin = loop.begin;
    scan.loop_period = loop.period;
    scan.repetition = repeated_share(sample.tokens);
    scan.language_switches = count_language_switches(sample.text);
    count_words(matcher_, sample.text, scan);
    scan.candidates = grader.find(sample);
    find_flips(scan);
    for (const auto& scanner : options_.scanners) {
      scan.extra.push_back(scanner->scan(group.problem, sample));
    }
    scans.push_back(std::move(scan));
  }
  return scans;
}

}  // namespace zeroth
