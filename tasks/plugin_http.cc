#include "tasks/plugin_http.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <cstdio>
#include <optional>

#include "core/error.h"

namespace zeroth {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace net = boost::asio;
using tcp = net::ip::tcp;
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

HttpUrl parse_http_url(const std::string& url) {
  const auto wrong = [&](const std::string& why) {
    fail_usage("url \"" + url + "\": " + why, "write http://HOST:PORT/PATH");
  };
  if (url.rfind("https://", 0) == 0) wrong("https is not spoken here; put a local proxy in front");
  if (url.rfind("http://", 0) != 0) wrong("it does not begin with http://");
  const std::string rest = url.substr(7);
  const size_t slash = std::min(rest.find('/'), rest.size());
  HttpUrl out;
  out.path = slash == rest.size() ? "/" : rest.substr(slash);
  std::string host = rest.substr(0, slash);
  out.port = "80";
  const size_t colon = host.rfind(':');
  if (colon != std::string::npos && host.find(']', colon) == std::string::npos) {
    out.port = host.substr(colon + 1);
    host.resize(colon);
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  out.host = host;
  const bool digits = !out.port.empty() && out.port.size() <= 5 &&
                      out.port.find_first_not_of("0123456789") == std::string::npos &&
                      std::stoi(out.port) <= 65535;
  if (out.host.empty() || !digits) wrong("host or port is wrong");
  if (url.find_first_of(" \t\r\n") != std::string::npos) wrong("it holds blanks");
  return out;
}

HttpShape http_shape(const std::string& name) {
  if (name == "zeroth") return HttpShape::kZeroth;
  if (name == "openrlhf") return HttpShape::kOpenRlhf;
  if (name == "nemo_gym") return HttpShape::kNemoGym;
  fail_usage("shape \"" + name + "\"", "use zeroth, openrlhf or nemo_gym");
}

// A context and a stream that run one asynchronous step at a time, until a deadline.
struct HttpChannel::Connection {
  net::io_context context;
  tcp::socket socket{context};
  beast::flat_buffer buffer;
  bool used = false;  // a request was answered on it

  // Runs what `start` began; false when the deadline came first (the socket is closed then).
  bool run(Clock::time_point deadline) {
    context.restart();
    context.run_until(deadline);
    if (context.stopped()) return true;
    beast::error_code ignored;
    socket.close(ignored);
    context.run_for(std::chrono::milliseconds(100));
    return false;
  }
};

HttpChannel::HttpChannel(HttpUrl url, HttpShape shape) : url_(std::move(url)), shape_(shape) {}
HttpChannel::~HttpChannel() = default;
void HttpChannel::close() { connection_.reset(); }

Json HttpChannel::post(const Json& body, double seconds, double grace) {
  const auto start = Clock::now();
  const auto after = [&](double s) {
    return start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s));
  };
  const auto deadline = after(seconds), end = after(seconds + grace);
  const auto timed_out = [&]() {
    close();
    char words[64];
    std::snprintf(words, sizeof words, "no answer within %.4g s", seconds);
    return PluginFault(PluginFaultKind::kTimeout, words);
  };
  const std::string where = "http://" + url_.host + ":" + url_.port + url_.path;

  http::request<http::string_body> request(http::verb::post, url_.path, 11);
  request.set(http::field::host, url_.host + ":" + url_.port);
  request.set(http::field::content_type, "application/json");
  request.set(http::field::accept, "application/json");
  request.body() = dumped(body);
  request.prepare_payload();

  for (bool again = true;; again = false) {
    beast::error_code error;
    if (!connection_) {
      connection_ = std::make_unique<Connection>();
      Connection& c = *connection_;
      tcp::resolver resolver(c.context);
      tcp::resolver::results_type endpoints;
      resolver.async_resolve(url_.host, url_.port, [&](beast::error_code e, auto results) {
        error = e;
        endpoints = results;
      });
      if (!c.run(deadline)) throw timed_out();
      if (!error) {
        net::async_connect(c.socket, endpoints,
                           [&](beast::error_code e, const tcp::endpoint&) { error = e; });
        if (!c.run(deadline)) throw timed_out();
      }
      if (error) {
        close();
        throw PluginFault(PluginFaultKind::kUnreachable, where + ": " + error.message());
      }
      c.socket.set_option(tcp::no_delay(true), error);
    }
    Connection& c = *connection_;
    http::async_write(c.socket, request, [&](beast::error_code e, size_t) { error = e; });
    if (!c.run(end)) throw timed_out();
    http::response_parser<http::string_body> parser;
    parser.body_limit(kMaxReply);
    if (!error) {
      http::async_read(c.socket, c.buffer, parser, [&](beast::error_code e, size_t) { error = e; });
      if (!c.run(end)) throw timed_out();
    }
    if (error && c.used && again && !parser.got_some()) {
      close();  // it closed the idle connection before it saw the request
      continue;
    }
    if (error) {
      const bool gone = error == http::error::end_of_stream || error == net::error::eof ||
                        error == net::error::connection_reset || error == net::error::broken_pipe ||
                        error == http::error::partial_message;
      close();
      throw PluginFault(gone ? PluginFaultKind::kClosed : PluginFaultKind::kGarbage,
                        where + ": " + error.message());
    }
    c.used = true;
    const auto response = parser.release();
    if (!response.keep_alive()) close();
    if (Clock::now() > deadline) {
      char words[96];
      std::snprintf(words, sizeof words, "the answer came after the deadline of %.4g s", seconds);
      throw PluginFault(PluginFaultKind::kLate, words);
    }
    if (response.result() != http::status::ok) {
      throw PluginFault(PluginFaultKind::kHttpStatus, where + ": status " +
                                                          std::to_string(response.result_int()) +
                                                          ": " + shorten(response.body()));
    }
    try {
      Json reply = parse_json(response.body(), "answer");
      if (reply.is_object()) return reply;
    } catch (const std::exception&) {
    }
    throw PluginFault(PluginFaultKind::kGarbage,
                      where + ": the answer is no JSON object: " + shorten(response.body()));
  }
}

void HttpChannel::call(const Json& request, double seconds, double grace, const TakeReply& take) {
  const std::string op = request.at("op").get<std::string>();
  if (shape_ == HttpShape::kZeroth) {
    if (!take(post(request, seconds, grace)))
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
