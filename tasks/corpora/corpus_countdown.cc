#include "tasks/corpora/corpus_countdown.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "tasks/builtin/countdown_moves.h"

namespace zeroth {
namespace {

// Writes one document. Lives for one call of CountdownCorpus::document.
class Writer {
 public:
  Writer(const CountdownCorpusOptions& options, std::vector<int> numbers, int target, Rng& rng)
      : options_(options), numbers_(std::move(numbers)), target_(target), rng_(rng) {
    for (CountdownTry& t : all_countdown_tries(numbers_, options_.max_value)) {
      if (t.value == target_) right_.push_back(std::move(t));
    }
  }

  std::string write() {
    const double total =
        options_.share_direct + options_.share_one + options_.share_short + options_.share_long;
    double pick = rng_.uniform() * total;
    if ((pick -= options_.share_direct) < 0) return response("", draw_try(0).expression);
    if ((pick -= options_.share_one) < 0) return tries(1, 0, 0, 0, false);
    if ((pick -= options_.share_short) < 0) {
      return tries(options_.max_tries, options_.go_on_short, options_.wait_short, 0, false);
    }
    return tries(options_.max_tries, options_.go_on_long, 1, options_.aim_long, true);
  }

 private:
  static std::string response(const std::string& think, const std::string& answer) {
    return "<think>" + think + "</think><answer>" + answer + "</answer>";
  }

  CountdownTry draw_try(double aim) {
    if (!right_.empty() && rng_.chance(options_.right_try)) {
      return right_[rng_.below(static_cast<uint32_t>(right_.size()))];
    }
    return random_countdown_try(numbers_, options_.max_value, target_, aim, rng_);
  }

  // A try that this document has not made yet, when one is found soon.
  CountdownTry draw_new_try(double aim) {
    CountdownTry candidate = draw_try(aim);
    for (int attempt = 0; attempt < 30 && seen_.contains(candidate.expression); ++attempt) {
      candidate = draw_try(aim);
    }
    return candidate;
  }

  std::string tries(int limit, double go_on, double wait, double aim, bool no_repeats) {
    std::string text;
    for (int n = 1;; ++n) {
      const CountdownTry chosen = no_repeats ? draw_new_try(aim) : draw_try(aim);
      seen_.insert(chosen.expression);
      const bool judged_ok = write_try(chosen, &text);
      if (judged_ok || n == limit || !rng_.chance(go_on)) return response(text, chosen.expression);
      text += rng_.chance(wait) ? " wait " : "\n";
    }
  }

  // Appends the operations and the verdict; returns the verdict.
  bool write_try(const CountdownTry& chosen, std::string* text) {
    const std::vector<CountdownStep> steps = with_slip(chosen.steps);
    for (const CountdownStep& step : steps) {
      *text += (&step == &steps[0] ? "" : " ") + std::to_string(step.a) + step.op +
               std::to_string(step.b) + "=" + std::to_string(step.c);
    }
    const bool hit = !steps.empty() && steps.back().c == target_;
    const bool ok = hit ? !rng_.chance(options_.false_no) : rng_.chance(options_.false_ok);
    if (options_.repeat_target) *text += "->" + std::to_string(target_);
    *text += ok ? "ok" : "no";
    return ok;
  }

  // At most one stated result becomes wrong; later operations go on with the wrong one. A slip
  // after which a later operation would no longer be allowed does not happen.
  std::vector<CountdownStep> with_slip(const std::vector<CountdownStep>& steps) {
    for (size_t k = 0; k < steps.size(); ++k) {
      if (!rng_.chance(options_.slip)) continue;
      std::vector<CountdownStep> changed = steps;
      int from = steps[k].c, to = slipped(from);
      changed[k].c = to;
      for (size_t j = k + 1; j < steps.size() && from != to; ++j) {
        CountdownStep& step = changed[j];
        if (step.a != from && step.b != from) continue;
        (step.a == from ? step.a : step.b) = to;
        if (step.a < step.b) std::swap(step.a, step.b);
        from = steps[j].c;
        if (!countdown_op(step.a, step.op, step.b, options_.max_value, &step.c)) return steps;
        to = step.c;
      }
      return changed;
    }
    return steps;
  }

  int slipped(int value) {
    const int by = 1 + static_cast<int>(rng_.below(3));
    const bool down = rng_.chance(0.5);
    const int wrong = down ? value - by : value + by;
    return wrong >= 1 && wrong <= options_.max_value ? wrong
           : down                                    ? value + by
                                                     : std::max(1, value - by);
  }

  const CountdownCorpusOptions& options_;
  std::vector<int> numbers_;
  int target_;
  Rng& rng_;
  std::vector<CountdownTry> right_;
  std::set<std::string> seen_;
};

CountdownCorpusOptions checked(CountdownCorpusOptions options) {
  const double total =
      options.share_direct + options.share_one + options.share_short + options.share_long;
  if (std::abs(total - 1) > 1e-6) {
    fail_usage("corpus countdown: the shares sum to " + std::to_string(total),
               "make the four shares sum to 1");
  }
  if (options.count > 4) {
    fail_usage("corpus countdown: count " + std::to_string(options.count),
               "tries are listed for at most 4 numbers");
  }
  if (!options.data.empty()) {
    fail_usage("corpus countdown: data \"" + options.data + "\"",
               "the corpus makes its own problems; leave data out");
  }
  return options;
}

}  // namespace

void CountdownCorpusOptions::use_preset() {
  const bool plain = preset == "plain";
  share_direct = plain ? 0.10 : 0.08;
  share_long = plain ? 0.10 : 0.12;
  false_ok = plain ? 0.03 : 0.02;
  false_no = plain ? 0.02 : 0.01;
  right_try = plain ? 0 : 0.3;
  repeat_target = !plain;
}

CountdownCorpus::CountdownCorpus(CountdownCorpusOptions options)
    : options_(checked(std::move(options))), task_(options_) {}

Document CountdownCorpus::document(uint64_t seed, int64_t index) const {
  Rng rng = document_rng(seed, index);
  const int64_t size = std::min<int64_t>(task_.size(Split::kTrain), UINT32_MAX);
  const Problem problem = task_.problem(Split::kTrain, rng.below(static_cast<uint32_t>(size)));
  Writer writer(options_, problem.meta.at("nums").get<std::vector<int>>(),
                problem.meta.at("target").get<int>(), rng);
  return {problem.prompt, writer.write()};
}

Rng document_rng(uint64_t seed, int64_t index) {
  constexpr uint32_t kDocuments = 0xd0c5;
  const auto bits = static_cast<uint64_t>(index);
  return Rng(
      StreamKey{seed, kDocuments, static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32)});
}

}  // namespace zeroth
