#include "tests/inspect/made_run.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "core/error.h"
#include "core/files.h"
#include "core/parallel.h"
#include "record/run_recorder.h"
#include "tasks/builtin/countdown_moves.h"
#include "tasks/task.h"

namespace zeroth {
namespace {

constexpr int kLayers = 4;
constexpr int kTopK = 2;
constexpr int kExperts = 8;

// Words as single tokens where a real tokenizer of this task would have them, and all other bytes.
class Words {
 public:
  Words() {
    for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
    for (int n = 10; n <= 99; ++n) add(std::to_string(n));
    for (const char* word :
         {"<think>", "</think>", "<answer>", "</answer>", "->", "wait", " wait", "ok", "no",
          "<|end|>", "Numbers", " target ", "\n", " let", " me", " check", " try", " again"}) {
      add(word);
    }
    add_prose();
    for (size_t id = 0; id < words_.size(); ++id) {
      ids_.emplace(words_[id], static_cast<TokenId>(id));
    }
    words_.push_back(std::string(60000, 'A'));  // a hostile token
  }
  std::vector<TokenId> encode(std::string_view text) const {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      size_t size = std::min<size_t>(text.size(), 12);
      auto found = ids_.find(text.substr(0, size));
      while (found == ids_.end()) found = ids_.find(text.substr(0, --size));
      ids.push_back(found->second);
      text.remove_prefix(size);
    }
    return ids;
  }
  const Vocabulary& all() const { return words_; }
  TokenId end() const { return ids_.at("<|end|>"); }
  TokenId huge() const { return static_cast<TokenId>(words_.size() - 1); }
  // A word of a made-up language whose frequencies fall as in a natural one (Zipf's law).
  const std::string& prose(Rng& rng) const {
    const double rank = std::pow(static_cast<double>(prose_count_), rng.uniform()) - 1;
    return words_[first_prose_ + std::min(static_cast<size_t>(rank), prose_count_ - 1)];
  }

