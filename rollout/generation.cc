#include "rollout/generation.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>

#include "core/error.h"
#include "rollout/sample_rules.h"

namespace zeroth {

namespace {

// list[i] becomes what list[order[i]] was.
template <class List>
void reorder(List& list, const std::vector<size_t>& order) {
  List out;
  if constexpr (requires { out.reserve(order.size()); }) out.reserve(order.size());
  for (const size_t i : order) out.push_back(std::move(list[i]));
  list.swap(out);
}

// The next tokens of the sample are drawn by weights of this version.
void draw_by(WeightsVersion version, Sample& sample) {
  std::vector<VersionSegment>& versions = sample.versions;
  const auto first = static_cast<int32_t>(sample.tokens.size());
  if (!versions.empty() && versions.back().version == version) return;
  if (!versions.empty() && versions.back().first == first) versions.pop_back();
  if (versions.empty() || versions.back().version != version) versions.push_back({first, version});
}

}  // namespace

Generation::Generation(const std::vector<GenerationRequest>& requests, const PolicyConfig& model,
                       const Tokenizer* tokenizer, bool record_experts)
    : model_(model), codes_(image_codes(model)), tokenizer_(tokenizer) {
  if (record_experts) {
    expert_row_ = size_t(model.moe_layers()) * model.router.top_k;
    routing_row_ = expert_row_ + model.moe_layers();
  }
  for (const GenerationRequest& request : requests) take_in(request, requests_.size());
}

void Generation::take_in(const GenerationRequest& request, size_t number) {
  check_request(request, model_, tokenizer_ != nullptr, "request " + std::to_string(number));
  requests_.push_back(request);
  numbers_.push_back(number);
  max_tokens_.push_back(longest_sample(request, model_));
  params_.push_back(to_params(request.sampling));
  stops_.emplace_back(request.sampling.stop);
  unfinished_.push_back(request.samples);
}

int64_t Generation::useful_pages(int max_batch) const {
  // A sequence owns what lies behind the full pages of its prompt, and the scheduler wants a page
  // in reserve for each; the prompt's pages are shared.
  std::vector<std::pair<int64_t, int64_t>> own;  // pages of one sequence, sequences
  std::vector<int64_t> shared;
  for (size_t i = 0; i < requests_.size(); ++i) {
    const int64_t length = static_cast<int64_t>(requests_[i].prompt.size());
    const int64_t full = length / kernels::kPageTokens;
    own.emplace_back(Scheduler::pages_needed(length, max_tokens_[i] + 1) - full + 1,
                     requests_[i].samples);
    shared.push_back(full + 1);
  }
  std::sort(own.begin(), own.end(), std::greater<>());
  std::sort(shared.begin(), shared.end(), std::greater<>());
  int64_t pages = 0;
  int64_t left = max_batch;
  for (const auto& [each, sequences] : own) {
    const int64_t taken = std::min<int64_t>(left, sequences);
    pages += each * taken;
    left -= taken;
  }
  const size_t prompts = std::min<size_t>(shared.size(), max_batch);
  return std::accumulate(shared.begin(), shared.begin() + prompts, pages);
}

void Generation::check_fits(int64_t pages, const std::string& advice) const {
  for (size_t i = 0; i < requests_.size(); ++i) check_fit(i, pages, advice);
}

void Generation::check_fit(size_t i, int64_t pages, const std::string& advice) const {
  const int64_t length = static_cast<int64_t>(requests_[i].prompt.size());
  const int64_t needed = Scheduler::pages_needed(length, max_tokens_[i]);
  if (needed <= pages || requests_[i].samples == 0) return;
  fail_usage("request " + std::to_string(numbers_[i]) + ": a prompt of " + std::to_string(length) +
                 " tokens with max_tokens = " + std::to_string(max_tokens_[i]) + " needs " +
                 std::to_string(needed) + " cache pages of " +
                 std::to_string(kernels::kPageTokens) + " tokens, but the cache has " +
                 std::to_string(pages),
             advice + ", or lower max_tokens, or shorten the prompt");
}

void Generation::begin_in(const std::vector<size_t>& order) {
  reorder(requests_, order);
  reorder(numbers_, order);
  reorder(max_tokens_, order);
  reorder(params_, order);
  reorder(stops_, order);
  reorder(unfinished_, order);
}

void Generation::start(Scheduler& scheduler, WeightsVersion version, Drafter* drafter) {
  drafter_ = drafter;
  if (drafter_) drafter_->begin();
  for (size_t i = 0; i < requests_.size(); ++i) start_one(i, scheduler, version);
}

void Generation::join(const GenerationRequest& request, size_t number, int64_t pages,
                      const std::string& advice, Scheduler& scheduler, WeightsVersion version) {
  take_in(request, number);
  check_fit(requests_.size() - 1, pages, advice);
  start_one(requests_.size() - 1, scheduler, version);
}

void Generation::start_one(size_t i, Scheduler& scheduler, WeightsVersion version) {
  const GenerationRequest& request = requests_[i];
  prompt_rows_.emplace_back();
  samples_.emplace_back(request.samples);
  tickets_.emplace_back(request.samples);
  const int first = scheduler.add(request.prompt, request.samples);
  for (int s = 0; s < request.samples; ++s) {
    live_.push_back({static_cast<int>(i), s, false, CompletionText(tokenizer_, stops_[i])});
    Live& live = live_.back();
    if (!request.begun.empty()) go_on(request.begun[s], live, first + s, scheduler);
    Sample& sample = samples_[i][s];
    sample.key = {request.seed, request.step, request.problem,
                  request.first_sample + static_cast<uint32_t>(s)};
    if (params_[i].truncated() && sample.kept_offsets.empty()) sample.kept_offsets.push_back(0);
    draw_by(version, sample);
  }
}

// Takes over what a sample has so far.
void Generation::go_on(const Sample& begun, Live& live, int sequence, Scheduler& scheduler) {
  samples_[live.request][live.sample] = begun;
  for (const TokenId token : begun.tokens) live.text.append(token);
  scheduler.begin_with(sequence, begun.tokens);
}

void Generation::switch_to(WeightsVersion version, Scheduler& scheduler) {
  scheduler.restart();
  for (const Live& live : live_) {
    if (!live.finished) draw_by(version, samples_[live.request][live.sample]);
  }
}

void Generation::forget(const Live& live) {
  samples_[live.request][live.sample] = {};
  if (unfinished_[live.request] == 0) {
    prompt_rows_[live.request] = {};
    samples_[live.request] = {};
    tickets_[live.request] = {};
  }
}

Drafter::Live Generation::live_of(int sequence) const {
  const Live& live = live_[sequence];
  const std::vector<TokenId>& tokens = samples_[live.request][live.sample].tokens;
  // Behind the last token of a draft one more is drawn.
  return {live.request, sequence, requests_[live.request].prompt, tokens,
          max_tokens_[live.request] - static_cast<int>(tokens.size()) - 1};
}

void Generation::draft(Scheduler& scheduler) {
  const int running = scheduler.running();
  if (!drafter_ || !drafter_->wanted(running)) return;
  for (const int sequence : scheduler.running_sequences()) {
    if (!scheduler.decoding(sequence)) continue;
    const Drafter::Live live = live_of(sequence);
    if (live.room > 0) drafter_->consider(live, running);
  }
  for (const Drafter::Draft& draft : drafter_->choose(running))
    scheduler.draft(draft.sequence, draft.tokens);
}

Generation::Follower Generation::follower(const StepPlan& plan, size_t row) const {
  const auto& [request, sequence] = plan.sources[plan.sequence[row]];
  const std::vector<TokenId>& prompt = requests_[request].prompt;
  const size_t next = static_cast<size_t>(plan.positions[row]) + 1;
  if (next < prompt.size()) return {prompt[next]};
  if (sequence < 0) {
    for (const Draw& draw : plan.draws) {
      const Live& live = live_[draw.sequence];
      if (draw.request != request || live.finished) continue;
      const std::vector<TokenId>& tokens = samples_[request][live.sample].tokens;
      if (!tokens.empty()) return {tokens[0]};
    }
    return {prompt.back()};
  }
  const Live& live = live_[sequence];
  if (live.finished) return {};
  const std::vector<TokenId>& tokens = samples_[request][live.sample].tokens;
  const size_t at = next - prompt.size();
  if (at >= tokens.size()) return {};
  // Behind the first other token of a draft its rows are of no use.
  if (at > 0 && tokens[at - 1] != plan.tokens[row]) return {};
  return {tokens[at], at + 1 == tokens.size()};
}

void Generation::settle(const StepPlan& plan, DrawBatch& batch) {
  batch.stands.assign(plan.draws.size(), 1);
  for (size_t i = 0; i < plan.draws.size(); ++i) {
    const Draw& draw = plan.draws[i];
    if (draw.ahead == 0) continue;
    batch.stands[i] = batch.stands[i - 1] && batch.tokens[i - 1] == plan.tokens[draw.row] &&
                      std::isfinite(batch.logprobs[i]) && std::isfinite(batch.entropies[i]);
  }
}

// Rows of the activation store for tokens of a draft that were not drawn go to others.
void Generation::give_back_rows(Live& live) {
  const size_t tokens = samples_[live.request][live.sample].tokens.size();
  for (; live.kept.size() + 1 > tokens && !live.kept.empty(); live.kept.pop_back())
    if (live.kept.back() >= 0) spare_rows_.push_back(live.kept.back());
}

void Generation::take_rows(const StepPlan& plan, ActivationStore& store,
                           std::vector<int32_t>& rows) {
  rows.assign(plan.tokens.size(), -1);
  epoch_ = store.epoch();
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& [request, sequence] = plan.sources[plan.sequence[i]];
    const size_t prompt = requests_[request].prompt.size();
    std::vector<int32_t>& kept = sequence < 0 ? prompt_rows_[request].kept : live_[sequence].kept;
    const size_t at = plan.positions[i] - (sequence < 0 ? 0 : prompt);
    if (at < kept.size()) continue;
    if (spare_rows_.empty()) {
      rows[i] = store.take();
    } else {
      rows[i] = spare_rows_.back();
      spare_rows_.pop_back();
    }
    kept.push_back(rows[i]);
  }
}

