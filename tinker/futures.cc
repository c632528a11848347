#include "tinker/futures.h"

#include "core/stopwatch.h"

namespace zeroth::tinker {
namespace {

constexpr double kPollSeconds = 30;  // the client gives up after 45
constexpr size_t kMostDone = 65536;

uint64_t bytes_of(const Result& result) {
  uint64_t values = 64;
  if (const auto* loss = std::get_if<LossResult>(&result)) {
    for (const LossResult::OfDatum& datum : loss->data)
      values += datum.logprobs.size() + datum.losses.size() + 32;
  }
  if (const auto* sample = std::get_if<SampleResult>(&result)) {
    values += sample->prompt_logprobs.size();
    for (const SampleResult::Sequence& sequence : sample->sequences)
      values += 2 * sequence.tokens.size() + 32;
  }
  return values * sizeof(float);
}

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

HttpReply refusal_reply(int status, const std::string& message) {
  HttpReply reply;
  reply.status = status;
  if (status == 429 || status == 503) reply.headers = {{"Retry-After", "1"}};
  reply.text = dumped({{"detail", message}});
  return reply;
}

bool Futures::begin(const std::string& id) {
  std::lock_guard lock(mutex_);
  const bool fresh = entries_.try_emplace(id).second;
  pending_ += fresh;
  return fresh;
}

void Futures::forget(const std::string& id) {
  std::lock_guard lock(mutex_);
  pending_ -= static_cast<int64_t>(entries_.erase(id));
}

void Futures::finish(const std::string& id, Result result) {
  Entry entry;
  entry.bytes = bytes_of(result);
  entry.result = std::make_shared<const Result>(std::move(result));
  complete(id, std::move(entry));
}

void Futures::fail(const std::string& id, const std::string& message, Blame blame) {
  Entry entry;
  entry.failure =
      dumped({{"error", message}, {"category", blame == Blame::kUser ? "user" : "server"}});
  entry.bytes = entry.failure.size();
  complete(id, std::move(entry));
}

void Futures::complete(const std::string& id, Entry entry) {
  std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.done) return;
  found->second = std::move(entry);
  found->second.done = true;
  --pending_;
  bytes_ += found->second.bytes;
  done_.push_back(id);
  const auto [begin, end] = waiters_.equal_range(id);
  for (auto waiter = begin; waiter != end; ++waiter) {
    waiter->second.exchange->reply(reply_of(found->second, waiter->second.exchange->request()));
    if (!std::exchange(found->second.fetched, true)) fetched_.push_back(id);
  }
  waiters_.erase(begin, end);
  bound();
}

void Futures::bound() {
  const auto drop = [&](const std::string& id) {
    const auto found = entries_.find(id);
    if (found == entries_.end() || !found->second.done) return;
    bytes_ -= found->second.bytes;
    entries_.erase(found);
  };
  while (bytes_ > most_bytes_ || done_.size() > kMostDone) {
    std::deque<std::string>& from = fetched_.empty() ? done_ : fetched_;
    if (from.empty()) return;
    drop(from.front());
    from.pop_front();
    // What was fetched stands in both lists.
    while (!done_.empty() && !entries_.contains(done_.front())) done_.pop_front();
  }
}

HttpReply Futures::reply_of(const Entry& entry, const HttpRequest& request) const {
  HttpReply reply;
  if (entry.result == nullptr) {
    reply.text = entry.failure;
    return reply;
  }
  const bool wanted = request.header("accept").find("application/x-protobuf") != std::string::npos;
  if (wanted && has_protobuf(*entry.result)) {
    reply.type = "application/x-protobuf";
    reply.text = to_protobuf(*entry.result);
  } else {
    reply.text = to_json(*entry.result);
  }
  return reply;
}

void Futures::retrieve(const std::string& id, const HttpExchangePtr& exchange) {
  std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) {
    exchange->reply(refusal_reply(
        404, "there is no request \"" + id.substr(0, 200) + "\", or its result was let go of"));
    return;
  }
  if (!found->second.done) {
    waiters_.insert({id, {exchange, steady_now() + kPollSeconds}});
    return;
  }
  exchange->reply(reply_of(found->second, exchange->request()));
  if (!std::exchange(found->second.fetched, true)) fetched_.push_back(id);
}

void Futures::sweep() {
  std::lock_guard lock(mutex_);
  for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
    const auto& [id, waiting] = *waiter;
    const bool late = waiting.until <= steady_now();
    if (late) {
      HttpReply reply;
      reply.status = 408;  // what the client takes for "ask again"
      reply.text = dumped({{"type", "try_again"}, {"request_id", id}, {"queue_state", "active"}});
      waiting.exchange->reply(std::move(reply));
    }
    waiter = late || !waiting.exchange->open() ? waiters_.erase(waiter) : std::next(waiter);
  }
}

void Futures::end() {
  std::lock_guard lock(mutex_);
  for (auto& [id, waiter] : waiters_) waiter.exchange->reply(refusal_reply(503, "the server ends"));
  waiters_.clear();
}

int64_t Futures::pending() const {
  std::lock_guard lock(mutex_);
  return pending_;
}

}  // namespace zeroth::tinker
