#include "rl/turns.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "core/error.h"
#include "core/interrupted.h"
#include "core/json_text.h"

namespace zeroth {
namespace {

constexpr char kVerdict[] = "turns";

// A sample on its way.
struct Episode {
  int request = 0, index = 0;
  Sample sample;
  std::string said;  // what the policy wrote in the turns that are over, stop strings included
  Json facts = Json::object();
  std::string fault, detail;
};

// The text of one turn with the stop string that ended it, without end-of-text.
std::string reply_text(const Tokenizer& tokenizer, std::span<const TokenId> tokens) {
  const auto& ends = tokenizer.eos_ids();
  if (!tokens.empty() && std::find(ends.begin(), ends.end(), tokens.back()) != ends.end())
    tokens = tokens.first(tokens.size() - 1);
  std::vector<TokenId> known;
  for (const TokenId token : tokens)
    if (token < tokenizer.vocab_size()) known.push_back(token);
  return tokenizer.decode(known);
}

// Rows [tokens] of the sample for tokens that are not drawn: from those of the turn's prompt.
void add_routing(const Sample& turn, size_t prompt, Sample& sample) {
  if (turn.experts.empty()) return;
  const size_t row = turn.experts.size() / turn.tokens.size();
  const size_t confidence = turn.router_confidence.size() / turn.tokens.size();
  // Token t was (or would have been) drawn from row prompt - 1 + t.
  const size_t have = sample.experts.size() / row;
  const auto rows = turn.prompt_experts.begin();
  sample.experts.insert(sample.experts.end(),
                        rows + static_cast<std::ptrdiff_t>((prompt - 1 + have) * row),
                        turn.prompt_experts.end());
  sample.router_confidence.resize(sample.tokens.size() * confidence, 0);
  sample.experts.insert(sample.experts.end(), turn.experts.begin(), turn.experts.end());
  sample.router_confidence.insert(sample.router_confidence.end(), turn.router_confidence.begin(),
                                  turn.router_confidence.end());
}

void add_versions(const Sample& turn, Sample& sample) {
  const auto before = static_cast<int32_t>(sample.tokens.size());
  for (const VersionSegment& segment : turn.versions) {
    if (!sample.versions.empty() && sample.versions.back().version == segment.version) continue;
    sample.versions.push_back({before + segment.first, segment.version});
  }
}

// Puts a turn that was drawn behind what the episode has; `prompt` tokens stood before the sample.
void append(Sample turn, size_t prompt, Sample& sample) {
  add_versions(turn, sample);
  add_routing(turn, prompt, sample);
  sample.tokens.insert(sample.tokens.end(), turn.tokens.begin(), turn.tokens.end());
  sample.logprobs.insert(sample.logprobs.end(), turn.logprobs.begin(), turn.logprobs.end());
  sample.entropies.insert(sample.entropies.end(), turn.entropies.begin(), turn.entropies.end());
  if (!turn.kept_offsets.empty()) {
    const auto first = static_cast<int32_t>(sample.kept_ids.size());
    for (size_t t = 1; t < turn.kept_offsets.size(); ++t)
      sample.kept_offsets.push_back(first + turn.kept_offsets[t]);
    sample.kept_ids.insert(sample.kept_ids.end(), turn.kept_ids.begin(), turn.kept_ids.end());
  }
  sample.finish = turn.finish;
}

// Tokens that the environment puts in.
void insert(std::span<const TokenId> ids, Sample& sample) {
  const size_t size = sample.tokens.size() + ids.size();
  sample.tokens.insert(sample.tokens.end(), ids.begin(), ids.end());
  sample.logprobs.resize(size, 0);
  sample.entropies.resize(size, 0);
  if (!sample.kept_offsets.empty())
    sample.kept_offsets.resize(size + 1, sample.kept_offsets.back());
}

// The observation as ids, behind a reply that ended with token `last`.
std::vector<TokenId> encode(const Tokenizer& tokenizer, const StepResult& result, int most,
                            TokenId last, std::string& observation) {
  std::vector<TokenId> ids;
  if (!result.lead.empty()) ids = tokenizer.encode(result.lead);
  // The template ends the reply; the policy may have done so itself.
  if (!ids.empty() && ids.front() == last) ids.erase(ids.begin());
  std::vector<TokenId> words = tokenizer.encode(result.observation, false);
  observation = result.observation;
  if (words.size() > static_cast<size_t>(most)) {
    words.resize(most);
    observation = tokenizer.decode(words, false);
  }
  ids.insert(ids.end(), words.begin(), words.end());
  if (!result.tail.empty()) {
    const std::vector<TokenId> tail = tokenizer.encode(result.tail);
    ids.insert(ids.end(), tail.begin(), tail.end());
  }
  return ids;
}

// What a step is asked for, with the texts that it looks at: a call that is given up goes on.
struct Question {
  Problem problem;
  std::vector<Turn> before;
  std::string text;
  size_t said = 0;  // bytes of text before this turn
  FinishReason finish = FinishReason::kStop;
};

std::vector<StepResult> ask(const Environment& environment, std::span<const Question> questions) {
  std::vector<StepRequest> requests;
  for (const Question& q : questions) {
    const std::string_view text = q.text;
    requests.push_back({&q.problem, q.before, text, text.substr(q.said), q.finish});
  }
  return environment.step(requests);
}

// ---- ranks: each asks for its share

std::string pack_steps(std::span<const StepResult> results) {
  Json out = Json::array();
  for (const StepResult& r : results)
    out.push_back({r.observation, r.done, r.reward, r.info, r.lead, r.tail, r.fault, r.detail});
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<StepResult> unpack_steps(const std::string& text, const std::string& source) {
  std::vector<StepResult> out;
  for (const Json& r : parse_json(text, source, kStoredJson)) {
    out.push_back({r.at(0).get<std::string>(), r.at(1).get<bool>(), r.at(2).get<double>(), r.at(3),
                   r.at(4).get<std::string>(), r.at(5).get<std::string>(),
                   r.at(6).get<std::string>(), r.at(7).get<std::string>()});
  }
  return out;
}

class Conversations {
 public:
  Conversations(Sampler& sampler, const TurnSetup& setup, std::span<const Group> groups,
                const std::vector<GenerationRequest>& requests, const GenerateOptions& options)
      : sampler_(sampler),
        setup_(setup),
        environment_(*setup.task->environment()),
        groups_(groups),
        requests_(requests),
        options_(options) {}

  std::vector<std::vector<Sample>> run() {
    begin();
    while (!open_.empty() && !cancelled()) {
      const std::vector<StepResult> results = step();
      std::vector<Episode> waiting;
      std::vector<GenerationRequest> next;
      for (size_t i = 0; i < open_.size(); ++i) {
        if (!take(results[i], open_[i], next)) {
          finish(std::move(open_[i]));
        } else {
          waiting.push_back(std::move(open_[i]));
        }
      }
      open_ = std::move(waiting);
      if (!open_.empty()) draw(next);
    }
    for (Episode& episode : open_) {
      episode.sample.finish = FinishReason::kAborted;
      finish(std::move(episode));
    }
    return std::move(out_);
  }

 private:
  bool cancelled() const { return options_.cancel != nullptr && options_.cancel->load(); }

  const Problem& problem_of(int request) const { return groups_[request].problem; }
  int most_turns(int request) const {
    return std::clamp(environment_.max_turns(problem_of(request)), 1, kMostTurns);
  }

  // Of a turn, from 0; the last one is not ended by what asks for an answer.
  std::vector<std::string> stops(int request, size_t turn) const {
    std::vector<std::string> all = requests_[request].sampling.stop;
    if (static_cast<int>(turn) + 1 >= most_turns(request)) return all;
    for (const std::string& stop : environment_.turn_stops(problem_of(request)))
      if (std::find(all.begin(), all.end(), stop) == all.end()) all.push_back(stop);
    return all;
  }

  // The first turns, which share their prompts.
  void begin() {
    std::vector<GenerationRequest> first = requests_;
    for (size_t r = 0; r < first.size(); ++r)
      first[r].sampling.stop = stops(static_cast<int>(r), 0);
    auto samples =
        sampler_.generate(first, {.cancel = options_.cancel, .tickets = options_.tickets});
    out_.resize(samples.size());
    for (size_t r = 0; r < samples.size(); ++r) {
      out_[r].resize(samples[r].size());
      for (size_t i = 0; i < samples[r].size(); ++i) {
        Episode episode;
        episode.request = static_cast<int>(r);
        episode.index = static_cast<int>(i);
        episode.sample = std::move(samples[r][i]);
        close_turn(0, std::move(episode));
      }
    }
  }

  // A turn was drawn from token `first` on, and Sample::text is its own.
  void close_turn(size_t first, Episode episode) {
    Sample& sample = episode.sample;
    const std::string own = std::exchange(sample.text, episode.said);
    sample.text += own;
    const auto end = static_cast<int32_t>(sample.tokens.size());
    sample.turns.push_back({end, end, static_cast<int64_t>(sample.text.size()), 0, {}});
    if (sample.finish != FinishReason::kStop) return finish(std::move(episode));
    episode.said += reply_text(*setup_.tokenizer, std::span(sample.tokens).subspan(first));
    open_.push_back(std::move(episode));
  }

  std::vector<StepResult> step() {
    auto questions = std::make_shared<std::vector<Question>>();
    const auto count = static_cast<int64_t>(open_.size());
    const int64_t begin = setup_.team != nullptr ? setup_.team->begin_of(count) : 0;
    const int64_t end = setup_.team != nullptr ? setup_.team->end_of(count) : count;
    for (int64_t i = begin; i < end; ++i) {
      const Episode& e = open_[i];
      const std::vector<Turn>& turns = e.sample.turns;
      Question q{
          problem_of(e.request), {turns.begin(), turns.end() - 1}, e.said, 0, e.sample.finish};
      q.said = turns.size() > 1 ? static_cast<size_t>(turns[turns.size() - 2].text_end) : 0;
      questions->push_back(std::move(q));
    }
    const Environment& environment = environment_;
    const auto work = [&environment, questions] { return ask(environment, *questions); };
    Background here;
    Background& background = setup_.background != nullptr ? *setup_.background : here;
    if (setup_.team == nullptr) {
      auto results = background.run(work, options_.cancel, "a step of the environment");
      check_count(results.size(), open_.size());
      return results;
    }
    std::vector<StepResult> mine;
    try {
      mine = background.run(work, &setup_.team->cut(), "a step of the environment");
    } catch (const Interrupted&) {  // all agree about the stop in what follows
    }
    const auto texts = setup_.team->gather("steps", pack_steps(mine));
    check_stop(options_.cancel, "a step of the environment");
    std::vector<StepResult> all;
    for (size_t r = 0; r < texts.size(); ++r) {
      auto theirs = unpack_steps(texts[r], "the steps of rank " + std::to_string(r));
      std::move(theirs.begin(), theirs.end(), std::back_inserter(all));
    }
    check_count(all.size(), open_.size());
    return all;
  }

  static void check_count(size_t have, size_t wanted) {
    if (have != wanted)
      fail("the environment answered " + std::to_string(have) + " of " + std::to_string(wanted) +
           " turns");
  }

  // What the environment said of the last turn. True, with a request, when the policy goes on.
  bool take(const StepResult& result, Episode& episode, std::vector<GenerationRequest>& next) {
    Sample& sample = episode.sample;
    Turn& turn = sample.turns.back();
    if (!result.fault.empty()) {
      episode.fault = result.fault;
      episode.detail = result.detail;
      return false;
    }
    turn.reward = result.reward;
    if (result.info.is_object()) {
      for (const auto& [name, value] : result.info.items()) {
        if (value.is_number() && episode.facts.value(name, Json(0)).is_number())
          episode.facts[name] = episode.facts.value(name, 0.0) + value.get<double>();
        else if (!value.is_number())
          episode.facts[name] = value;
      }
    }
    if (result.done) return false;
    std::string observation;
    const std::vector<TokenId> ids = encode(
        *setup_.tokenizer, result, environment_.max_observation_tokens(problem_of(episode.request)),
        sample.tokens.back(), observation);
    const GenerationRequest& first = requests_[episode.request];
    const int64_t left = first.sampling.max_tokens - drawn_tokens(sample);
    const auto before =
        static_cast<int64_t>(first.prompt.size() + sample.tokens.size() + ids.size());
    const bool room = before < setup_.context && before < kMostTokens;
    if (static_cast<int>(sample.turns.size()) >= most_turns(episode.request) || left < 1 || !room) {
      sample.finish = FinishReason::kLength;
      return false;
    }
    insert(ids, sample);
    turn.next = static_cast<int32_t>(sample.tokens.size());
    turn.observation = std::move(observation);
    turn.text_end = static_cast<int64_t>(episode.said.size());
    GenerationRequest request = first;
    request.prompt.insert(request.prompt.end(), sample.tokens.begin(), sample.tokens.end());
    request.first_sample =
        sample.key.sample + static_cast<uint32_t>(sample.turns.size()) * kTurnStride;
    request.samples = 1;
    request.sampling.max_tokens = static_cast<int>(left);
    request.sampling.stop = stops(episode.request, sample.turns.size());
    request.expected_tokens = 0;
    next.push_back(std::move(request));
    return true;
  }

  // The next turn of all that are open.
  void draw(const std::vector<GenerationRequest>& next) {
    Tickets tickets;
    auto drawn = sampler_.generate(
        next,
        {.cancel = options_.cancel, .tickets = options_.tickets != nullptr ? &tickets : nullptr});
    std::vector<Episode> open = std::exchange(open_, {});
    for (size_t i = 0; i < open.size(); ++i) {
      Episode& episode = open[i];
      Sample& sample = episode.sample;
      Sample& turn = drawn[i][0];
      const size_t first = sample.tokens.size();
      const std::string text = std::move(turn.text);
      if (options_.tickets != nullptr)
        (*options_.tickets)[episode.request][episode.index] = std::move(tickets[i][0]);
      append(std::move(turn), requests_[episode.request].prompt.size(), sample);
      sample.text = text;
      close_turn(first, std::move(episode));
    }
  }

  void finish(Episode episode) {
    Sample& sample = episode.sample;
    Verdict verdict;
    verdict.name = kVerdict;
    verdict.weight = environment_.turn_weight(problem_of(episode.request));
    verdict.info = std::move(episode.facts);
    verdict.info["turns"] = sample.turns.size();
    for (const Turn& turn : sample.turns) verdict.score += turn.reward;
    verdict.reason = Reason::kShaped;
    if (!episode.fault.empty()) {
      verdict.score = 0;
      verdict.reason = Reason::kCheckerError;
      verdict.info["fault"] = "environment_" + episode.fault;
      verdict.info["detail"] = episode.detail;
    }
    sample.verdicts = {std::move(verdict)};
    Sample& to = out_[episode.request][episode.index];
    to = std::move(sample);
    if (options_.done && to.finish != FinishReason::kAborted)
      options_.done(episode.request, episode.index, to);
  }

  static constexpr int64_t kMostTokens = int64_t{1} << 20;  // of a fleet's request

  Sampler& sampler_;
  const TurnSetup& setup_;
  const Environment& environment_;
  std::span<const Group> groups_;
  const std::vector<GenerationRequest>& requests_;
  const GenerateOptions& options_;
  std::vector<Episode> open_;  // whose last turn has not been answered
  std::vector<std::vector<Sample>> out_;
};

}  // namespace

std::vector<std::vector<Sample>> generate_turns(Sampler& sampler, const TurnSetup& setup,
                                                std::span<const Group> groups,
                                                const std::vector<GenerationRequest>& requests,
                                                const GenerateOptions& options) {
  if (setup.task->environment() == nullptr) return sampler.generate(requests, options);
  return Conversations(sampler, setup, groups, requests, options).run();
}

const Verdict* turns_verdict(const Sample& sample) {
  if (sample.turns.empty()) return nullptr;
  for (const Verdict& verdict : sample.verdicts)
    if (verdict.name == kVerdict) return &verdict;
  return nullptr;
}

}  // namespace zeroth
