// A coordinator against clients that may not, must not or cannot.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "core/error.h"
#include "core/sha256.h"
#include "fleet_support.h"
#include "kernels/ops.h"
#include "net/digest.h"
#include "rollout/fleet/access.h"
#include "rollout/fleet/coordinator_impl.h"

namespace zeroth::fleet::test {
namespace {

// Requests of one client, as raw as they come.
struct Client {
  explicit Client(const std::string& url, std::string with = kToken)
      : http(parse_http_url(url), 64 << 20), token(std::move(with)) {}
  HttpAnswer send(const std::string& method, const std::string& target,
                  const std::string& body = "", std::string type = kMessagePackType,
                  HttpClient::Headers more = {}) {
    HttpCall call{.method = method, .target = target, .body = body, .type = type, .headers = more};
    if (!body.empty()) call.headers.emplace_back(kDigestHeader, content_digest(body));
    if (!token.empty()) call.headers.emplace_back("Authorization", "Bearer " + token);
    return http.send(call, 5, 10);
  }
  HttpAnswer post(const std::string& target, const Json& message) {
    return send("POST", target, encode_body(message, kMessagePackType));
  }
  Json good(const HttpAnswer& answer) {
    REQUIRE(answer.status == 200);
    return decode_body(answer.body, answer.headers.at("content-type"));
  }
  HttpClient http;
  std::string token;
};

Hello honest(const std::string& name) {
  Hello hello;
  hello.identity.contract = kernels::contract_hash();
  hello.name = name;
  return hello;
}

Json error_of(const HttpAnswer& answer) { return parse_json(answer.body, "answer"); }

// A fleet in which one generate() waits, and a worker that holds its leases.
struct Lent : Fleet {
  explicit Lent(FleetConfig config = quick()) : Fleet("dense", config), client(url()) {
    training = std::thread([this] { found = sampler->generate(wanted, {.cancel = &cancel}); });
    welcome = Welcome::from_json(client.good(client.post("/v1/hello", honest("w").to_json())));
    leases = take(client, welcome.session);
  }
  ~Lent() {
    cancel = true;
    training.join();
  }
  static FleetConfig quick() {
    FleetConfig config;
    config.lease_s = 60;
    return config;
  }
  std::string url() { return sampler->coordinator().url(); }
  std::vector<Lease> take(Client& by, const std::string& session) {
    LeasesAsked asked{session, 1000, "", 5};
    for (int i = 0; i < 50; ++i) {
      const auto given = LeasesGiven::from_json(by.good(by.post("/v1/leases", asked.to_json())));
      if (!given.leases.empty()) return given.leases;
      asked.weights = given.weights;
    }
    return {};
  }
  Result made(const Lease& lease) {
    LocalSampler local(policy->weights(), nullptr, EngineConfig{});
    return {lease.id, welcome.session, lease.weights, local.generate({lease.request})[0]};
  }
  HttpAnswer put(Client& by, int64_t lease, const Result& result) {
    return by.send("PUT", "/v1/results/" + std::to_string(lease),
                   encode_body(result.to_json(), kMessagePackType));
  }
  int64_t count(const char* name) { return sampler->coordinator().status()["counts"][name]; }

