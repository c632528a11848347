#include "tasks/builtin/arithmetic.h"

#include <algorithm>
#include <vector>

#include "core/rng.h"
#include "rewards/process.h"

namespace zeroth {
namespace {

constexpr int64_t kSize = int64_t{1} << 31;
constexpr size_t kMostSteps = 1000;
enum Stream : uint32_t { kTrainDraw = 1, kHeldOutDraw };

int64_t compute(int64_t a, char op, int64_t b) {
  return op == '+' ? a + b : op == '-' ? a - b : a * b;
}

std::vector<int> digits_of(int64_t value) {
  std::vector<int> digits;
  do {
    digits.push_back(static_cast<int>(value % 10));
    value /= 10;
  } while (value > 0);
  return digits;
}

// Lines as they are written, and what they say.
class Notes {
 public:
  explicit Notes(const WriteDown& write_down) : write_down_(write_down) {}
  // Writes "formula=value", value what write_down makes of the right one, and returns it.
  int64_t line(const std::string& formula, int64_t right) {
    const int64_t value = write_down_(right);
    text_ += (text_.empty() ? "" : "\n") + formula + "=" + std::to_string(value);
    return value;
  }
  std::string take() { return std::move(text_); }

 private:
  const WriteDown& write_down_;
  std::string text_;
};

int64_t add_lines(int64_t a, int64_t b, Notes& notes) {
  std::vector<int> left = digits_of(a), right = digits_of(b);
  const size_t places = std::max(left.size(), right.size());
  left.resize(places);
  right.resize(places);
  int64_t carry = 0, place = 1, result = 0;
  for (size_t i = 0; i < places; ++i) {
    std::string formula = std::to_string(left[i]) + "+" + std::to_string(right[i]);
    if (carry > 0) formula += "+" + std::to_string(carry);
    const int64_t sum = notes.line(formula, left[i] + right[i] + carry);
    carry = sum / 10;
    result += sum % 10 * place;
    place *= 10;
  }
  return result + carry * place;
}

// a >= b >= 0.
int64_t subtract_lines(int64_t a, int64_t b, Notes& notes) {
  std::vector<int> left = digits_of(a), right = digits_of(b);
  right.resize(left.size());
  int64_t borrow = 0, place = 1, result = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    const int64_t low = right[i] + borrow;
    const int64_t high = left[i] < low ? left[i] + 10 : left[i];
    std::string formula = std::to_string(high) + "-" + std::to_string(right[i]);
    if (borrow > 0) formula += "-1";
    result += notes.line(formula, high - low) * place;
    borrow = left[i] < low;
    place *= 10;
  }
  return result;
}

int64_t multiply_lines(int64_t a, int64_t b, Notes& notes) {
  const auto product = [&](int64_t factor) {
    return notes.line(std::to_string(a) + "*" + std::to_string(factor), a * factor);
  };
  int64_t place = 1, sum = 0;
  bool first = true;
  for (const int digit : digits_of(b)) {
    if (digit > 0) {
      const int64_t part = product(digit * place);
      sum = first ? part : notes.line(std::to_string(sum) + "+" + std::to_string(part), sum + part);
      first = false;
    }
    place *= 10;
  }
  return first ? product(b) : sum;
}

// [[end, score], ..] of the lines of `think`, which lies in `text`: 1 for a line that is the one of
// the right working in its place. Lines beyond it are wrong, and so is what is left out: a step of
// no text behind the last line.
Json step_scores(std::string_view text, std::string_view think, std::string_view working) {
  Json steps = Json::array();
  const auto take = [](std::string_view& from) {
    const size_t end = std::min(from.find('\n'), from.size());
    const std::string_view line = from.substr(0, end);
    from.remove_prefix(std::min(end + 1, from.size()));
    return line;
  };
  while (!think.empty() && steps.size() < kMostSteps) {
    const std::string_view line = take(think);
    if (line.empty()) continue;
    const auto end = static_cast<size_t>(line.data() + line.size() - text.data());
    const bool right = !working.empty() && line == take(working);
    steps.push_back(Json::array({end, right ? 1 : 0}));
  }
  if (!working.empty() && !steps.empty()) steps.push_back(Json::array({steps.back()[0], 0}));
  return steps;
}

}  // namespace

Working work_out(int64_t a, char op, int64_t b, const WriteDown& write_down) {
  Notes notes(write_down);
  int64_t result = 0;
  if (op == '+') result = add_lines(a, b, notes);
  if (op == '-') {
    result = subtract_lines(std::max(a, b), std::min(a, b), notes);
    if (a < b) result = -result;
  }
  if (op == '*') result = multiply_lines(a, b, notes);
  return {notes.take(), result};
}

