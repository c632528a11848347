#include "tasks/plugins/plugin_http.h"

#include <chrono>
#include <cstdio>

#include "core/error.h"

namespace zeroth {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kMaxReply = uint64_t{64} << 20;

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string shorten(std::string text) {
  if (text.size() > 160) text = text.substr(0, 157) + "...";
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = ' ';
  }
  return text;
}

std::string brief(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", number);
  return text;
}

std::string text_of(const Json& item, const char* name) {
  const auto found = item.find(name);
  return found != item.end() && found->is_string() ? found->get<std::string>() : std::string();
}

[[noreturn]] void garbage(const std::string& what, const Json& reply) {
  throw PluginFault(PluginFaultKind::kGarbage, what + ": " + shorten(dumped(reply)));
}

Json openrlhf_request(const Json& batch) {
  Json queries = Json::array(), prompts = Json::array(), labels = Json::array();
  for (const Json& item : batch) {
    const Json& problem = item.at("problem");
    queries.push_back(text_of(problem, "prompt") + text_of(item, "completion"));
    prompts.push_back(text_of(problem, "prompt"));
    labels.push_back(text_of(problem, "answer"));
  }
  return {{"query", queries}, {"prompts", prompts}, {"labels", labels}};
}

// Rewards come as a flat list or as a list of one-element lists.
Json openrlhf_results(const Json& reply, size_t count) {
  const auto rewards = reply.find("rewards");
  if (rewards == reply.end() || !rewards->is_array() || rewards->size() != count)
    garbage("no \"rewards\" list with one number a completion", reply);
  Json results = Json::array();
  for (size_t i = 0; i < count; ++i) {
    const Json& cell = (*rewards)[i];
    Json row = {{"score", cell.is_array() && cell.size() == 1 ? cell[0] : cell}};
    Json info = Json::object();
    const auto fact = [&](const std::string& name, const Json& values) {
      if (values.is_array() && values.size() == count && values[i].is_number())
        info[name] = values[i];
    };
    if (reply.contains("scores")) fact("score", reply["scores"]);
    const auto logs = reply.find("extra_logs");
    if (logs != reply.end() && logs->is_object()) {
      for (const auto& [name, values] : logs->items()) fact(name, values);
    }
    if (!info.empty()) row["info"] = std::move(info);
    results.push_back(std::move(row));
  }
  return results;
}

Json nemo_request(const Json& item) {
  const Json& problem = item.at("problem");
  const std::string finish = text_of(item, "finish");
  const Json content = {{"type", "output_text"},
                        {"text", text_of(item, "completion")},
                        {"annotations", Json::array()}};
  const Json message = {{"id", "message_1"},
                        {"type", "message"},
                        {"role", "assistant"},
                        {"status", finish == "stop" ? "completed" : "incomplete"},
                        {"content", Json::array({content})}};
  const Json meta = problem.value("meta", Json());
  Json body = meta.is_object() ? meta : Json::object();
  // A row of a NeMo-Gym data set brings the parameters itself.
  if (!body.contains("responses_create_params")) {
    body["responses_create_params"] = {
        {"input", Json::array({{{"role", "user"}, {"content", text_of(problem, "prompt")}}})}};
  }
  if (!body.contains("expected_answer")) body["expected_answer"] = text_of(problem, "answer");
  if (!body.contains("question")) body["question"] = text_of(problem, "prompt");
  body["response"] = {{"id", "response_1"},
                      {"created_at", 0.0},
                      {"model", "policy"},
                      {"object", "response"},
                      {"output", Json::array({message})},
                      {"parallel_tool_calls", false},
                      {"tool_choice", "none"},
                      {"tools", Json::array()}};
  return body;
}

Json nemo_result(const Json& reply) {
  const auto reward = reply.find("reward");
  if (reward == reply.end() || !reward->is_number()) garbage("no number \"reward\"", reply);
  Json row = {{"score", *reward}}, info = Json::object();
  for (const auto& [name, value] : reply.items()) {
    if (name != "reward" && (value.is_number() || value.is_boolean())) info[name] = value;
  }
  if (!info.empty()) row["info"] = std::move(info);
  return row;
}

}  // namespace