  std::vector<GenerationRequest> wanted = requests(3, 2, 6);
  std::vector<std::vector<Sample>> found;
  std::atomic<bool> cancel{false};
  std::thread training;
  Client client;
  Welcome welcome;
  std::vector<Lease> leases;
};

TEST_CASE("25 unauthorised tries: nothing is served") {
  Lent fleet;
  const std::string token = kToken;
  const std::string tokens[] = {"",
                                "x",
                                token + "x",
                                token.substr(1),
                                "Bearer",
                                "undefined",
                                std::string(10000, 'a'),
                                token + " " + token};
  const std::pair<const char*, std::string> routes[] = {
      {"POST", "/v1/hello"},
      {"POST", "/v1/leases"},
      {"POST", "/v1/progress"},
      {"PUT", "/v1/results/1"},
      {"POST", "/v1/release"},
      {"GET", "/v1/weights"},
      {"GET", "/v1/status"},
      {"GET", "/metrics"},
      {"GET", "/v1/weights/" + fleet.leases[0].weights}};
  int tries = 0, served = 0;
  for (const std::string& wrong : tokens) {
    for (const auto& [method, target] : routes) {
      Client stranger(fleet.url(), wrong);
      const HttpAnswer answer =
          stranger.send(method, target, encode_body(honest("x").to_json(), kMessagePackType));
      ++tries;
      served += answer.status != 401;
      CHECK(answer.body.find(fleet.welcome.session) == std::string::npos);
    }
  }
  CHECK(tries >= 25);
  CHECK(served == 0);
  CHECK(fleet.count("unauthorised") == tries);
  Client anyone(fleet.url(), "");
  CHECK(anyone.send("GET", "/healthz").status == 200);
}

TEST_CASE("observers look and no more") {
  Fleet fleet;
  write_file_atomic(fleet.folder.path / "more",
                    std::string(kToken) + "\nlook-only-token-1234 observer\n");
  FleetConfig config = fleet.config;
  config.token_file = (fleet.folder.path / "more").string();
  FleetSampler sampler(fleet.policy->weights(), config, {.model = fleet.policy->config()});
  Client observer(sampler.coordinator().url(), "look-only-token-1234");
  CHECK(observer.send("GET", "/v1/status").status == 200);
  CHECK(observer.send("GET", "/metrics").body.find("zeroth_fleet_workers 0") != std::string::npos);
  CHECK(observer.post("/v1/hello", honest("x").to_json()).status == 403);
  CHECK(observer.send("GET", "/v1/weights").status == 403);
}

TEST_CASE("whoever was wrong is known by name, and by a token of its own") {
  Folder folder;
  const std::string a = "a-token-of-one-worker", b = "a-token-of-another-one";
  const TokenList shared = TokenList::from_text(a + "\nonly-to-look-at-it observer\n", "t"),
                  each = TokenList::from_text(a + "\n" + b + " worker\n", "t");
  CHECK(shared.name_of(a).empty());
  CHECK(each.name_of(a) != each.name_of(b));
  CHECK(each.name_of(a).find(a.substr(0, 4)) == std::string::npos);
  {
    Quarantine quarantine(folder.path);
    CHECK_FALSE(quarantine.holds("liar", each.name_of(a)));
    quarantine.add("liar", each.name_of(a), "a lie", {{"x", 1}});
    quarantine.add("other", "", "a lie", Json::object());
  }
  const Quarantine again(folder.path);  // of a run that was resumed
  CHECK(again.holds("liar", ""));
  CHECK(again.holds("renamed", each.name_of(a)));
  CHECK(again.holds("other", ""));
  CHECK_FALSE(again.holds("honest", each.name_of(b)));
  CHECK_FALSE(again.holds("honest", ""));
}

TEST_CASE("another contract, config, tokenizer or protocol is refused, and named") {
  Fleet fleet;
  Client client(fleet.sampler->coordinator().url());
  const auto refused = [&](const Hello& hello, const char* field) {
    const HttpAnswer answer = client.post("/v1/hello", hello.to_json());
    CHECK(answer.status == 409);
    CHECK(error_of(answer)["field"] == field);
    CHECK(error_of(answer).contains("ours"));
  };
  Hello hello = honest("w");
  hello.identity.contract = std::string(64, '0');
  refused(hello, "contract");
  hello = honest("w");
  hello.identity.config = "other";
  refused(hello, "config");
  hello = honest("w");
  hello.identity.tokenizer = "other";
  refused(hello, "tokenizer");
  hello = honest("w");
  hello.protocol = 99;
  refused(hello, "protocol");
  CHECK(client.post("/v1/hello", honest("").to_json()).status == 400);
  CHECK(fleet.sampler->coordinator().status()["counts"]["refused_hellos"] == 5);
}

TEST_CASE("bodies that are cut, flipped, too long or of another type change nothing") {
  Lent fleet;
  const Lease& lease = fleet.leases[0];
  const std::string target = "/v1/results/" + std::to_string(lease.id);
  const std::string body = encode_body(fleet.made(lease).to_json(), kMessagePackType);
  for (size_t n = 0; n < body.size(); n += 1 + body.size() / 60)
    CHECK(fleet.client.send("PUT", target, body.substr(0, n)).status == 400);
  CHECK(fleet.client.send("PUT", target, body, "text/plain").status == 400);
  for (const char* digest : {"sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:", "x"}) {
    HttpCall call{.method = "PUT", .target = target, .body = body, .type = kMessagePackType};
    call.headers = {{"Authorization", std::string("Bearer ") + kToken}, {kDigestHeader, digest}};
    CHECK(fleet.client.http.send(call, 5, 10).status == 400);
    call.headers.pop_back();
    CHECK(fleet.client.http.send(call, 5, 10).status == 400);
  }
  CHECK(fleet.client.send("PUT", target, body, kJsonType).status == 400);
  CHECK(fleet.client.send("PUT", target, std::string(100000, '\x91')).status == 400);
  CHECK(fleet.client.send("POST", "/v1/hello", std::string(100000, 'x')).status == 413);
  CHECK(fleet.count("results") == 0);
  CHECK(fleet.put(fleet.client, lease.id, fleet.made(lease)).status == 200);
  CHECK(fleet.count("results") == 1);
}

TEST_CASE("results of other leases, sessions, weights and times are refused; replays count once") {
  Lent fleet;
  REQUIRE(fleet.leases.size() == 3);
  const Result first = fleet.made(fleet.leases[0]);
  Result nowhere = first;
  nowhere.lease = 999999;
  CHECK(fleet.put(fleet.client, 999999, nowhere).status == 404);
  CHECK(fleet.put(fleet.client, fleet.leases[1].id, first).status == 400);  // of another lease
  CHECK(fleet.client.send("PUT", "/v1/results/x", encode_body(first.to_json(), kMessagePackType))
            .status == 404);
  CHECK(fleet.client
            .send("PUT", "/v1/results/99999999999999999999",
                  encode_body(first.to_json(), kMessagePackType))
            .status == 404);
  Result stranger = first;
  stranger.session = "nobody";
  CHECK(fleet.put(fleet.client, fleet.leases[0].id, stranger).status == 409);
  // Another worker answers a lease that is not its own.
  Client other(fleet.url());
  const auto second =
      Welcome::from_json(other.good(other.post("/v1/hello", honest("v").to_json())));
  Result foreign = first;
  foreign.session = second.session;
  CHECK(fleet.put(other, fleet.leases[0].id, foreign).status == 403);
  Result stale = first;
  stale.weights = std::string(64, 'c');
  CHECK(fleet.put(fleet.client, fleet.leases[0].id, stale).status == 422);
  // A result for another lease than its own is not what was asked for.
  CHECK(fleet.count("results") == 0);
  CHECK(fleet.put(fleet.client, fleet.leases[0].id, first).status == 200);
  for (int i = 0; i < 5; ++i) {
    const HttpAnswer again = fleet.put(fleet.client, fleet.leases[0].id, first);
    CHECK(again.status == 200);
    CHECK(fleet.client.good(again)["duplicate"] == true);
  }
  CHECK(fleet.count("results") == 1);
  for (size_t i = 1; i < 3; ++i)
    CHECK(fleet.put(fleet.client, fleet.leases[i].id, fleet.made(fleet.leases[i])).status == 200);
  fleet.training.join();
  check_equal(fleet.found, fleet.expected(fleet.wanted));
  CHECK(fleet.put(fleet.client, fleet.leases[0].id, first).status == 404);  // the batch is over
  fleet.training = std::thread([] {});
}

TEST_CASE("a worker that says hello again loses its old session and keeps nothing") {
  Lent fleet;
  const auto again =
      Welcome::from_json(fleet.client.good(fleet.client.post("/v1/hello", honest("w").to_json())));
  CHECK(again.session != fleet.welcome.session);
  CHECK(fleet.put(fleet.client, fleet.leases[0].id, fleet.made(fleet.leases[0])).status == 409);
  CHECK(fleet.take(fleet.client, again.session).size() == 3);
}

TEST_CASE("a worker that speaks of what is not there yet is answered by what is") {
  Lent fleet;
  // Weights of the future, or of another run, are old ones: it hears of the newest.
  LeasesAsked asked{fleet.welcome.session, 8, std::string(64, 'f'), 0};
  const auto given =
      LeasesGiven::from_json(fleet.client.good(fleet.client.post("/v1/leases", asked.to_json())));
  CHECK(given.weights == fleet.leases[0].weights);
  CHECK(given.leases.empty());
  CHECK(fleet.client.send("GET", "/v1/weights/" + std::string(64, 'f')).status == 404);
  // Leases that were never given are dropped, and renew nothing.
  const int64_t future = fleet.leases.back().id + 1;
  Progress progress{fleet.welcome.session, {{future, 5}, {INT64_MAX, INT64_MAX}, {0, 1}}};
  const Json answer = fleet.client.good(fleet.client.post("/v1/progress", progress.to_json()));
  CHECK(answer["drop"] == Json::array({future, INT64_MAX, 0}));
  Result result = fleet.made(fleet.leases[0]);
  result.lease = future;
  CHECK(fleet.put(fleet.client, future, result).status == 404);
  result.lease = fleet.leases[0].id;
  result.used = {result.weights};  // of a lease that follows, which this one does not
  for (Sample& sample : result.samples) sample.versions = {{0, 0}};
  CHECK(fleet.put(fleet.client, result.lease, result).status == 422);
  CHECK(fleet.count("results") == 0);
}

TEST_CASE("blobs by range, as caches ask for them") {
  Lent fleet;
  const auto manifest = WeightsManifest::from_json(
      fleet.client.good(fleet.client.send("GET", "/v1/weights/" + fleet.leases[0].weights)),
      ImageLayout(fleet.policy->config()).bytes());
  const std::string target = "/v1/blobs/" + manifest.chunks[0].sha256;
  const HttpAnswer whole = fleet.client.send("GET", target);
  REQUIRE(whole.body.size() == manifest.bytes);
  CHECK(sha256_hex(whole.body) == manifest.chunks[0].sha256);
  CHECK(whole.headers.at("etag") == "\"" + manifest.chunks[0].sha256 + "\"");
  const auto part = [&](const std::string& range) {
    return fleet.client.send("GET", target, "", kMessagePackType, {{"Range", range}});
  };
  CHECK(part("bytes=0-9").body == whole.body.substr(0, 10));
  CHECK(part("bytes=0-9").status == 206);
  CHECK(part("bytes=100-").body == whole.body.substr(100));
  CHECK(part("bytes=-7").body == whole.body.substr(whole.body.size() - 7));
  CHECK(part("bytes=5-5").body == whole.body.substr(5, 1));
  CHECK(part("bytes=0-99999999999").body == whole.body);
  CHECK(part("bytes=99999999999-").status == 416);
  CHECK(part("bytes=9-3").status == 416);
  for (const char* odd : {"bytes=a-b", "lines=1-2", "bytes=1-2,4-5", "bytes=", "bytes=-"})
    CHECK(part(odd).status != 500);
  CHECK(fleet.client.send("GET", "/v1/blobs/" + std::string(64, 'a')).status == 404);
  CHECK(fleet.client.send("GET", "/v1/blobs/..%2f..%2fetc%2fpasswd").status == 404);
}

TEST_CASE("a second result that differs convicts the one that is wrong") {
  for (const bool first_lies : {true, false}) {
    CAPTURE(first_lies);
    FleetConfig config;
    config.lease_s = 0.3;
    config.audit_rate = 0;
    Lent fleet(config);
    Client other(fleet.url());
    const auto second =
        Welcome::from_json(other.good(other.post("/v1/hello", honest("v").to_json())));
    const auto late = fleet.take(other, second.session);  // when the first leases have run out
    REQUIRE(late.size() > 0);
    const auto early = std::find_if(fleet.leases.begin(), fleet.leases.end(), [&](const Lease& l) {
      return l.request.problem == late[0].request.problem;
    });
    REQUIRE(early != fleet.leases.end());
    Result a = fleet.made(*early), b = fleet.made(late[0]);
    b.session = second.session;
    (first_lies ? a : b).samples[0].logprobs[0] -= 1e-3f;
    CHECK(fleet.put(fleet.client, early->id, a).status == 200);
    CHECK(fleet.put(other, late[0].id, b).status == 200);
    const std::string liar = first_lies ? "w" : "v";
    for (int i = 0; i < 500 && fleet.sampler->coordinator().status()["quarantined"].empty(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    CHECK(fleet.sampler->coordinator().status()["quarantined"].contains(liar));
    CHECK(fleet.sampler->coordinator().status()["quarantined"].size() == 1);
    fleet.start(fleet.options("third"));
    fleet.training.join();
    check_equal(fleet.found, fleet.expected(fleet.wanted));
    fleet.training = std::thread([] {});
  }
}

TEST_CASE("workers over the limit are told to try again") {
  FleetConfig config;
  config.max_workers = 2;
  Fleet fleet("dense", config);
  Client client(fleet.sampler->coordinator().url());
  CHECK(client.post("/v1/hello", honest("a").to_json()).status == 200);
  CHECK(client.post("/v1/hello", honest("b").to_json()).status == 200);
  const HttpAnswer third = client.post("/v1/hello", honest("c").to_json());
  CHECK(third.status == 429);
  CHECK(third.headers.at("retry-after") == "1");
  CHECK(client.post("/v1/hello", honest("a").to_json()).status == 200);  // its own place again
}

TEST_CASE("a worker asks again for what a wire may have changed, and believes the rest") {
  const auto good = message_reply({{"x", 1}}, kMessagePackType);
  HttpReply flipped = good, other_type = good, no_content = good, moved = good;
  flipped.text.back() ^= 1;
  other_type.type = "application/msgpacj";
  no_content.status = 204;
  moved.status = 208;
  const HttpReply wrong_path = error_reply(404, "there is no POST /v1/helho"),
                  wrong_token = error_reply(401, "send a token of the run"),
                  late = error_reply(404, "gone", {{"field", "lease"}});
  std::deque<HttpReply> answers;  // used by the server only while the test waits for an answer
  HttpServer server({});
  server.start(
      [](const HttpRequest&, uint64_t& limit) -> std::optional<HttpReply> {
        limit = 1000;
        return std::nullopt;
      },
      [&](HttpExchangePtr exchange) {
        exchange->reply(answers.front());
        answers.pop_front();
      });
  const std::atomic<bool> go{false};
  Link link({"http://127.0.0.1:" + std::to_string(server.port()), kToken, "", 5}, go);
  for (const HttpReply& damaged :
       {flipped, other_type, no_content, moved, wrong_path, wrong_token}) {
    CAPTURE(damaged.status);
    answers = {damaged, good};
    CHECK(link.call("POST", "/", {})["x"] == 1);
    CHECK(answers.empty());
  }
  const std::string bytes = "the bytes of a blob";
  const BlobName name{sha256_hex(bytes), bytes.size()};
  answers = {wrong_token, {.text = ""}, {.text = "the Bytes of a blob"}, {.text = bytes}};
  CHECK(link.blob(name) == bytes);
  answers = {late, good};
  CHECK_THROWS_AS(link.call("POST", "/", {}), Refused);
  CHECK(answers.size() == 1);
  answers = {late, good};
  CHECK_THROWS_AS(link.blob(name), Refused);
  answers.assign(10, wrong_token);
  CHECK_THROWS_WITH_AS(link.call("POST", "/", {}), "send a token of the run", Refused);
}

// One connection after the other: reads a request's headers, sends bytes, hangs up.
class Script {
 public:
  explicit Script(std::vector<std::string> answers) : answers_(std::move(answers)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener_, 8) == 0);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (const std::string& answer : answers_) {
        const int fd = ::accept(listener_, nullptr, nullptr);
        std::string& request = requests.emplace_back();
        char buffer[4096];
        for (ssize_t n = 1; request.find("\r\n\r\n") == std::string::npos && n > 0;) {
          n = ::recv(fd, buffer, sizeof buffer, 0);
          if (n > 0) request.append(buffer, static_cast<size_t>(n));
        }
        ::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
        ::close(fd);
      }
    });
  }
  ~Script() { join(); }
  void join() {
    if (thread_.joinable()) thread_.join();
    if (listener_ >= 0) ::close(std::exchange(listener_, -1));
  }
  uint16_t port = 0;
  std::vector<std::string> requests;

