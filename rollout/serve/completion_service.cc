#include "rollout/serve/completion_service.h"

#include <atomic>
#include <condition_variable>
#include <ctime>
#include <deque>
#include <mutex>
#include <random>
#include <thread>

#include "core/error.h"
#include "core/json_text.h"
#include "rollout/local_sampler.h"
#include "rollout/serve/text_stream.h"

namespace zeroth::serve {
namespace {

constexpr uint64_t kMaxBody = 4 << 20;

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

HttpReply error_reply(const BadRequest& bad) {
  const char* type = bad.status == 429   ? "rate_limit_error"
                     : bad.status >= 500 ? "server_error"
                                         : "invalid_request_error";
  HttpReply reply;
  reply.status = bad.status;
  if (bad.status == 429 || bad.status == 503) reply.headers = {{"Retry-After", "1"}};
  reply.text = dumped({{"error",
                        {{"message", bad.message},
                         {"type", type},
                         {"param", bad.field.empty() ? Json() : Json(bad.field)},
                         {"code", Json()}}}});
  return reply;
}

// One HTTP request with all its completions. The sampling thread alone uses it after it is queued.
class Job {
 public:
  Job(HttpExchangePtr exchange, CompletionRequest request, const ServedModel& model, int64_t number)
      : exchange_(std::move(exchange)),
        request_(std::move(request)),
        model_(model),
        id_((request_.chat ? "chatcmpl-" : "cmpl-") + std::to_string(number)),
        created_(std::time(nullptr)) {
    const size_t total = request_.prompts.size() * request_.n;
    left_ = static_cast<int>(total);
    choices_.resize(total);
    for (const GenerationRequest& prompt : request_.prompts)
      prompt_tokens_ += static_cast<int64_t>(prompt.prompt.size());
    if (request_.stream) {
      for (size_t i = 0; i < total; ++i) streams_.emplace_back(*model.tokenizer, request_.stops);
    }
  }

  const CompletionRequest& request() const { return request_; }
  bool wanted() const { return !failed_ && exchange_->open(); }
  int left() const { return left_; }

  void begin() {
    if (!request_.stream) return;
    exchange_->begin(200, "text/event-stream");
    for (size_t i = 0; request_.chat && i < choices_.size(); ++i)
      send(chunk(i, {{"role", "assistant"}, {"content", ""}}, nullptr, Json()));
  }

  // A token was drawn.
  void drew(int prompt, int index, const Sample& sample) {
    if (!request_.stream) return;
    const size_t choice = choice_of(prompt, index);
    const std::string text = streams_[choice].next(sample.tokens);
    if (text.empty() && !request_.logprobs && !request_.token_ids) return;
    send_piece(choice, text, sample, nullptr);
  }

  void done(int prompt, int index, const Sample& sample) {
    const size_t choice = choice_of(prompt, index);
    sampled_tokens_ += static_cast<int64_t>(sample.tokens.size());
    const char* reason = sample.finish == FinishReason::kStop ? "stop" : "length";
    if (request_.stream) {
      send_piece(choice, streams_[choice].rest(sample.text), sample, reason);
    } else {
      choices_[choice] = whole_choice(choice, prompt, sample, reason);
    }
    if (--left_ == 0) finish();
  }

  // A completion that ended early: nobody wants it, or the server ends.
  void abort() { --left_; }
  void fail(const BadRequest& bad) {
    if (std::exchange(failed_, true)) return;
    if (request_.stream) {
      exchange_->write("data: " + error_reply(bad).text + "\n\n");
      exchange_->end();
    } else {
      exchange_->reply(error_reply(bad));
    }
  }

 private:
  size_t choice_of(int prompt, int index) const {
    return static_cast<size_t>(prompt) * request_.n + index;
  }

  Json head(bool piece) const {
    const char* object =
        request_.chat ? (piece ? "chat.completion.chunk" : "chat.completion") : "text_completion";
    return {{"id", id_}, {"object", object}, {"created", created_}, {"model", model_.name}};
  }

  Json usage() const {
    return {{"prompt_tokens", prompt_tokens_},
            {"completion_tokens", sampled_tokens_},
            {"total_tokens", prompt_tokens_ + sampled_tokens_}};
  }

  // Of tokens from `first` on.
  Json logprobs(const Sample& sample, size_t first) const {
    Json tokens = Json::array(), values = Json::array(), content = Json::array();
    for (size_t i = first; i < sample.tokens.size(); ++i) {
      const std::string bytes = sample.tokens[i] < model_.tokenizer->vocab_size()
                                    ? model_.tokenizer->token_bytes(sample.tokens[i])
                                    : std::string();
      if (!request_.chat) {
        tokens.push_back(bytes);
        values.push_back(sample.logprobs[i]);
        continue;
      }
      Json numbers = Json::array();
      for (const char byte : bytes) numbers.push_back(static_cast<unsigned char>(byte));
      content.push_back({{"token", bytes},
                         {"logprob", sample.logprobs[i]},
                         {"bytes", std::move(numbers)},
                         {"top_logprobs", Json::array()}});
    }
    if (request_.chat) return {{"content", std::move(content)}, {"refusal", nullptr}};
    Json tops = Json::array(), offsets = Json::array();
    int64_t at = 0;
    for (size_t i = 0; i < tokens.size(); ++i) {
      tops.push_back({{tokens[i].get<std::string>(), values[i]}});
      offsets.push_back(at);
      at += static_cast<int64_t>(tokens[i].get_ref<const std::string&>().size());
    }
    return {{"tokens", std::move(tokens)},
            {"token_logprobs", std::move(values)},
            {"top_logprobs", std::move(tops)},
            {"text_offset", std::move(offsets)}};
  }