 private:
  void add(std::string word) { words_.push_back(std::move(word)); }
  void add_prose() {
    first_prose_ = words_.size();
    const std::string consonants = "bdfgklmnprstvz";
    const std::string vowels = "aeiou";
    for (const char a : consonants) {
      for (const char b : vowels) {
        for (const char c : consonants) {
          for (const char d : vowels) {
            if ((a * 7 + b * 5 + c * 3 + d) % 2 == 0) add({' ', a, b, c, d});
          }
        }
      }
    }
    prose_count_ = words_.size() - first_prose_;
  }
  Vocabulary words_;  // as it is filled before ids_, the views into it stay good
  std::unordered_map<std::string_view, TokenId> ids_;
  size_t first_prose_ = 0, prose_count_ = 0;
};

std::string try_text(const CountdownTry& attempt, int target, Rng& rng, bool* hit) {
  std::string out;
  for (const CountdownStep& step : attempt.steps) {
    if (!out.empty()) out += " ";
    out += std::to_string(step.a) + step.op + std::to_string(step.b) + "=" + std::to_string(step.c);
  }
  *hit = attempt.value == target;
  const bool judged = rng.chance(0.03) ? !*hit : *hit;
  return out + "->" + std::to_string(target) + (judged ? "ok" : "no");
}

// `skill` in [0, 1] is how far training has come: more tries, more "wait", so more hits.
std::string response(const Problem& problem, double skill, Rng& rng) {
  const auto numbers = problem.meta.at("nums").get<std::vector<int>>();
  const int target = problem.meta.at("target").get<int>();
  std::string think;
  std::string answer = "0";
  const int most =
      1 + static_cast<int>(rng.below(static_cast<uint32_t>(2 + std::lround(7 * skill))));
  for (int i = 0; i < most; ++i) {
    const CountdownTry attempt =
        random_countdown_try(numbers, 40, target, 0.15 + 0.35 * skill, rng);
    if (attempt.steps.empty()) break;
    if (i > 0) think += rng.chance(0.15 + 0.75 * skill) ? " wait " : "\n";
    bool hit = false;
    think += try_text(attempt, target, rng, &hit);
    answer = attempt.expression;
    if (hit && !rng.chance(0.05)) break;
  }
  if (rng.chance(0.04)) think += " wait let me check again";
  if (rng.chance(0.03)) {
    for (int i = 0; i < 12; ++i) think += " wait 9-3=6";
    return "<think>" + think;  // loops until the limit
  }
  return "<think>" + think + "</think><answer>" + answer + "</answer>";
}

// Words of every list, near misses of them, code that does not count, and other scripts.
const std::string& remark(Rng& rng) {
  static const std::vector<std::string> remarks = {
      " Wait, let me check",
      " await the waiter",
      " rechecking",
      " recheck",
      " Double-check",
      " ```\nwait check\n```",
      " re-evaluate, ERROR",
      " errors",
      " but butter",
      " try again",
      " then go over the steps",
      " check  again",
      " mistake_however",
      " \xc3\xa9"
      "but",
      " \xd0\xbf\xd0\xbe\xd0\xb4\xd0\xbe\xd0\xb6\xd0\xb4\xd0\xb8",
      " \xe7\xad\x89\xe4\xb8\x80\xe4\xb8\x8b",
      " we'd need step 1 first",
      " start from the target, make sure"};
  return remarks[rng.below(static_cast<uint32_t>(remarks.size()))];
}

// Failed tries and prose by turns, of about so many tokens.
std::string filler(const Problem& problem, const Words& words, int64_t tokens, Rng& rng) {
  const auto numbers = problem.meta.at("nums").get<std::vector<int>>();
  const int target = problem.meta.at("target").get<int>();
  std::string out;
  while (tokens > 0) {
    if (rng.chance(0.5)) {
      const CountdownTry attempt = random_countdown_try(numbers, 40, target, 0, rng);
      bool hit = false;
      const std::string text = try_text(attempt, target, rng, &hit);
      if (!attempt.steps.empty() && !hit) {
        out += text + "\n";
        tokens -= static_cast<int64_t>(words.encode(text).size()) + 1;
      }
    }
    for (uint32_t n = 4 + rng.below(12); n > 0; --n, --tokens) out += words.prose(rng);
    if (rng.chance(0.1)) {
      const std::string& text = remark(rng);
      out += text;
      tokens -= static_cast<int64_t>(words.encode(text).size());
    }
    out += "\n";
    --tokens;
  }
  return out;
}

void fill_numbers(Sample& sample, double skill, Rng& rng, bool experts) {
  for (size_t t = 0; t < sample.tokens.size(); ++t) {
    const double spread = rng.chance(0.25) ? 1.4 - 0.6 * skill : 0.06;
    const double entropy = spread * (0.3 + rng.uniform());
    sample.entropies.push_back(static_cast<float>(entropy));
    sample.logprobs.push_back(static_cast<float>(-entropy * -std::log(1 - 0.999 * rng.uniform())));
    if (!experts) continue;
    for (int layer = 0; layer < kLayers; ++layer) {
      for (int k = 0; k < kTopK; ++k) {
        // A slow drift towards the first experts of a layer gives the heat map something to show.
        const double u = std::pow(rng.uniform(), 1 + skill * layer * 0.4);
        sample.experts.push_back(
            static_cast<uint8_t>(std::min<double>(kExperts - 1, u * kExperts)));
      }
      // A router that is as sure as the policy.
      sample.router_confidence.push_back(
          static_cast<uint8_t>(255 * (0.2 + 0.8 * std::exp(-entropy))));
    }
  }
}

Sample make_sample(const Task& task, const Problem& problem, const Words& words, const MadeRun& run,
                   double skill, bool hostile, Rng& rng) {
  Sample sample;
  sample.text = response(problem, skill, rng);
  if (hostile) {
    sample.text += std::string(
        "<script>alert('x')</script><img src=x onerror=alert(1)>\x1b[31m\xe2\x80\xae"
        "evil\0\xff</pre>",
        71);
  }
  sample.tokens = words.encode(sample.text);
  if (const int64_t missing = run.tokens - static_cast<int64_t>(sample.tokens.size());
      missing > 0) {
    sample.text.insert(std::string_view("<think>").size(), filler(problem, words, missing, rng));
    sample.tokens = words.encode(sample.text);
  }
  sample.finish = sample.text.find("</answer>") == std::string::npos ? FinishReason::kLength
                                                                     : FinishReason::kStop;
  if (hostile) sample.tokens.push_back(words.huge());
  if (sample.finish == FinishReason::kStop) sample.tokens.push_back(words.end());
  sample.text.clear();
  for (const TokenId id : sample.tokens) {
    if (id != words.end()) sample.text += words.all()[static_cast<size_t>(id)];
  }
  fill_numbers(sample, skill, rng, run.experts);
  sample.verdicts = task.grade(problem, sample.text, sample.finish);
  if (run.failing && rng.below(4) == 0) {
    Verdict& accuracy = sample.verdicts.front();
    accuracy.score = 0;
    accuracy.reason = Reason::kCheckerError;
    accuracy.info = {{"fault", "garbage"}, {"detail", "its output is no JSON: <b>debug print</b>"}};
    sample.masked = true;
  }
  for (const Verdict& verdict : sample.verdicts) sample.reward += verdict.score * verdict.weight;
  return sample;
}

Group make_group(const Task& task, const Words& words, const MadeRun& run, int64_t index,
                 uint64_t seed, int step, double skill, bool hostile) {
  Group group;
  group.problem = task.problem(Split::kTrain, index);
  group.prompt_tokens = words.encode(group.problem.prompt);
  double sum = 0;
  for (int i = 0; i < run.samples; ++i) {
    const StreamKey key{seed, static_cast<uint32_t>(step), static_cast<uint32_t>(index),
                        static_cast<uint32_t>(i)};
    Rng rng(key);
    Sample sample = make_sample(task, group.problem, words, run, skill, hostile && i == 0, rng);
    sample.key = key;
    sample.versions = {{0, step - run.first_step}};
    sum += sample.reward;
    group.samples.push_back(std::move(sample));
  }
  const auto [low, high] =
      std::minmax_element(group.samples.begin(), group.samples.end(),
                          [](const Sample& a, const Sample& b) { return a.reward < b.reward; });
  group.zero_variance = low->reward == high->reward;
  for (Sample& sample : group.samples) {
    sample.advantage = group.zero_variance ? 0 : sample.reward - sum / run.samples;
  }
  return group;
}

Json metrics_of(const std::vector<Group>& groups, int step, double skill) {
  double reward = 0, length = 0, entropy = 0, tokens = 0, clipped = 0, zero = 0;
  int n = 0;
  for (const Group& group : groups) {
    zero += group.zero_variance;
    for (const Sample& sample : group.samples) {
      reward += sample.reward;
      length += static_cast<double>(sample.tokens.size());
      clipped += sample.finish == FinishReason::kLength;
      for (const float e : sample.entropies) entropy += e;
      tokens += static_cast<double>(sample.entropies.size());
      ++n;
    }
  }
  Rng noise(StreamKey{99, static_cast<uint32_t>(step), 0, 0});
  return {{"loss", 0.02 * noise.normal()},
          {"grad_norm", 0.4 + 0.1 * noise.uniform()},
          {"learning_rate", 5e-4},
          {"reward", reward / n},
          {"reward_std", 0.4},
          {"frac_reward_zero_std", zero / static_cast<double>(groups.size())},
          {"completions/mean_length", length / n},
          {"completions/clipped_ratio", clipped / n},
          {"entropy", entropy / std::max(tokens, 1.0)},
          {"kl", 0.02 * skill * noise.uniform()},
          {"sampling/sampling_logp_difference/max", 0.0},
          {"timing/tokens_per_s", 7000 + 400 * noise.uniform()},
          {"timing/step_seconds", 1.4 + 0.2 * noise.uniform()},
          {"timing/mfu", 0.3}};
}

}  // namespace