std::string scratch_lines(int64_t a, char op, int64_t b) {
  return work_out(a, op, b, [](int64_t right) { return right; }).lines;
}

ArithmeticTask::ArithmeticTask(ArithmeticOptions options) : options_(std::move(options)) {
  options_.render("");
  if (options_.ops.empty() || options_.ops.find_first_not_of("+-*") != std::string::npos) {
    fail_usage("task arithmetic: ops \"" + options_.ops + "\"",
               "choose from + - *, for example ops=+-");
  }
}

int64_t ArithmeticTask::size(Split) const { return kSize; }

Problem ArithmeticTask::problem(Split split, int64_t index) const {
  const bool held_out = split == Split::kHeldOut;
  if (index < 0 || index >= kSize)
    fail("task arithmetic: problem " + std::to_string(index) + " does not exist");
  Rng rng(StreamKey{options_.seed, held_out ? kHeldOutDraw : kTrainDraw,
                    static_cast<uint32_t>(index), 0});
  const auto operand = [&] {
    // Every length is equally likely; a uniform number would nearly always have the most digits.
    const int digits = 1 + static_cast<int>(rng.below(static_cast<uint32_t>(options_.digits)));
    int64_t low = 1;
    for (int i = 1; i < digits; ++i) low *= 10;
    return (low == 1 ? 0 : low) + rng.below(static_cast<uint32_t>(low == 1 ? 10 : 9 * low));
  };
  for (int attempt = 0; attempt < 1000000; ++attempt) {
    const int64_t a = operand(), b = operand();
    const char op = options_.ops[rng.below(static_cast<uint32_t>(options_.ops.size()))];
    const std::string question = std::to_string(a) + op + std::to_string(b);
    // a+b and b+a are one problem for the split.
    const std::string key =
        op == '-' ? question : std::to_string(std::min(a, b)) + op + std::to_string(std::max(a, b));
    if (is_held_out(key, options_.held_out_every) != held_out) continue;
    Problem problem;
    problem.task = name();
    problem.id = (held_out ? "held-out-" : "train-") + std::to_string(index);
    problem.prompt = options_.render(question + "=");
    problem.answer = std::to_string(compute(a, op, b));
    problem.meta = {{"a", a}, {"op", std::string(1, op)}, {"b", b}, {"key", key}};
    return problem;
  }
  fail_usage("task arithmetic: every problem falls into the other split",
             "use more digits or another held_out_every");
}

std::vector<Verdict> ArithmeticTask::grade(const Problem& problem, std::string_view completion,
                                           FinishReason finish) const {
  const ResponseParts parts = split_response(completion, options_.format_rules());
  Verdict accuracy;
  accuracy.name = "accuracy";
  if (parts.reason == Reason::kNone) {
    accuracy.extracted = std::string(parts.answer.substr(0, 64));
    accuracy.score = parts.answer == problem.answer ? 1 : 0;
    accuracy.reason = accuracy.score == 1 ? Reason::kCorrect : Reason::kWrong;
  } else {
    accuracy.reason = finish == FinishReason::kLength ? Reason::kTruncated : parts.reason;
  }

  const auto op = problem.meta.at("op").get<std::string>();
  const std::string working = scratch_lines(problem.meta.at("a").get<int64_t>(), op[0],
                                            problem.meta.at("b").get<int64_t>());
  const auto needed = 1 + std::count(working.begin(), working.end(), '\n');
  Verdict process = check_process(parts.think, static_cast<int>(needed));
  process.weight = options_.process_weight;
  accuracy.info = std::move(process.info);
  if (options_.check_steps)
    accuracy.info["step_rewards"] = step_scores(completion, parts.think, working);
  process.info = Json::object();
  std::vector<Verdict> verdicts = options_.verdicts(std::move(accuracy), completion, finish);
  verdicts.push_back(std::move(process));
  return verdicts;
}

std::string ArithmeticTask::gold_completion(const Problem& problem) const {
  const auto op = problem.meta.at("op").get<std::string>();
  const std::string lines = scratch_lines(problem.meta.at("a").get<int64_t>(), op[0],
                                          problem.meta.at("b").get<int64_t>());
  return std::string(options_.think_opened() ? "" : "<think>") + lines + "</think><answer>" +
         problem.answer + (options_.stop_at_answer ? "" : "</answer>");
}

}  // namespace zeroth