  Json whole_choice(size_t choice, int prompt, const Sample& sample, const char* reason) const {
    Json out = {{"index", choice}};
    if (request_.chat) {
      out["message"] = {{"role", "assistant"}, {"content", sample.text}, {"refusal", nullptr}};
    } else {
      out["text"] = sample.text;
    }
    out["logprobs"] = request_.logprobs ? logprobs(sample, 0) : Json();
    out["finish_reason"] = reason;
    if (request_.token_ids) {
      out["token_ids"] = sample.tokens;
      if (!request_.chat) out["prompt_token_ids"] = request_.prompts[prompt].prompt;
    }
    return out;
  }

  Json chunk(size_t choice, Json delta, const char* reason, Json logs) const {
    Json one = {{"index", choice}};
    if (request_.chat) {
      one["delta"] = std::move(delta);
    } else {
      one["text"] = delta.value("content", Json(""));
    }
    one["logprobs"] = std::move(logs);
    one["finish_reason"] = reason ? Json(reason) : Json();
    Json out = head(true);
    out["choices"] = {std::move(one)};
    return out;
  }

  void send_piece(size_t choice, const std::string& text, const Sample& sample,
                  const char* reason) {
    // The last token comes twice: drawn, then done. Its numbers belong to the first.
    const size_t first = reason ? sample.tokens.size() : sample.tokens.size() - 1;
    Json delta = Json::object();
    if (!text.empty()) delta["content"] = text;
    Json piece = chunk(choice, std::move(delta), reason,
                       request_.logprobs && !reason ? logprobs(sample, first) : Json());
    if (request_.token_ids) {
      piece["choices"][0]["token_ids"] = std::vector<TokenId>(
          sample.tokens.begin() + static_cast<int64_t>(first), sample.tokens.end());
      if (sample.tokens.size() == 1 && !reason)
        piece["prompt_token_ids"] = request_.prompts[choice / request_.n].prompt;
    }
    send(piece);
  }

  void send(const Json& json) { exchange_->write("data: " + dumped(json) + "\n\n"); }

  void finish() {
    if (failed_) return;
    if (request_.stream) {
      if (request_.stream_usage) {
        Json last = head(true);
        last["choices"] = Json::array();
        last["usage"] = usage();
        send(last);
      }
      exchange_->write("data: [DONE]\n\n");
      exchange_->end();
      return;
    }
    Json out = head(false);
    out["choices"] = std::move(choices_);
    out["usage"] = usage();
    if (request_.token_ids && request_.chat) out["prompt_token_ids"] = request_.prompts[0].prompt;
    exchange_->reply({.text = dumped(out)});
  }

  HttpExchangePtr exchange_;
  CompletionRequest request_;
  const ServedModel& model_;
  std::string id_;
  std::time_t created_;
  int left_ = 0;
  bool failed_ = false;
  int64_t prompt_tokens_ = 0, sampled_tokens_ = 0;
  std::vector<Json> choices_;
  std::vector<TextStream> streams_;
};
using JobPtr = std::shared_ptr<Job>;

}  // namespace

struct CompletionService::Impl {
  ServedModel model;
  ServiceOptions options;
  LocalSampler sampler;
  mutable std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  std::deque<JobPtr> waiting;
  WeightsPtr next_weights;  // to be published before the next generate()
  ServiceStats counts;
  int64_t numbers = 0;
  std::mt19937_64 seeds{std::random_device{}()};
  std::atomic<bool> stop{false};
  std::thread thread;

  Impl(WeightsPtr weights, const ServedModel& served, const ServiceOptions& with)
      : model(served), options(with), sampler(std::move(weights), served.tokenizer, with.engine) {}

