#include "tasks/builtin/programs.h"

#include "core/rng.h"
#include "tasks/builtin/small_function.h"

namespace zeroth {
namespace {

constexpr const char* kBodies[] = {"a+b",   "a-b",   "a*b",   "max(a,b)", "min(a,b)", "b-a",
                                   "a*a+b", "a+b*b", "a+a+b", "abs(a-b)", "a*b+1",    "a+b+1"};

int64_t value_of(int function, int a, int b) {
  static const std::vector<SmallFunction> functions = [] {
    std::vector<SmallFunction> parsed;
    for (const char* body : kBodies)
      parsed.push_back(SmallFunction::parse(std::string("lambda a,b:") + body));
    return parsed;
  }();
  int64_t value = 0;
  functions[static_cast<size_t>(function)].call(a, b, &value);
  return value;
}

PyValue whole(int64_t value) {
  PyValue v;
  v.kind = PyValue::Kind::kInt;
  v.text = std::to_string(value);
  return v;
}

}  // namespace

ProgramsTask::ProgramsTask(ProgramsOptions options) : options_(std::move(options)) {
  options_.render("");
  const int side = options_.max_input + 1;
  for (int f = 0; f < options_.operators; ++f) {
    for (int x = 0; x < side * side; ++x) {
      for (int y = 0; y < side * side; ++y) {
        const Instance instance{f, {x / side, y / side}, {x % side, y % side}};
        int fitting = 0;
        for (int g = 0; g < options_.operators; ++g) {
          fitting += value_of(g, instance.a[0], instance.b[0]) ==
                         value_of(f, instance.a[0], instance.b[0]) &&
                     value_of(g, instance.a[1], instance.b[1]) ==
                         value_of(f, instance.a[1], instance.b[1]);
        }
        if (x == y || fitting != 1) continue;
        // The same two examples in the other order are the same problem.
        const std::string key = std::to_string(f) + ":" + std::to_string(std::min(x, y)) + "," +
                                std::to_string(std::max(x, y));
        instances_[is_held_out(key, options_.held_out_every)].push_back(instance);
      }
    }
  }
  for (auto& split : instances_) {
    if (split.empty()) {
      fail_usage("task programs: too few problems for two splits",
                 "use more operators or a larger max_input");
    }
    Rng rng(options_.seed, 1);
    for (size_t i = split.size(); i > 1; --i)
      std::swap(split[i - 1], split[rng.below(static_cast<uint32_t>(i))]);
  }
  if (options_.runner == "sandbox") {
    pool_ = make_sandbox_pool(options_);
    for (int f = 0; f < options_.operators; ++f) {
      CodeTests tests;
      tests.entry = "f";
      for (int x = 0; x < side * side; ++x) {
        CodeTest test;
        test.arguments = {whole(x / side), whole(x % side)};
        test.expected = whole(value_of(f, x / side, x % side));
        tests.tests.push_back(std::move(test));
      }
      tests_.push_back(std::move(tests));
    }
  }
}

ProgramsTask::~ProgramsTask() = default;

std::vector<std::string> ProgramsTask::bodies() const {
  return {std::begin(kBodies), std::begin(kBodies) + options_.operators};
}

int64_t ProgramsTask::size(Split split) const {
  return static_cast<int64_t>(instances_[split == Split::kHeldOut].size());
}

Problem ProgramsTask::problem(Split split, int64_t index) const {
  if (index < 0 || index >= size(split)) {
    fail("task programs: problem " + std::to_string(index) + " of " + std::to_string(size(split)));
  }
  const Instance& instance = instances_[split == Split::kHeldOut][static_cast<size_t>(index)];
  std::string question;
  Json examples = Json::array();
  for (int i = 0; i < 2; ++i) {
    const int64_t value = value_of(instance.function, instance.a[i], instance.b[i]);
    question += (i == 0 ? "f(" : " f(") + std::to_string(instance.a[i]) + "," +
                std::to_string(instance.b[i]) + ")=" + std::to_string(value);
    examples.push_back({instance.a[i], instance.b[i], value});
  }
  Problem problem;
  problem.task = name();
  problem.id = (split == Split::kHeldOut ? "held-out-" : "train-") + std::to_string(index);
  problem.prompt = options_.render(question);
  problem.answer = std::string("lambda a,b:") + kBodies[instance.function];
  problem.meta = {{"function", instance.function}, {"examples", examples}};
  return problem;
}

Verdict ProgramsTask::run_native(std::string_view program, const Problem& problem) const {
  const int function = problem.meta.at("function").get<int>();
  const SmallFunction answer = SmallFunction::parse(program);
  Verdict verdict;
  verdict.name = "accuracy";
  verdict.extracted = std::string(program.substr(0, 4096));
  verdict.info = Json::object();
  if (!answer.ok()) {
    verdict.reason = answer.reason();
    verdict.info["error"] = answer.error();
    return verdict;
  }
  const auto fits = [&](int64_t a, int64_t b, int64_t want) {
    int64_t value = 0;
    return answer.call(a, b, &value) && value == want;
  };
  int shown = 0, right = 0, total = 0;
  for (const Json& e : problem.meta.at("examples")) {
    shown += fits(e[0].get<int64_t>(), e[1].get<int64_t>(), e[2].get<int64_t>());
  }
  for (int a = 0; a <= options_.max_input; ++a) {
    for (int b = 0; b <= options_.max_input; ++b) {
      ++total;
      right += fits(a, b, value_of(function, a, b));
    }
  }
  verdict.score = right == total            ? 1
                  : options_.partial_credit ? static_cast<double>(right) / total
                                            : 0;
  verdict.reason = right == total ? Reason::kCorrect : Reason::kWrong;
  verdict.info = {{"tests", total}, {"tests_right", right}, {"examples_right", shown}};
  return verdict;
}

std::vector<std::vector<Verdict>> ProgramsTask::grade_batch(
    std::span<const GradeRequest> requests) const {
  std::vector<std::vector<Verdict>> results(requests.size());
  std::vector<CodeSubmission> submissions;
  std::vector<size_t> places;
  for (size_t i = 0; i < requests.size(); ++i) {
    const GradeRequest& request = requests[i];
    const ResponseParts parts = split_response(request.completion, options_.format_rules());
    if (parts.reason != Reason::kNone) {
      Verdict none;
      none.name = "accuracy";
      none.reason = request.finish == FinishReason::kLength ? Reason::kTruncated : parts.reason;
      none.info = {{"error", parts.why}};
      results[i] = options_.verdicts(std::move(none), request.completion, request.finish);
    } else if (pool_ == nullptr) {
      results[i] = options_.verdicts(run_native(parts.answer, *request.problem), request.completion,
                                     request.finish);
    } else {
      const auto function = request.problem->meta.at("function").get<size_t>();
      submissions.push_back({"f = " + std::string(parts.answer), &tests_.at(function)});
      places.push_back(i);
    }
  }
  if (submissions.empty()) return results;
  std::vector<CodeVerdict> codes(submissions.size());
  try {
    codes = grade_code(submissions, options_.code_options(), *pool_);
  } catch (const Error& error) {
    for (CodeVerdict& code : codes) {
      code.reason = Reason::kCheckerError;
      code.detail = error.what();
    }
  }
  for (size_t k = 0; k < places.size(); ++k) {
    results[places[k]] =
        options_.verdicts(code_accuracy(codes[k], submissions[k].program),
                          requests[places[k]].completion, requests[places[k]].finish);
  }
  return results;
}

std::string ProgramsTask::gold_completion(const Problem& problem) const {
  return options_.wrap_answer(problem.answer);
}

}  // namespace zeroth