void Generation::keep_prompt_experts(const StepPlan& plan, const uint8_t* routing) {
  for (size_t i = 0; i < plan.tokens.size(); ++i) {
    const auto& [request, sequence] = plan.sources[plan.sequence[i]];
    const size_t at = plan.positions[i], last = requests_[request].prompt.size() - 1;
    if (sequence >= 0 || at == last) continue;
    std::vector<uint8_t>& experts = prompt_rows_[request].experts;
    experts.resize(last * expert_row_);
    std::copy_n(routing + i * routing_row_, expert_row_, experts.begin() + at * expert_row_);
  }
}

void Generation::gather(const StepPlan& plan, const kernels::Operators& ops,
                        kernels::At<const float> hidden, const uint8_t* routing, DrawBatch& batch) {
  const int64_t width = hidden_width(model_);
  if (expert_row_ > 0) keep_prompt_experts(plan, routing);
  for (const auto& [request, row] : plan.prompt_rows) {
    prompt_rows_[request].hidden.on(ops.device());
    ops.copy(hidden + row * width, prompt_rows_[request].hidden.get(width), width);
    const uint8_t* routed = routing + row * routing_row_;
    if (expert_row_ > 0) prompt_rows_[request].routing.assign(routed, routed + routing_row_);
  }
  const size_t m = plan.draws.size();
  batch.hidden.on(ops.device());
  const kernels::At<float> rows = batch.hidden.get(static_cast<int64_t>(m) * width);
  batch.params.resize(m);
  batch.keys.resize(m);
  batch.positions.resize(m);
  batch.tokens.resize(m);
  batch.logprobs.resize(m);
  batch.entropies.resize(m);
  batch.truncated = false;
  for (size_t i = 0; i < m; ++i) {
    const Draw& draw = plan.draws[i];
    ops.copy(draw.row < 0 ? prompt_rows_[draw.request].hidden.data() : hidden + draw.row * width,
             rows + static_cast<int64_t>(i) * width, width);
    const Sample& sample = samples_[draw.request][live_[draw.sequence].sample];
    batch.params[i] = params_[draw.request];
    batch.keys[i] = sample.key;
    batch.positions[i] = static_cast<uint32_t>(sample.tokens.size() + draw.ahead);
    batch.truncated |= batch.params[i].truncated();
  }
  batch.kept.resize(batch.truncated ? m : 0);
  for (auto& kept : batch.kept) kept.clear();
}