  void run() {
    while (!stop) {
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return stop || !waiting.empty(); });
        if (stop) return;
        if (next_weights) sampler.publish(std::exchange(next_weights, nullptr));
      }
      serve();
    }
  }

  // Until nothing runs or waits, or other weights are to be used.
  void serve() {
    struct Place {
      JobPtr job;
      int prompt;
    };
    std::vector<Place> places;  // by the number of the request
    GenerateOptions how;
    how.cancel = &stop;
    how.more = [&](WeightsVersion) {
      std::vector<GenerationRequest> out;
      std::lock_guard lock(mutex);
      counts.draft_tokens = sampler.stats().draft_tokens;
      counts.draft_accepted = sampler.stats().draft_accepted;
      // The bookkeeping of a generate() grows with its requests, so one ends now and then.
      constexpr size_t kMostRequests = 20000;
      while (!next_weights && !waiting.empty() && places.size() < kMostRequests) {
        const JobPtr job = std::move(waiting.front());
        waiting.pop_front();
        for (size_t p = 0; p < job->request().prompts.size(); ++p) {
          places.push_back({job, static_cast<int>(p)});
          out.push_back(job->request().prompts[p]);
        }
        job->begin();
      }
      return out;
    };
    how.drew = [&](int request, int index, const Sample& sample) {
      const auto& [job, prompt] = places[request];
      if (!job->wanted()) {
        job->abort();
        count(1, 0);
        std::lock_guard lock(mutex);
        ++counts.abandoned;
        return false;
      }
      job->drew(prompt, index, sample);
      return true;
    };
    how.done = [&](int request, int index, const Sample& sample) {
      auto& [job, prompt] = places[request];
      job->done(prompt, index, sample);
      count(1, static_cast<int64_t>(sample.tokens.size()));
    };
    try {
      sampler.generate({}, how);
    } catch (const std::exception& error) {
      for (const Place& place : places) {
        if (place.job->left() > 0) place.job->fail({500, error.what()});
      }
    }
    std::lock_guard lock(mutex);
    for (const Place& place : places) {
      if (place.job->left() == 0) continue;
      place.job->fail({503, "the server ends"});
      while (place.job->left() > 0) {
        place.job->abort();
        --counts.in_flight;
      }
    }
  }

  void count(int64_t ended, int64_t tokens) {
    std::lock_guard lock(mutex);
    counts.in_flight -= ended;
    if (tokens > 0) ++counts.completions;
    counts.sampled_tokens += tokens;
  }

  Json models() const {
    return {{"object", "list"},
            {"data",
             {{{"id", model.name},
               {"object", "model"},
               {"created", 0},
               {"owned_by", "zeroth"},
               {"max_model_len", model.config->max_position}}}}};
  }

  void complete(const HttpExchangePtr& exchange, bool chat) {
    uint64_t seed;
    {
      std::lock_guard lock(mutex);
      ++counts.requests;
      seed = seeds();
    }
    const auto body = try_parse_json(exchange->request().body, {64, 1'000'000});
    if (!body) throw BadRequest{400, "the body is no JSON"};
    CompletionRequest request = read_completion_request(*body, chat, model, seed);
    const auto total = static_cast<int64_t>(request.prompts.size()) * request.n;
    int64_t tokens = 0;
    for (const GenerationRequest& prompt : request.prompts)
      tokens += static_cast<int64_t>(prompt.prompt.size());
    std::lock_guard lock(mutex);
    if (counts.in_flight + total > options.queue) {
      ++counts.busy;
      throw BadRequest{429, "too many completions run or wait; try again in a moment"};
    }
    counts.in_flight += total;
    counts.prompt_tokens += tokens;
    waiting.push_back(std::make_shared<Job>(exchange, std::move(request), model, ++numbers));
    changed.notify_all();
  }
};

CompletionService::CompletionService(WeightsPtr weights, const ServedModel& model,
                                     const ServiceOptions& options)
    : impl_(std::make_unique<Impl>(std::move(weights), model, options)) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

CompletionService::~CompletionService() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
    impl_->changed.notify_all();
  }
  impl_->thread.join();
  for (const JobPtr& job : impl_->waiting) job->fail({503, "the server ends"});
}

void CompletionService::publish(WeightsPtr weights) {
  std::lock_guard lock(impl_->mutex);
  impl_->next_weights = std::move(weights);
}

uint64_t CompletionService::body_limit(const std::string& path) {
  return path == "/v1/completions" || path == "/v1/chat/completions" ? kMaxBody : 0;
}

bool CompletionService::handle(const HttpExchangePtr& exchange) {
  const HttpRequest& request = exchange->request();
  const bool get = request.method == "GET" || request.method == "HEAD";
  if (request.path == "/v1/models" && get) {
    exchange->reply({.text = dumped(impl_->models())});
    return true;
  }
  if (request.path.rfind("/v1/models/", 0) == 0 && get) {
    if (request.path.substr(11) == impl_->model.name) {
      exchange->reply({.text = dumped(impl_->models()["data"][0])});
    } else {
      exchange->reply(error_reply({404, "there is no such model", "model"}));
    }
    return true;
  }
  const uint64_t limit = body_limit(request.path);
  if (limit == 0) return false;
  try {
    if (request.method != "POST") throw BadRequest{405, "only POST is understood here"};
    impl_->complete(exchange, request.path == "/v1/chat/completions");
  } catch (const BadRequest& bad) {
    {
      std::lock_guard lock(impl_->mutex);
      ++impl_->counts.refused;
    }
    exchange->reply(error_reply(bad));
  } catch (const std::exception& error) {
    exchange->reply(error_reply({500, error.what()}));
  }
  return true;
}

ServiceStats CompletionService::stats() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->counts;
}

}  // namespace zeroth::serve
