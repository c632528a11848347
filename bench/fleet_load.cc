// A coordinator against many workers that compute nothing: build/fleet_load [WORKERS [BATCHES]].
//
// The workers live in a process of their own, each with one connection: hello, then leases and
// results until the run ends. Printed: seconds from a lease's request to its answer while work
// waits, memory a connection, leases a second.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <thread>

#include "core/files.h"
#include "core/json_text.h"
#include "kernels/ops.h"
#include "net/digest.h"
#include "policy/policy.h"
#include "rollout/fleet/coordinator.h"

namespace {

using namespace zeroth;
using namespace zeroth::fleet;
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Clock = std::chrono::steady_clock;

constexpr char kToken[] = "a-token-of-a-load-test";
constexpr int kTokens = 32;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double resident_mb() {
  std::ifstream file("/proc/self/statm");
  double pages = 0;
  file >> pages >> pages;
  return pages * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1e6;
}

struct Tally {
  std::vector<double> lease_s, result_s;
  int64_t leases = 0, refused = 0, busy = 0, finished = 0;
};

asio::awaitable<void> simulate(int number, uint16_t port, Tally& tally) {
  beast::tcp_stream stream(co_await asio::this_coro::executor);
  co_await stream.async_connect(asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), port),
                                asio::use_awaitable);
  beast::flat_buffer buffer;
  int status = 0;
  const auto call = [&](http::verb verb, std::string target,
                        Json message) -> asio::awaitable<Json> {
    http::request<http::string_body> request(verb, target, 11);
    request.set(http::field::authorization, std::string("Bearer ") + kToken);
    request.set(http::field::content_type, kMessagePackType);
    request.body() = encode_body(message, kMessagePackType);
    request.set(kDigestHeader, content_digest(request.body()));
    request.prepare_payload();
    co_await http::async_write(stream, request, asio::use_awaitable);
    http::response<http::string_body> response;
    co_await http::async_read(stream, buffer, response, asio::use_awaitable);
    status = response.result_int();
    co_return decode_body(response.body(), std::string(response[http::field::content_type]));
  };
  Hello hello;
  hello.identity.contract = kernels::contract_hash();
  hello.name = "w" + std::to_string(number);
  const auto welcome =
      Welcome::from_json(co_await call(http::verb::post, "/v1/hello", hello.to_json()));
  LeasesAsked asked{welcome.session, 16, "", 20};
  for (;;) {
    const auto start = Clock::now();
    const auto given =
        LeasesGiven::from_json(co_await call(http::verb::post, "/v1/leases", asked.to_json()));
    if (given.finished) break;
    asked.weights = given.weights;
    // A poll that had to wait for work says nothing about the coordinator.
    if (!given.leases.empty() && since(start) < 1) tally.lease_s.push_back(since(start));
    for (const Lease& lease : given.leases) {
      ++tally.leases;
      Sample sample;
      sample.tokens.assign(kTokens, number % 40);
      sample.logprobs.assign(kTokens, -1);
      sample.entropies.assign(kTokens, 1);
      const Result result{lease.id, welcome.session, lease.weights,
                          std::vector<Sample>(lease.request.samples, sample)};
      const auto sent = Clock::now();
      co_await call(http::verb::put, "/v1/results/" + std::to_string(lease.id), result.to_json());
      tally.result_s.push_back(since(sent));
      tally.refused += status != 200;
    }
  }
  ++tally.finished;
}

double percentile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(share * values.size()))];
}

int run_clients(int workers, uint16_t port) {
  asio::io_context context(1);
  Tally tally;
  for (int i = 0; i < workers; ++i)
    asio::co_spawn(context, simulate(i, port, tally), asio::detached);
  context.run();
  std::printf("%d of %d workers heard the end; %lld leases, %lld results refused\n",
              static_cast<int>(tally.finished), workers, static_cast<long long>(tally.leases),
              static_cast<long long>(tally.refused));
  std::printf("lease: median %.2f ms, p99 %.2f ms; result: median %.2f ms, p99 %.2f ms\n",
              1e3 * percentile(tally.lease_s, 0.5), 1e3 * percentile(tally.lease_s, 0.99),
              1e3 * percentile(tally.result_s, 0.5), 1e3 * percentile(tally.result_s, 0.99));
  return tally.finished == workers && tally.refused == 0 ? 0 : 1;
}

std::unique_ptr<Policy> tiny() {
  return Policy::init(
      PolicyConfig::from_json(
          parse_json(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "vocab_size": 40, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 16,
            "max_position_embeddings": 64, "hidden_act": "silu", "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0, "tie_word_embeddings": true})",
                     "load"),
          "load"),
      1);
}

}  // namespace

int main(int argc, char** argv) {
  const int workers = argc > 1 ? std::atoi(argv[1]) : 1000;
  const int batches = argc > 2 ? std::atoi(argv[2]) : 5;
  const auto folder =
      std::filesystem::temp_directory_path() / ("fleet_load" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  write_file_atomic(folder / "token", std::string(kToken) + "\n");
  int to_child[2];
  if (::pipe(to_child) != 0) return 1;
  const pid_t child = ::fork();  // before any thread is there
  if (child == 0) {
    uint16_t port = 0;
    if (::read(to_child[0], &port, sizeof port) != sizeof port) ::_exit(1);
    int code = 1;
    try {
      code = run_clients(workers, port);
    } catch (const std::exception& error) {
      std::printf("clients: %s\n", error.what());
    }
    std::fflush(stdout);
    ::_exit(code);
  }
  const auto policy = tiny();
  FleetConfig config;
  config.listen = "127.0.0.1:0";
  config.token_file = (folder / "token").string();
  config.max_workers = workers + 10;
  FleetSetup setup;
  setup.model = policy->config();
  Coordinator coordinator(config, setup);
  const std::string weights = coordinator.publish(*policy->weights());
  const double before = resident_mb();
  const uint16_t port = coordinator.port();
  if (::write(to_child[1], &port, sizeof port) != sizeof port) return 1;
  while (coordinator.workers() < workers)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const double idle = resident_mb();
  std::printf("%d connections: %.1f KB each\n", workers, (idle - before) * 1e3 / workers);
  double seconds = 0;
  int64_t pieces = 0;
  for (int b = 0; b < batches; ++b) {
    std::vector<GenerationRequest> requests(2 * workers);
    for (size_t i = 0; i < requests.size(); ++i) {
      requests[i].prompt.assign(20, 3);
      requests[i].step = static_cast<uint32_t>(b);
      requests[i].problem = static_cast<uint32_t>(i);
      requests[i].samples = 8;
      requests[i].sampling.max_tokens = kTokens;
    }
    const auto start = Clock::now();
    std::vector<int> numbers(requests.size());
    std::iota(numbers.begin(), numbers.end(), 0);
    coordinator.begin();
    coordinator.add(numbers, requests, weights);
    for (size_t done = 0; done < requests.size();) done += coordinator.next(1).has_value();
    coordinator.end();
    seconds += since(start);
    pieces += static_cast<int64_t>(requests.size());
  }
  std::printf("%d batches of %d groups: %.2f s each, %.0f groups/s, peak %.0f MB\n", batches,
              2 * workers, seconds / batches, static_cast<double>(pieces) / seconds, resident_mb());
  std::fflush(stdout);
  coordinator.finish();
  int status = 0;
  ::waitpid(child, &status, 0);
  std::filesystem::remove_all(folder);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
