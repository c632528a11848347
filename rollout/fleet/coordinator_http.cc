// The routes of a coordinator.
#include <algorithm>

#include "core/error.h"
#include "net/digest.h"
#include "rollout/fleet/coordinator_impl.h"
#include "rollout/fleet/fields.h"

namespace zeroth::fleet {
namespace {

constexpr uint64_t kSmallBody = 64 << 10, kProgressBody = 4 << 20;
constexpr double kLongestPoll = 20;
constexpr int kMostDisputes = 4;  // of one piece that are looked into; their results wait in memory

std::string tail(const std::string& path, const std::string& head) {
  return path.rfind(head, 0) == 0 ? path.substr(head.size()) : std::string();
}

// Observers may only look.
bool may(Role role, const HttpRequest& request) {
  return role == Role::kWorker ||
         (request.method == "GET" && (request.path == "/v1/status" || request.path == "/metrics"));
}

// The message of a request. A body with a digest must fit it, and MessagePack, which only programs
// send, must have one: a changed byte would look like a lie of an honest worker.
Json message_of(const HttpRequest& request) {
  const std::string &type = request.header("content-type"), &digest = request.header(kDigestHeader);
  const bool demanded = type.rfind(kMessagePackType, 0) == 0;
  if ((demanded || !digest.empty()) && !digest_fits(digest, request.body)) {
    fail_usage(digest.empty() ? "a MessagePack body without a Content-Digest"
                              : "the body does not fit its Content-Digest",
               "send the SHA-256 of the body as it is sent (RFC 9530)");
  }
  return decode_body(request.body, type);
}

// A range "bytes=A-B", "bytes=A-" or "bytes=-N" of `size` bytes; nothing: the header is no such.
std::optional<std::pair<uint64_t, uint64_t>> parse_range(const std::string& text, uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  if (text.rfind(kUnit, 0) != 0) return std::nullopt;
  const std::string range = text.substr(kUnit.size());
  const size_t dash = range.find('-');
  if (dash == std::string::npos || range.find(',') != std::string::npos) return std::nullopt;
  const auto number = [](const std::string& digits) -> std::optional<uint64_t> {
    if (digits.empty() || digits.size() > 18 ||
        digits.find_first_not_of("0123456789") != std::string::npos)
      return std::nullopt;
    return std::stoull(digits);
  };
  const auto first = number(range.substr(0, dash)), last = number(range.substr(dash + 1));
  if (first && *first < size) return {{*first, std::min(last.value_or(size), size - 1)}};
  if (!first && dash == 0 && last && *last > 0) return {{size - std::min(*last, size), size - 1}};
  return {{1, 0}};  // nothing of it is there
}

}  // namespace

HttpReply gone(const char* field, const std::string& what) {
  return error_reply(404, what, {{"field", field}});
}

HttpReply error_reply(int status, const std::string& what, Json more) {
  Json body = {{"error", what}};
  body.update(more);
  HttpReply reply;
  reply.status = status;
  reply.text = body.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  if (status == 429 || status == 503) reply.headers = {{"Retry-After", "1"}};
  if (status == 401) reply.headers = {{"WWW-Authenticate", "Bearer"}};
  reply.headers.emplace_back(kDigestHeader, content_digest(reply.text));
  return reply;
}

HttpReply message_reply(const Json& json, const std::string& type, int status) {
  HttpReply reply;
  reply.status = status;
  reply.type = type;
  reply.text = encode_body(json, type);
  reply.headers = {{kDigestHeader, content_digest(reply.text)}};
  return reply;
}

std::optional<HttpReply> Coordinator::Impl::admit(const HttpRequest& request,
                                                  uint64_t& body_bytes) {
  body_bytes = kSmallBody;
  if (request.path == "/healthz") return std::nullopt;
  const std::optional<Role> role = tokens.role_of(request.bearer());
  if (!role || !may(*role, request)) {
    std::lock_guard lock(mutex);
    ++counts.unauthorised;
    return role ? error_reply(403, "this token may only read /v1/status and /metrics")
                : error_reply(401, "send a token of the run: Authorization: Bearer TOKEN");
  }
  if (request.path == "/v1/progress") body_bytes = kProgressBody;
  if (request.path.rfind("/v1/results/", 0) == 0)
    body_bytes = static_cast<uint64_t>(config.result_mb) << 20;
  if (setup.more_bytes) body_bytes = std::max(body_bytes, setup.more_bytes(request.path));
  return std::nullopt;
}

void Coordinator::Impl::handle(const HttpExchangePtr& exchange) {
  bool parked = false;
  HttpReply reply;
  try {
    reply = answer(exchange, parked);
  } catch (const Error& error) {
    std::lock_guard lock(mutex);
    ++counts.malformed;
    reply = error_reply(400, error.what());
  } catch (const std::exception& error) {
    std::lock_guard lock(mutex);
    ++counts.malformed;
    reply = error_reply(400, std::string("not understood: ") + error.what());
  }
  if (parked || (reply.status == 404 && setup.more && setup.more(exchange))) return;
  exchange->reply(std::move(reply));
}

HttpReply Coordinator::Impl::answer(const HttpExchangePtr& exchange, bool& parked) {
  const HttpRequest& request = exchange->request();
  const std::string& path = request.path;
  const bool get = request.method == "GET" || request.method == "HEAD";
  const bool post = request.method == "POST" || request.method == "PUT";
  if (path == "/healthz" && get) return message_reply({{"status", "ok"}}, kJsonType);
  if (path == "/v1/status" && get) {
    std::lock_guard lock(mutex);
    return message_reply(status_json(), kJsonType);
  }
  if (path == "/metrics" && get) {
    std::lock_guard lock(mutex);
    HttpReply reply;
    reply.type = "text/plain; version=0.0.4";
    reply.text = metrics_text(status_json());
    return reply;
  }
  if (path == "/v1/hello" && post) return hello(request);
  if (path == "/v1/leases" && post) return lease(exchange, parked);
  if (path == "/v1/progress" && post) return progress(request);
  if (path == "/v1/release" && post) return release(request);
  if (path == "/v1/weights" && get) return weights_manifest(exchange, "", parked);
  if (const std::string name = tail(path, "/v1/weights/"); !name.empty() && get)
    return weights_manifest(exchange, name, parked);
  if (const std::string name = tail(path, "/v1/blobs/"); !name.empty() && get)
    return blob(request, name);
  if (const std::string id = tail(path, "/v1/results/"); !id.empty() && post)
    return result(request, id);
  return error_reply(404, "there is no " + request.method + " " + path);
}

HttpReply Coordinator::Impl::hello(const HttpRequest& request) {
  const std::string& type = request.header("content-type");
  const Hello said = Hello::from_json(message_of(request));
  std::lock_guard lock(mutex);
  const auto refuse = [&](int status, const std::string& what, Json more = Json::object()) {
    ++counts.refused_hellos;
    return error_reply(status, what, std::move(more));
  };
  if (said.name.empty()) return refuse(400, "field \"name\" is empty");
  const std::string token = tokens.name_of(request.bearer());
  if (quarantine.holds(said.name, token)) {
    const auto reasons = quarantine.reasons();
    const auto why = reasons.find(said.name);
    return refuse(403, "worker " + said.name + " is quarantined: " +
                           (why == reasons.end() ? "its token is that of a worker that was wrong"
                                                 : why->second));
  }
  if (said.protocol != kProtocol) {
    return refuse(409, "the protocol differs",
                  {{"field", "protocol"}, {"ours", kProtocol}, {"yours", said.protocol}});
  }
  if (const Difference d = compare(identity, said.identity); !d.field.empty()) {
    return refuse(409, "the " + d.field + " differs",
                  {{"field", d.field}, {"ours", d.ours}, {"yours", d.theirs}});
  }
  // One that came back after its end leaves its old place.
  if (const auto old = named.find(said.name); old != named.end()) forget(std::string(old->second));
  const double now = steady_now();
  const bool many = sessions.size() >= static_cast<size_t>(config.max_workers);
  if (many && alive_count(now) >= config.max_workers) {
    ++counts.too_many;
    return error_reply(429, "there are " + std::to_string(config.max_workers) + " workers already");
  }
  WorkerSession session;
  // Not to be guessed, so that no worker can speak for another one.
  session.id = random_hex(16);
  session.name = said.name;
  session.token = token;
  session.isa = said.isa;
  session.version = said.version;
  session.threads = said.threads;
  session.remote = request.remote;
  session.since = session.heard = now;
  const Welcome welcome{session.id,           identity, model,          setup.element,
                        setup.record_experts, files,    config.lease_s, kLongestPoll};
  named[said.name] = session.id;
  sessions.emplace(welcome.session, std::move(session));
  ++sharing;
  return message_reply(welcome.to_json(), type);
}

HttpReply Coordinator::Impl::lease(const HttpExchangePtr& exchange, bool& parked) {
  const HttpRequest& request = exchange->request();
  const std::string& type = request.header("content-type");
  const LeasesAsked asked = LeasesAsked::from_json(message_of(request));
  std::lock_guard lock(mutex);
  WorkerSession* session = session_of(asked.session);
  if (session == nullptr)
    return error_reply(409, "this session is not known", {{"field", "session"}});
  if (session->parked)
    session->parked->reply(error_reply(409, "asked again on another connection"));
  session->parked = exchange;
  session->parked_type = type;
  session->weights = asked.weights;
  session->capacity = asked.capacity;
  const double now = steady_now();
  session->parked_until = now + std::min(asked.wait_s, kLongestPoll);
  parked = true;
  serve(*session, now);
  return {};
}

HttpReply Coordinator::Impl::progress(const HttpRequest& request) {
  const std::string& type = request.header("content-type");
  const Progress said = Progress::from_json(message_of(request));
  std::lock_guard lock(mutex);
  if (session_of(said.session) == nullptr)
    return error_reply(409, "this session is not known", {{"field", "session"}});
  Json drop = Json::array();
  for (const auto& [id, drawn] : said.tokens) {
    if (book.progress(id, said.session, drawn, steady_now()) == ProgressAnswer::kDrop)
      drop.push_back(id);
  }
  return message_reply({{"drop", std::move(drop)}}, type);
}

HttpReply Coordinator::Impl::result(const HttpRequest& request, const std::string& id) {
  const std::string& type = request.header("content-type");
  Result said = Result::from_json(message_of(request));
  if (id.size() > 18 || id.find_first_not_of("0123456789") != std::string::npos)
    return gone("lease", "there is no such lease");
  const LeaseId lease = std::stoll(id);
  if (said.lease != lease) {
    std::lock_guard lock(mutex);
    ++counts.malformed;
    return error_reply(400, "the result is of lease " + std::to_string(said.lease));
  }
  std::lock_guard lock(mutex);
  WorkerSession* session = session_of(said.session);
  if (session == nullptr)
    return error_reply(409, "this session is not known", {{"field", "session"}});
  const std::optional<WorkId> work = book.work_of(lease);
  if (!work) {
    ++counts.stale_results;
    return gone("lease", "there is no such lease any more");
  }
  Piece& piece = pieces.at(*work);
  const Lease asked = lease_of(lease, piece);
  std::string fault = said.weights != asked.weights ? "it was made by other weights" : "";
  if (fault.empty()) fault = set_versions(asked, said);
  if (fault.empty()) {
    fault = check_shape(asked.request, setup.model, setup.tokenizer, setup.record_experts,
                        said.samples);
  }
  if (!fault.empty()) {
    ++session->faults;
    ++counts.malformed;
    return error_reply(422, "lease " + id + ": " + fault);
  }
  switch (book.complete(lease, said.session, steady_now())) {
    case ResultAnswer::kUnknown:
      return gone("lease", "there is no such lease any more");
    case ResultAnswer::kNotYours:
      ++session->faults;
      return error_reply(403, "lease " + id + " was given to another worker");
    case ResultAnswer::kDuplicate:
      ++session->duplicates;
      return duplicate(*session, *work, piece, std::move(said.samples), type);
    case ResultAnswer::kFirst:
      break;
  }
  piece.worker = session->name;
  piece.accepted = said.samples;
  ++session->results;
  ++counts.results;
  for (const Sample& sample : said.samples) {
    session->tokens += static_cast<int64_t>(sample.tokens.size());
    counts.tokens += static_cast<int64_t>(sample.tokens.size());
  }
  deliveries.push_back(delivery_of(*work, piece, std::move(said.samples)));
  deliveries.back().did = said.did;
  delivered.notify_all();
  serve(*session, steady_now());  // it may have more now
  return message_reply({{"accepted", true}, {"duplicate", false}}, type);
}

std::string Coordinator::Impl::set_versions(const Lease& asked, Result& result) const {
  if (!asked.follow) return result.used.empty() ? "" : "it has segments that are not due";
  if (result.used.empty()) return "it does not say which weights it was made by";
  // In the order in which they were published, from those of the lease on.
  std::vector<WeightsVersion> versions;
  auto at = std::find_if(published.begin(), published.end(),
                         [&](const auto& p) { return p.first == asked.weights; });
  for (const std::string& sha256 : result.used) {
    at = std::find_if(at, published.end(), [&](const auto& p) { return p.first == sha256; });
    if (at == published.end()) return "it was made by weights that were not due";
    versions.push_back(at->second);
    ++at;
  }
  for (Sample& sample : result.samples) {
    for (VersionSegment& segment : sample.versions) segment.version = versions[segment.version];
  }
  return "";
}

// A second result of a piece. When both differ, one of the two workers is wrong, and only a look at
// the samples tells which.
HttpReply Coordinator::Impl::duplicate(WorkerSession& session, WorkId work, Piece& piece,
                                       std::vector<Sample> samples, const std::string& type) {
  // Those that followed the weights at other tokens cannot be compared.
  const bool alike =
      std::equal(samples.begin(), samples.end(), piece.accepted.begin(), piece.accepted.end(),
                 [](const Sample& a, const Sample& b) { return a.versions == b.versions; });
  const AuditFinding difference = alike ? compare_samples(samples, piece.accepted) : AuditFinding{};
  if (!difference.honest() && ++piece.disputes <= kMostDisputes) {
    Delivery& delivery = deliveries.emplace_back(delivery_of(work, piece, piece.accepted));
    delivery.rival = std::move(samples);
    delivery.rival_worker = session.name;
    delivered.notify_all();
  }
  return message_reply({{"accepted", false}, {"duplicate", true}}, type);
}

HttpReply Coordinator::Impl::release(const HttpRequest& request) {
  const std::string& type = request.header("content-type");
  const std::string session = text_field(message_of(request), "session", 128);
  std::lock_guard lock(mutex);
  forget(session);
  if (book.waiting_samples() > 0) serve_parked();  // what it held goes to others
  return message_reply({{"released", true}}, type);
}

HttpReply Coordinator::Impl::weights_manifest(const HttpExchangePtr& exchange,
                                              const std::string& wanted, bool& parked) {
  const HttpRequest& request = exchange->request();
  std::lock_guard lock(mutex);
  if (weights_polls.size() >= 2 * static_cast<size_t>(config.max_workers))
    return error_reply(429, "too many wait for weights");
  const double now = steady_now();
  WeightsPoll poll{exchange, wanted, request.argument("after").substr(0, 64), now + kLongestPoll};
  parked = true;
  if (!serve(poll, now)) weights_polls.push_back(std::move(poll));
  return {};
}

HttpReply Coordinator::Impl::blob(const HttpRequest& request, const std::string& name) {
  std::optional<BlobStore::Bytes> found;
  {
    std::lock_guard lock(mutex);
    found = blobs.find(name);
  }
  if (!found) return gone("blob", "there is no such blob any more");
  HttpReply reply;
  reply.type = "application/octet-stream";
  reply.owner = found->owner;
  reply.bytes = found->bytes;
  reply.headers = {{"ETag", "\"" + name + "\""},
                   {"Cache-Control", "public, max-age=31536000, immutable"},
                   {"Accept-Ranges", "bytes"}};
  const std::string& wanted = request.header("range");
  if (wanted.empty()) return reply;
  const auto range = parse_range(wanted, reply.bytes.size());
  if (!range) return reply;
  const std::string size = std::to_string(reply.bytes.size());
  if (range->first > range->second) {
    HttpReply none = error_reply(416, "nothing of that range is there");
    none.headers.emplace_back("Content-Range", "bytes */" + size);
    return none;
  }
  reply.status = 206;
  reply.bytes = reply.bytes.substr(range->first, range->second - range->first + 1);
  reply.headers.emplace_back("Content-Range", "bytes " + std::to_string(range->first) + "-" +
                                                  std::to_string(range->second) + "/" + size);
  return reply;
}

}  // namespace zeroth::fleet