HttpShape http_shape(const std::string& name) {
  if (name == "zeroth") return HttpShape::kZeroth;
  if (name == "openrlhf") return HttpShape::kOpenRlhf;
  if (name == "nemo_gym") return HttpShape::kNemoGym;
  fail_usage("shape \"" + name + "\"", "use zeroth, openrlhf or nemo_gym");
}

HttpChannel::HttpChannel(HttpUrl url, HttpShape shape)
    : client_(std::move(url), kMaxReply), shape_(shape) {}
HttpChannel::~HttpChannel() = default;
void HttpChannel::close() { client_.close(); }

Json HttpChannel::post(const Json& body, double seconds, double grace) {
  const auto start = Clock::now();
  const HttpUrl& url = client_.url();
  const std::string where = "http://" + url.host + ":" + url.port + url.path;
  HttpAnswer answer;
  try {
    answer = client_.post(dumped(body), seconds, seconds + grace);
  } catch (const HttpFault& fault) {
    if (fault.kind == HttpFaultKind::kTimeout)
      throw PluginFault(PluginFaultKind::kTimeout, "no answer within " + brief(seconds) + " s");
    const bool away = fault.kind == HttpFaultKind::kUnreachable;
    throw PluginFault(away                                   ? PluginFaultKind::kUnreachable
                      : fault.kind == HttpFaultKind::kClosed ? PluginFaultKind::kClosed
                                                             : PluginFaultKind::kGarbage,
                      where + ": " + fault.what(), away);
  }
  if (std::chrono::duration<double>(Clock::now() - start).count() > seconds) {
    throw PluginFault(PluginFaultKind::kLate,
                      "the answer came after the deadline of " + brief(seconds) + " s");
  }
  if (answer.status != 200) {
    const bool away = answer.status == 429 || (answer.status >= 502 && answer.status <= 504);
    throw PluginFault(
        PluginFaultKind::kHttpStatus,
        where + ": status " + std::to_string(answer.status) + ": " + shorten(answer.body), away);
  }
  try {
    Json reply = parse_json(answer.body, "answer");
    if (reply.is_object()) return reply;
  } catch (const std::exception&) {
  }
  throw PluginFault(PluginFaultKind::kGarbage,
                    where + ": the answer is no JSON object: " + shorten(answer.body));
}

void HttpChannel::call(const Json& request, double seconds, double grace, const TakeReply& take) {
  const std::string op = request.at("op").get<std::string>();
  if (shape_ == HttpShape::kZeroth) {
    const Json reply = post(request, seconds, grace);
    const auto id = reply.find("id");
    if (id != reply.end() && *id != request.at("id")) {
      client_.close();  // whatever else stands on this connection answers other requests
      throw PluginFault(PluginFaultKind::kGarbage, "an answer to another request: id " +
                                                       id->dump().substr(0, 40) + " for " +
                                                       request.at("id").dump());
    }
    if (!take(reply))
      throw PluginFault(PluginFaultKind::kGarbage, "\"more\" is for pipes, not for HTTP");
    return;
  }
  if (op == "hello") {  // these servers have no greeting; the first grading shows what is there
    take({{"zeroth", 1}});
    return;
  }
  if (op != "grade") throw PluginFault(PluginFaultKind::kReported, "this server only grades");
  const Json& batch = request.at("batch");
  if (shape_ == HttpShape::kOpenRlhf) {
    take({{"results",
           openrlhf_results(post(openrlhf_request(batch), seconds, grace), batch.size())}});
    return;
  }
  const auto start = Clock::now();
  for (size_t i = 0; i < batch.size(); ++i) {
    const double spent = std::chrono::duration<double>(Clock::now() - start).count();
    const Json result = nemo_result(post(nemo_request(batch[i]), seconds - spent, grace));
    take({{"results", Json::array({result})}, {"more", i + 1 < batch.size()}});
  }
}

}  // namespace zeroth