void make_run(const std::filesystem::path& folder, const MadeRun& run) {
  const Words words;
  const Json task_options = {{"count", 3}};
  const auto task = make_task("countdown", task_options);
  RecorderOptions options;
  options.record.progress = false;
  options.record.scan = run.scan;
  options.total_steps = run.first_step + run.steps - 1;
  options.run_info = {{"task", {{"name", "countdown"}, {"options", task_options}}},
                      {"moe", {{"layers", kLayers}, {"top_k", kTopK}, {"experts", kExperts}}}};
  options.vocabulary = words.all();
  options.task = task.get();
  RunRecorder recorder(folder, options);
  write_file_atomic(
      folder / "config.json",
      Json({{"made", true},
            {"seed", run.seed},
            {"steps", run.planned > 0 ? run.planned : run.steps},
            {"task", {{"name", "countdown"}, {"options", task_options}}},
            {"alarms", {{"stop_on", {"checker_errors"}}}},
            {"history",
             {{{"event", "started"}, {"step", 0}},
              {{"event", "resumed"}, {"step", 1}, {"changes", {{"optimizer.lr", {5e-4, 1e-4}}}}}}}})
          .dump(2));
  for (int step = run.first_step; step < run.first_step + run.steps; ++step) {
    const double skill = 1 - std::exp(-2.5 * (step - run.first_step) / std::max(run.steps, 1));
    std::vector<Group> groups(static_cast<size_t>(run.groups));
    parallel_for(run.groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; ++g) {
        const int64_t index = (int64_t{step} * run.groups + g) % task->size(Split::kTrain);
        groups[static_cast<size_t>(g)] =
            make_group(*task, words, run, index, run.seed, step, skill, run.hostile && g == 0);
      }
    });
    if (run.probe_every > 0 && (step - run.first_step) % run.probe_every == 0) {
      std::vector<Group> probes;
      for (int p = 0; p < 4; ++p)
        probes.push_back(make_group(*task, words, run, 100003 % task->size(Split::kTrain) + p,
                                    run.seed, step, skill, false));
      recorder.record_groups(step, GroupSource::kProbe, probes);
    }
    Json metrics = metrics_of(groups, step, skill);
    metrics["num_tokens"] = 1000 * (step - run.first_step + 1);
    const bool last = step + 1 == run.first_step + run.steps;
    if (run.eval_every > 0 && ((step - run.first_step) % run.eval_every == 0 || last)) {
      metrics["eval/pass@1"] = 0.1 + 0.7 * skill;
      metrics["eval/pass@K"] = 0.2 + 0.7 * skill;
      metrics["eval/samples"] = 4;
    }
    if (run.failing && last) {
      metrics["alarms"] = {"checker_errors"};
      metrics["alarm_messages"] = {{"checker_errors", "6% of the answers could not be graded"}};
    }
    recorder.record(step, metrics, groups);
    if (!groups.empty() && !groups[0].samples.empty()) {
      std::vector<std::vector<float>> log_ratios;
      for (const Sample& sample : groups[0].samples) {
        std::vector<float> row;
        Rng rng(StreamKey{run.seed + 1, static_cast<uint32_t>(step), 0, sample.key.sample});
        for (size_t t = 0; t < sample.tokens.size(); ++t)
          row.push_back(static_cast<float>(0.1 * rng.normal()));
        log_ratios.push_back(std::move(row));
      }
      recorder.annotate(step, 0, "log_ratios", log_ratios);
    }
  }
}

}  // namespace zeroth