void Generation::record(const StepPlan& plan, const DrawBatch& batch, const uint8_t* routing,
                        std::vector<Outcome>& outcomes, const Done& done, const Drew& drew) {
  outcomes.clear();
  for (size_t i = 0; i < plan.draws.size(); ++i) {
    const Draw& draw = plan.draws[i];
    Live& live = live_[draw.sequence];
    if (!batch.stands[i] || (draw.ahead > 0 && live.finished)) {
      outcomes.push_back({-1, false, false});
      if (!live.finished) give_back_rows(live);
      continue;
    }
    const uint8_t* routed = draw.row < 0 ? prompt_rows_[draw.request].routing.data()
                                         : routing + draw.row * routing_row_;
    bool finished = append(live, batch, i, routed);
    const Sample& sample = samples_[live.request][live.sample];
    const bool wanted = !drew || drew(number_of(live.request), live.sample, sample);
    if (!wanted && !finished) finish(live, FinishReason::kAborted);
    finished = finished || !wanted;
    if (finished && wanted && done) {
      done(number_of(live.request), live.sample, sample);
    }
    outcomes.push_back({batch.tokens[i], finished});
    if (finished && forget_) forget(live);
  }
}

bool Generation::append(Live& live, const DrawBatch& batch, size_t row, const uint8_t* routing) {
  Sample& sample = samples_[live.request][live.sample];
  if (sample.tokens.empty()) sample.prompt_experts = prompt_rows_[live.request].experts;
  sample.tokens.push_back(batch.tokens[row]);
  sample.logprobs.push_back(batch.logprobs[row]);
  sample.entropies.push_back(batch.entropies[row]);
  const uint8_t* confidence = routing + expert_row_;
  sample.experts.insert(sample.experts.end(), routing, confidence);
  sample.router_confidence.insert(sample.router_confidence.end(), confidence,
                                  routing + routing_row_);
  if (!sample.kept_offsets.empty()) {
    const std::vector<int32_t>& kept = batch.kept[row];
    sample.kept_ids.insert(sample.kept_ids.end(), kept.begin(), kept.end());
    sample.kept_offsets.push_back(static_cast<int32_t>(sample.kept_ids.size()));
  }
  const bool ended = live.text.append(batch.tokens[row]);
  const bool stopped = ended || image_ends(codes_, requests_[live.request].prompt, sample.tokens);
  if (!stopped && static_cast<int>(sample.tokens.size()) < max_tokens_[live.request]) return false;
  finish(live, stopped ? FinishReason::kStop : FinishReason::kLength);
  return true;
}

void Generation::finish(Live& live, FinishReason reason) {
  Sample& sample = samples_[live.request][live.sample];
  sample.finish = reason;
  sample.text = live.text.text(sample.tokens);
  live.finished = true;
  const bool last = --unfinished_[live.request] == 0;
  if (drafter_) drafter_->end(live_of(static_cast<int>(&live - live_.data())), last);
  give_back_rows(live);
  const std::vector<int32_t>& prompt = prompt_rows_[live.request].kept;
  const size_t rows = requests_[live.request].prompt.size() + sample.tokens.size() - 1;
  const auto missing = [](const std::vector<int32_t>& kept) {
    return std::find(kept.begin(), kept.end(), -1) != kept.end();
  };
  if (prompt.size() + live.kept.size() != rows || missing(prompt) || missing(live.kept)) return;
  ActivationTicket& ticket = tickets_[live.request][live.sample];
  ticket.epoch = epoch_;
  ticket.rows = prompt;
  ticket.rows.insert(ticket.rows.end(), live.kept.begin(), live.kept.end());
}

void Generation::abort() {
  for (Live& live : live_) {
    if (!live.finished) finish(live, FinishReason::kAborted);
  }
}

}  // namespace zeroth