 private:
  std::vector<std::string> answers_;
  int listener_ = -1;
  std::thread thread_;
};

TEST_CASE("a blob that breaks off is fetched on from there, from any kind of server") {
  std::string bytes;
  for (int i = 0; i < 100000; ++i) bytes += static_cast<char>(i * i >> 4);
  const BlobName name{sha256_hex(bytes), bytes.size()};
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
                    part = "HTTP/1.1 206 Partial Content\r\nContent-Length: ",
                    end = "\r\nConnection: close\r\n\r\n";
  Script script({head + bytes.substr(0, 40000), part + "60000" + end + bytes.substr(40000, 7000),
                 head,  // nothing of a body
                 part + "53000" + end + bytes.substr(47000)});
  const std::atomic<bool> go{false};
  Link link({"http://127.0.0.1:" + std::to_string(script.port), kToken, "", 20}, go);
  CHECK(link.blob(name) == bytes);
  script.join();
  REQUIRE(script.requests.size() == 4);
  CHECK(script.requests[0].find("Range:") == std::string::npos);
  CHECK(script.requests[1].find("Range: bytes=40000-") != std::string::npos);
  CHECK(script.requests[2].find("Range: bytes=47000-") != std::string::npos);
  CHECK(script.requests[3].find("Range: bytes=47000-") != std::string::npos);
  // Servers that know no ranges, tell no length, send more or something else.
  std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked" + end;
  chunked += "186a0\r\n" + bytes + "\r\n0\r\n\r\n";
  const std::string whole = "HTTP/1.1 200 OK\r\nContent-Length: 100000" + end + bytes;
  std::string flipped = whole;
  flipped[flipped.size() - 5] ^= 1;
  for (const std::vector<std::string>& answers :
       {std::vector<std::string>{head + bytes.substr(0, 40000), whole},
        {chunked},
        {head + bytes.substr(0, 5), chunked},
        {flipped, whole},
        {part + "60000" + end + bytes.substr(40000), part + "60000" + end + bytes.substr(40000),
         whole},
        {"HTTP/1.1 200 OK\r\nContent-Length: 100003" + end + "xxx" + bytes, whole}}) {
    CAPTURE(answers[0].substr(0, 80));
    Script other(answers);
    Link again({"http://127.0.0.1:" + std::to_string(other.port), kToken, "", 20}, go);
    CHECK(again.blob(name) == bytes);
  }
}

TEST_CASE("unknown routes and methods") {
  Fleet fleet;
  Client client(fleet.sampler->coordinator().url());
  for (const char* target : {"/", "/v1", "/v1/nothing", "/v1/results", "/v1/weights/x", "/v1/../x"})
    CHECK(client.send("GET", target).status == 404);
  CHECK(client.send("DELETE", "/v1/status").status == 404);
}

}  // namespace
}  // namespace zeroth::fleet::test
