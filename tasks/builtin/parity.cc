#include "tasks/builtin/parity.h"

#include <algorithm>

#include "core/rng.h"

namespace zeroth {
namespace {

constexpr int64_t kSize = int64_t{1} << 31;
enum Stream : uint32_t { kTrainDraw = 1, kHeldOutDraw };

std::string running_parities(std::string_view bits) {
  std::string chain;
  int parity = 0;
  for (const char bit : bits) {
    parity ^= bit == '1';
    chain += static_cast<char>('0' + parity);
  }
  return chain;
}

// The text without separators and blanks; `clean` is false when something else than bits is left.
std::string strip(std::string_view text, const std::string& separator, bool* clean) {
  std::string bits;
  *clean = true;
  for (size_t at = 0; at < text.size();) {
    if (!separator.empty() && text.substr(at).starts_with(separator)) {
      at += separator.size();
      continue;
    }
    const char c = text[at++];
    if (c == '0' || c == '1') {
      bits += c;
    } else if (c != ' ' && c != '\n' && c != '\t' && c != '\r') {
      *clean = false;
    }
  }
  return bits;
}

}  // namespace

ParityTask::ParityTask(ParityOptions options) : options_(std::move(options)) {
  if (options_.separator.find_first_of("01=<>") != std::string::npos ||
      options_.separator.size() > 8) {
    fail_usage("task parity: separator \"" + options_.separator + "\"",
               "use a short text without 0, 1, =, < and >");
  }
  // Short strings may all hash to one side.
  bool seen[2] = {false, false};
  for (int value = 0; value < (1 << std::min(options_.bits, 12)); ++value) {
    std::string bits;
    for (int i = 0; i < options_.bits; ++i) bits += i < 12 && ((value >> i) & 1) ? '1' : '0';
    seen[is_held_out(bits, options_.held_out_every)] = true;
  }
  if (!seen[0] || !seen[1]) {
    fail_usage("task parity: " + std::to_string(options_.bits) + " bits leave one split empty",
               "use more bits or another held_out_every");
  }
}

int64_t ParityTask::size(Split) const { return kSize; }

std::string ParityTask::join(std::string_view bits) const {
  std::string text;
  for (size_t i = 0; i < bits.size(); ++i) {
    if (i > 0) text += options_.separator;
    text += bits[i];
  }
  return text;
}

std::string ParityTask::chain(std::string_view bits) const { return join(running_parities(bits)); }

Problem ParityTask::problem(Split split, int64_t index) const {
  const bool held_out = split == Split::kHeldOut;
  if (index < 0 || index >= kSize)
    fail("task parity: problem " + std::to_string(index) + " does not exist");
  Rng rng(StreamKey{options_.seed, held_out ? kHeldOutDraw : kTrainDraw,
                    static_cast<uint32_t>(index), 0});
  std::string bits;
  do {
    bits.clear();
    for (int i = 0; i < options_.bits; ++i) bits += rng.bits() & 1 ? '1' : '0';
  } while (is_held_out(bits, options_.held_out_every) != held_out);
  Problem problem;
  problem.task = name();
  problem.id = (held_out ? "held-out-" : "train-") + std::to_string(index);
  problem.prompt = join(bits) + "=";
  problem.answer = running_parities(bits).substr(bits.size() - 1);
  problem.meta = {{"bits", bits}};
  return problem;
}

std::vector<Verdict> ParityTask::grade(const Problem& problem, std::string_view completion,
                                       FinishReason finish) const {
  constexpr std::string_view kOpen = "<think>", kClose = "</think>";
  const auto bits = problem.meta.at("bits").get<std::string>();
  const std::string_view text = trim(completion);
  const bool thinks = text.find(kOpen) != std::string_view::npos;
  const size_t close = text.rfind(kClose);
  std::string_view answer = text;
  if (close != std::string_view::npos) answer = trim(text.substr(close + kClose.size()));

  Verdict accuracy;
  accuracy.name = "accuracy";
  accuracy.weight = options_.accuracy_weight;
  accuracy.extracted = std::string(answer.substr(0, 64));
  if (answer != "0" && answer != "1") {
    accuracy.reason = finish == FinishReason::kLength ? Reason::kTruncated : Reason::kNoAnswer;
  } else {
    accuracy.score = answer == problem.answer ? 1 : 0;
    accuracy.reason = accuracy.score == 1 ? Reason::kCorrect : Reason::kWrong;
  }

  Verdict format;
  format.name = "format";
  format.weight = options_.format_weight;
  bool well_formed = answer == "0" || answer == "1";
  size_t length = 0, right = 0;
  if (thinks) {
    const size_t open = text.find(kOpen) + kOpen.size();
    const bool closed = close != std::string_view::npos && close >= open;
    bool clean = false;
    const std::string chain =
        strip(text.substr(open, closed ? close - open : std::string_view::npos), options_.separator,
              &clean);
    const std::string truth = running_parities(bits);
    length = chain.size();
    for (size_t i = 0; i < std::min(chain.size(), truth.size()); ++i) right += chain[i] == truth[i];
    well_formed = well_formed && closed && clean && open == kOpen.size() && length == bits.size() &&
                  text.find(kClose) == close;
  } else if (close != std::string_view::npos) {
    well_formed = false;
  }
  format.score = well_formed ? 1 : 0;
  format.reason = well_formed                       ? Reason::kFormatOk
                  : finish == FinishReason::kLength ? Reason::kTruncated
                                                    : Reason::kFormatBad;
  accuracy.info = {{"chain", length}, {"chain_right", right}};
  add_thinking_facts(thinks, accuracy.score == 1, accuracy.info);
  return {std::move(accuracy), std::move(format)};
}

std::string ParityTask::gold_completion(const Problem& problem) const {
  return "<think>" + chain(problem.meta.at("bits").get<std::string>()) + "</think>" +
         problem.answer;
}

}  // namespace zeroth
