#include "inspect/server.h"

#include <boost/beast/http/fields.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "core/error.h"
#include "core/terminal.h"
#include "inspect/page.h"
#include "inspect/web.h"

namespace zeroth {
namespace {

namespace http = boost::beast::http;
using Clock = std::chrono::steady_clock;

// Making an export may take one part in so many of a core's time: training goes on beside it.
constexpr double kExportShare = 25;

constexpr char kPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string percent_decoded(std::string_view text) {
  std::string out;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 &&
        digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

struct Target {
  std::string path;
  std::map<std::string, std::string> query;

  explicit Target(std::string_view text) {
    const size_t mark = text.find('?');
    path = percent_decoded(text.substr(0, mark));
    if (mark == std::string_view::npos) return;
    std::string_view rest = text.substr(mark + 1);
    while (!rest.empty()) {
      const size_t end = std::min(rest.find('&'), rest.size());
      const std::string_view pair = rest.substr(0, end);
      const size_t equals = std::min(pair.find('='), pair.size());
      query[percent_decoded(pair.substr(0, equals))] =
          equals < pair.size() ? percent_decoded(pair.substr(equals + 1)) : "";
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  std::string text(const std::string& name, const std::string& otherwise = "") const {
    const auto found = query.find(name);
    return found == query.end() ? otherwise : found->second;
  }
  int64_t number(const std::string& name, int64_t otherwise, int64_t low, int64_t high) const {
    const std::string value = text(name);
    if (value.empty()) return otherwise;
    char* end = nullptr;
    const long long parsed = std::strtoll(value.c_str(), &end, 10);
    if (*end != '\0' || parsed < low || parsed > high) {
      fail_usage(name + "=" + value + " is no number between " + std::to_string(low) + " and " +
                 std::to_string(high));
    }
    return parsed;
  }
};

std::string random_token() {
  std::random_device device;
  std::string out;
  char digits[9];
  for (int i = 0; i < 4; ++i) {
    std::snprintf(digits, sizeof digits, "%08x", device());
    out += digits;
  }
  return out;
}

// In constant time, so that a token cannot be guessed character by character.
bool same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

std::string cookie(const WebRequest& request, std::string_view name) {
  std::string_view rest = request[http::field::cookie];
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(';'), rest.size());
    std::string_view pair = rest.substr(0, end);
    while (!pair.empty() && pair.front() == ' ') pair.remove_prefix(1);
    if (pair.substr(0, name.size()) == name && pair.substr(name.size(), 1) == "=") {
      return std::string(pair.substr(name.size() + 1));
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return "";
}

GroupSource source_named(const std::string& name) {
  for (uint32_t i = 0; i < 4; ++i) {
    if (name == to_string(static_cast<GroupSource>(i))) return static_cast<GroupSource>(i);
  }
  fail_usage("source=" + name + " is none of train, probe, eval, discarded");
}

}  // namespace

struct InspectServer::Impl {
  RunSet& runs;
  ServerOptions options;
  WebServer web;
  std::string token;
  std::set<std::string> hosts;

  std::mutex mutex;
  std::condition_variable wake;
  bool stopping = false;
  std::atomic<uint64_t> version{1};

  // The exported page is shared by all who ask for it, and made anew only now and then.
  struct Export {
    std::shared_ptr<const std::string> html;
    uint64_t version = 0;
    Clock::time_point again;
  };
  std::mutex export_mutex;
  std::map<size_t, Export> exports;  // by run; only the newest few are kept

  Impl(RunSet& shown, const ServerOptions& with)
      : runs(shown), options(with), web(with.address, with.port, {}) {
    if (!web.loopback()) token = random_token();
    const std::string at = ":" + std::to_string(web.port());
    for (const std::string name : {"127.0.0.1", "localhost", "[::1]"}) hosts.insert(name + at);
    const bool six = options.address.find(':') != std::string::npos;
    hosts.insert((six ? "[" + options.address + "]" : options.address) + at);
  }

  // Why a request is refused before it is looked at; empty when it is fine.
  std::string refusal(const WebRequest& request) const {
    const std::string host(request[http::field::host]);
    // On all interfaces any name may lead here; the token then keeps strangers out.
    if (web.loopback() && hosts.count(host) == 0)
      return "the Host header \"" + host + "\" does not name this server";
    const auto origin = request.find(http::field::origin);
    if (origin != request.end() && origin->value() != "http://" + host) {
      return "the request comes from another site";
    }
    const auto site = request.find("Sec-Fetch-Site");
    if (site != request.end() && site->value() != "same-origin" && site->value() != "none" &&
        request["Sec-Fetch-Mode"] != "navigate") {
      return "the request comes from another site";
    }
    return "";
  }

  bool knows_token(const WebRequest& request, const Target& target) const {
    return token.empty() || same_secret(target.text("token"), token) ||
           same_secret(cookie(request, "zeroth_token"), token);
  }

  static WebReply plain(http::status status, std::string type,
                        std::shared_ptr<const std::string> body) {
    WebReply reply;
    reply.status = status;
    reply.headers = {{"Content-Type", std::move(type)},
                     {"Cache-Control", "no-store"},
                     {"Content-Security-Policy", kPolicy},
                     {"X-Content-Type-Options", "nosniff"},
                     {"X-Frame-Options", "DENY"},
                     {"Referrer-Policy", "no-referrer"},
                     {"Cross-Origin-Resource-Policy", "same-origin"}};
    reply.body = std::move(body);
    return reply;
  }

  static WebReply plain(http::status status, std::string type, std::string body) {
    return plain(status, std::move(type), std::make_shared<const std::string>(std::move(body)));
  }

  static WebReply json(const Json& json, http::status status = http::status::ok) {
    return plain(status, "application/json",
                 json.dump(-1, ' ', false, Json::error_handler_t::replace));
  }

  size_t run_of(const Target& target) const {
    return static_cast<size_t>(target.number("run", 0, 0, 1 << 20));
  }

  Json api(const std::string& name, const Target& target) {
    if (name == "runs") return runs.list();
    if (name == "stages") return runs.stages();
    const std::shared_ptr<RunView> held = runs.view(run_of(target));
    RunView& run = *held;
    if (name == "info") {
      Json info = run.info();
      info["runs"] = runs.size();
      info["pipelines"] = runs.stages().size();
      info["overlay"] = options.overlay;
      return info;
    }
    if (name == "timeline") return run.timeline();
    if (name == "steps") return run.steps();
    if (name == "step") {
      return run.step(target.number("step", 0, 0, UINT32_MAX),
                      source_named(target.text("source", "train")));
    }
    if (name == "trace") return run.trace(SampleAddress::parse(target.text("at")));
    if (name == "search") {
      SearchRequest request;
      request.query = target.text("q");
      request.order = target.text("order", "step");
      request.limit = static_cast<int>(target.number("limit", 50, 1, 1000));
      request.offset = target.number("offset", 0, 0, INT64_MAX / 2);
      return run.search(request);
    }
    if (name == "problem") return run.problem(target.text("task"), target.text("id"));
    if (name == "probes") return run.probes();
    if (name == "ahas")
      return run.first_ahas(static_cast<int>(target.number("limit", 100, 1, 1000)));
    if (name == "experts") return run.experts();
    if (name == "fleet") return run.fleet();
    fail_usage("there is no /api/" + name);
  }

  std::shared_ptr<const std::string> exported_html(size_t run) {
    std::lock_guard lock(export_mutex);
    Export& made = exports[run];
    const auto start = Clock::now();
    const uint64_t now = version;
    if (made.html && (made.version == now || start < made.again)) return made.html;
    made.html =
        std::make_shared<const std::string>(exported_page(*runs.view(run), options.export_traces));
    made.version = now;
    const auto took = Clock::now() - start;
    made.again = Clock::now() + std::chrono::duration_cast<Clock::duration>(kExportShare * took);
    const auto html = made.html;
    constexpr size_t kKept = 2;
    for (auto at = exports.begin(); exports.size() > kKept && at != exports.end();)
      at = at->first == run ? std::next(at) : exports.erase(at);
    return html;
  }

  WebReply answer(const Target& target) {
    if (target.path == "/") {
      WebReply reply = plain(http::status::ok, "text/html; charset=utf-8", served_page());
      if (!token.empty()) {
        reply.headers.emplace_back("Set-Cookie",
                                   "zeroth_token=" + token + "; HttpOnly; SameSite=Strict; Path=/");
      }
      return reply;
    }
    if (target.path == "/style.css")
      return plain(http::status::ok, "text/css; charset=utf-8", page_style());
    if (target.path == "/app.js")
      return plain(http::status::ok, "text/javascript; charset=utf-8", page_script());
    if (target.path == "/metrics")
      return plain(http::status::ok, "text/plain; version=0.0.4",
                   runs.view(run_of(target))->prometheus());
    if (target.path == "/api/export") {
      WebReply reply =
          plain(http::status::ok, "text/html; charset=utf-8", exported_html(run_of(target)));
      reply.headers.emplace_back("Content-Disposition", "attachment; filename=\"run.html\"");
      return reply;
    }
    if (target.path.rfind("/api/", 0) == 0) return json(api(target.path.substr(5), target));
    return json({{"error", "there is no page " + target.path}}, http::status::not_found);
  }

  static Target target_of(const WebRequest& request) {
    return Target(std::string_view(request.target().data(), request.target().size()));
  }

  bool welcome(const WebRequest& request, const Target& target) const {
    return (request.method() == http::verb::get || request.method() == http::verb::head) &&
           refusal(request).empty() && knows_token(request, target);
  }

  WebKind kind(const WebRequest& request) const {
    const Target target = target_of(request);
    if (target.path != "/api/events" && target.path != "/api/export") return WebKind::kPlain;
    if (!welcome(request, target)) return WebKind::kPlain;
    if (target.path == "/api/export") return WebKind::kHeavy;
    return request.method() == http::verb::get ? WebKind::kEvents : WebKind::kPlain;
  }

  WebReply respond(const WebRequest& request) {
    if (request.method() != http::verb::get && request.method() != http::verb::head) {
      WebReply reply =
          json({{"error", "only GET is understood"}}, http::status::method_not_allowed);
      reply.headers.emplace_back("Allow", "GET, HEAD");
      return reply;
    }
    if (const std::string why = refusal(request); !why.empty()) {
      return json({{"error", why}}, http::status::forbidden);
    }
    const Target target = target_of(request);
    if (!knows_token(request, target)) {
      return json({{"error", "open the address that zeroth inspect printed, with its token"}},
                  http::status::unauthorized);
    }
    try {
      return answer(target);
    } catch (const Error& error) {
      return json({{"error", error.what()}}, error.code() == ExitCode::kUsage
                                                 ? http::status::not_found
                                                 : http::status::internal_server_error);
    } catch (const std::exception& error) {
      return json({{"error", std::string("internal error: ") + error.what()}},
                  http::status::internal_server_error);
    }
  }

  void watch(const std::atomic<bool>& stop) {
    std::string last_error;
    while (!stop) {
      try {
        const auto batch = [&](int64_t, int64_t) {
          bump();
          return !stop.load();
        };
        if (runs.update(batch)) bump();
        last_error.clear();
      } catch (const std::exception& error) {
        // Said once, not at every look.
        if (last_error != error.what())
          std::fprintf(stderr, "zeroth inspect: %s\n", printable(error.what()).c_str());
        last_error = error.what();
      }
      std::unique_lock lock(mutex);
      wake.wait_for(lock, std::chrono::duration<double>(options.poll_s), [&] { return stopping; });
    }
  }

  void bump() {
    ++version;
    web.notify();
  }

  void run(const std::atomic<bool>& stop) {
    std::thread watcher([&] { watch(stop); });
    web.run(
        stop, [this](const WebRequest& request) { return kind(request); },
        [this](const WebRequest& request) { return respond(request); });
    {
      std::lock_guard lock(mutex);
      stopping = true;
      wake.notify_all();
    }
    watcher.join();
  }
};

InspectServer::InspectServer(RunSet& runs, const ServerOptions& options)
    : impl_(std::make_unique<Impl>(runs, options)) {}

InspectServer::~InspectServer() = default;

uint16_t InspectServer::port() const { return impl_->web.port(); }

std::string InspectServer::url() const {
  const bool six = impl_->options.address.find(':') != std::string::npos;
  const std::string address = six ? "[" + impl_->options.address + "]" : impl_->options.address;
  const std::string base = "http://" + address + ":" + std::to_string(port()) + "/";
  return impl_->token.empty() ? base : base + "?token=" + impl_->token;
}

void InspectServer::run(const std::atomic<bool>& stop) { impl_->run(stop); }

}  // namespace zeroth
