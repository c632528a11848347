#include "rollout/fleet/link.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>
#include <utility>

#include "core/interrupted.h"
#include "core/json_text.h"
#include "core/sha256.h"
#include "core/stopwatch.h"
#include "core/terminal.h"
#include "net/digest.h"
#include "rollout/fleet/fields.h"

namespace zeroth::fleet {
namespace {

constexpr uint64_t kMaxAnswer = uint64_t{64} << 20;
constexpr int kTriesOfRefused = 3, kTriesOfBlob = 8;
constexpr double kFirstPause = 0.05, kLongestPause = 2;

void pause(double seconds, const std::atomic<bool>& stop) {
  for (const double start = steady_now(); steady_now() - start < seconds && !stop.load();)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

// What a refusal says, on one harmless line.
Refused refusal(const HttpAnswer& answer) {
  const auto json = try_parse_json(answer.body, {16, 1000});
  std::string what, field;
  if (json && json->is_object()) {
    const auto text = [&](const char* name) {
      const auto found = json->find(name);
      return found != json->end() && found->is_string()
                 ? printable_line(found->get<std::string>(), 500)
                 : std::string();
    };
    what = text("error");
    field = text("field");
    if (const std::string ours = text("ours"); !ours.empty())
      what += " (the run's: " + ours + ", this worker's: " + text("yours") + ")";
  }
  if (what.empty()) what = "answer " + std::to_string(answer.status);
  return {answer.status, what, field};
}

}  // namespace

Link::Link(const LinkOptions& options, const std::atomic<bool>& stop)
    : options_(options),
      stop_(stop),
      client_(parse_web_url(options.url), kMaxAnswer, {options.ca_file}) {}

HttpAnswer Link::send(const std::function<HttpCall()>& make, double seconds) {
  const double start = steady_now();
  for (double wait = kFirstPause;; wait = std::min(2 * wait, kLongestPause)) {
    if (stop_.load()) throw Interrupted("the worker was stopped");
    std::string why;
    try {
      HttpAnswer answer = client_.send(make(), 10, seconds, &stop_);
      if (answer.status != 429 && answer.status != 503) return answer;
      why = refusal(answer).what();
      const auto after = answer.headers.find("retry-after");
      if (after != answer.headers.end())
        wait = std::clamp(std::atof(after->second.c_str()), 0.05, 60.0);
    } catch (const HttpFault& fault) {
      if (stop_.load()) throw Interrupted("the worker was stopped");
      why = fault.what();
    }
    if (steady_now() - start > options_.retry_s) {
      fail("the coordinator at " + options_.url + " is out of reach: " + why,
           "check that the run is there and that nothing between drops connections");
    }
    pause(wait, stop_);
  }
}

// Whether the answer is as it was sent. 204 is the one without a digest.
bool Link::whole(const HttpAnswer& answer) {
  const auto digest = answer.headers.find(kDigestHeader);
  if (answer.status == 204) return digest == answer.headers.end();
  return digest != answer.headers.end() && digest_fits(digest->second, answer.body);
}

// A byte that was changed on the way may look like a refusal, so what is not expected of a
// coordinator is asked for again before it is believed. (A digest covers no status and no header.)
void Link::refused(const HttpAnswer& answer, int tries) {
  const Refused refused = refusal(answer);
  const bool expected = answer.status == 404 ? !refused.field.empty() : refused.field == "session";
  if (tries >= kTriesOfRefused || (expected && whole(answer))) throw refused;
  pause(kFirstPause, stop_);
}

Json Link::call(const std::string& method, const std::string& target, const Json& message,
                double seconds) {
  HttpCall call{.method = method,
                .target = target,
                .body = method == "GET" ? std::string() : encode_body(message, kMessagePackType),
                .type = kMessagePackType,
                .headers = {{"Authorization", "Bearer " + options_.token}}};
  if (!call.body.empty()) call.headers.emplace_back(kDigestHeader, content_digest(call.body));
  for (int tries = 0;; ++tries) {
    const HttpAnswer answer = send([&] { return call; }, seconds);
    if (answer.status == 204 && whole(answer)) return Json();
    const auto type = answer.headers.find("content-type");
    const bool readable =
        type != answer.headers.end() &&
        (type->second.rfind(kMessagePackType, 0) == 0 || type->second.rfind(kJsonType, 0) == 0);
    if (answer.status == 200 && whole(answer) && readable)
      return decode_body(answer.body, type->second);
    refused(answer, tries);
  }
}

void Link::blob(const BlobName& name, std::span<char> into) {
  size_t have = 0, received = 0;
  const auto rest = [&] {
    have += std::exchange(received, 0);  // before the connection broke
    HttpCall call{.method = "GET",
                  .target = "/v1/blobs/" + name.sha256,
                  .body = {},
                  .type = "application/octet-stream",
                  .headers = {{"Authorization", "Bearer " + options_.token}},
                  .into = into.subspan(have),
                  .received = &received};
    if (have > 0) call.headers.emplace_back("Range", "bytes=" + std::to_string(have) + "-");
    return call;
  };
  for (int damaged = 0, tries = 0;;) {
    const HttpAnswer answer = send(rest, 60);
    if (answer.status != 200 && answer.status != 206) {
      refused(answer, tries++);
      continue;
    }
    size_t came = std::exchange(received, 0);
    if (!answer.body.empty()) {  // of unknown length, or the whole where a part was asked for
      if (answer.status == 200) have = 0;
      came = std::min(answer.body.size(), into.size() - have);
      std::copy_n(answer.body.data(), came, into.data() + have);
    }
    have += came;
    if (have < into.size() && came > 0) continue;
    if (have == into.size() && sha256_hex({into.data(), into.size()}) == name.sha256) return;
    have = 0;
    if (++damaged == kTriesOfBlob) {
      fail("blob " + name.sha256 + " came damaged " + std::to_string(damaged) + " times",
           "something between this worker and the coordinator changes bytes");
    }
  }
}

std::string Link::blob(const BlobName& name) {
  std::string bytes(name.bytes, '\0');
  blob(name, bytes);
  return bytes;
}

WeightsCache::WeightsCache(const LinkOptions& options, const PolicyConfig& model,
                           const std::atomic<bool>& stop, kernels::Element element,
                           const kernels::Operators& ops)
    : layout_(std::make_shared<const ImageLayout>(model, element)),
      maker_(model, element, ops),
      link_(options, stop),
      following_(options, stop),
      beside_(options, stop) {}

const WeightsCache::Held* WeightsCache::find(const std::string& sha256) const {
  for (const Held& held : held_)
    if (held.sha256 == sha256) return &held;
  return nullptr;
}

WeightsPtr WeightsCache::get(const std::string& sha256) {
  std::lock_guard fetching(fetching_);
  {
    std::lock_guard lock(state_);
    if (const Held* held = find(sha256)) return held->weights;
  }
  if (!is_sha256(sha256)) fail("\"" + printable_line(sha256, 80) + "\" names no weights");
  return fetch(link_, manifest_of(link_, sha256, newest()));
}

// By version, and the one that came last among equals.
std::pair<std::string, WeightsPtr> WeightsCache::newest_held() const {
  std::lock_guard lock(state_);
  const Held* newest = nullptr;
  for (const Held& held : held_) {
    if (newest == nullptr || held.weights->version() >= newest->weights->version()) newest = &held;
  }
  if (newest == nullptr) return {};
  return {newest->sha256, newest->weights};
}

std::string WeightsCache::newest() const { return newest_held().first; }

void WeightsCache::follow() {
  const Json json = following_.call("GET", "/v1/weights?after=" + newest(), {});
  if (json.is_null()) return;
  auto manifest = WeightsManifest::from_json(json, layout_->bytes());
  std::lock_guard fetching(fetching_);
  {
    std::lock_guard lock(state_);
    if (find(manifest.sha256)) return;
  }
  fetch(following_, std::move(manifest));
}

WeightsCache::Stats WeightsCache::stats() const {
  std::lock_guard lock(state_);
  return stats_;
}

// How one who holds `base` gets weights. Whoever has none waits until their chunks have names.
WeightsManifest WeightsCache::manifest_of(Link& link, const std::string& sha256,
                                          const std::string& base) const {
  for (;;) {
    const Json json = link.call("GET", "/v1/weights/" + sha256 + "?after=" + base, {});
    if (!json.is_null()) return WeightsManifest::from_json(json, layout_->bytes());
  }
}

WeightsPtr WeightsCache::fetch(Link& link, WeightsManifest manifest) {
  Stats stats = this->stats();
  Image image;
  WeightsPtr weights;
  {
    const Stopwatch fetching(stats.fetch_s);
    image = by_delta(link, manifest, stats);
    if (image == nullptr) {
      if (manifest.chunks.empty()) manifest = manifest_of(link, manifest.sha256, "");
      image = whole(link, manifest, stats);
    }
    const Stopwatch loading(stats.load_s);
    weights = maker_.make(*image, manifest.version);
  }
  std::lock_guard lock(state_);
  stats_ = stats;
  // Only what is newest is what the next delta changes.
  for (Held& held : held_) {
    if (held.weights->version() <= manifest.version) held.image = nullptr;
    if (held.image != nullptr) image = nullptr;
  }
  held_.push_back({manifest.sha256, std::move(image), weights});
  // The oldest goes, but for the one that was asked for.
  if (held_.size() > 2) {
    const auto older = [](const Held& a, const Held& b) {
      return a.weights->version() < b.weights->version();
    };
    held_.erase(std::min_element(held_.begin(), held_.end() - 1, older));
  }
  return weights;
}

// Null when nobody holds it. A delta changes it, so whoever holds its weights does without.
WeightsCache::Image WeightsCache::take_image(const std::string& sha256) {
  std::lock_guard lock(state_);
  for (Held& held : held_)
    if (held.sha256 == sha256) return std::move(held.image);
  return nullptr;
}

WeightsCache::Image WeightsCache::by_delta(Link& link, const WeightsManifest& manifest,
                                           Stats& stats) {
  for (const DeltaManifest& delta : manifest.deltas) {
    {
      std::lock_guard lock(state_);
      const Held* held = find(delta.base);
      if (held == nullptr || held->image == nullptr) continue;
    }
    try {
      std::string bytes;
      {
        const Stopwatch receiving(stats.receive_s);
        for (const BlobName& name : delta.chunks) bytes += link.blob(name);
      }
      Image image = take_image(delta.base);
      {
        const Stopwatch applying(stats.apply_s);
        apply_delta(bytes, *image);
      }
      if (!is_right(*image, manifest, stats)) continue;
      stats.bytes += static_cast<int64_t>(bytes.size());
      ++stats.deltas;
      return image;
    } catch (const Interrupted&) {
      throw;
    } catch (const Error&) {
      // Damaged, or gone meanwhile: the whole is fetched.
    }
  }
  return nullptr;
}

bool WeightsCache::is_right(const WeightsImage& image, const WeightsManifest& manifest,
                            Stats& stats) {
  const Stopwatch checking(stats.check_s);
  return image.sha256() == manifest.sha256;
}

WeightsCache::Image WeightsCache::whole(Link& link, const WeightsManifest& manifest, Stats& stats) {
  auto image = std::make_unique<WeightsImage>(layout_);
  {
    const Stopwatch receiving(stats.receive_s);
    receive(link, manifest.chunks, image->bytes());
  }
  if (!is_right(*image, manifest, stats)) {
    fail("the weights that came are not those that were announced",
         "the coordinator or something between is broken: start it again");
  }
  stats.bytes += static_cast<int64_t>(manifest.bytes);
  ++stats.full;
  return image;
}

// Over two connections: one receives while what the other one has received is hashed.
void WeightsCache::receive(Link& link, const std::vector<BlobName>& chunks, std::span<char> into) {
  std::vector<std::span<char>> places;
  for (const BlobName& name : chunks) {
    places.push_back(into.first(name.bytes));
    into = into.subspan(name.bytes);
  }
  std::atomic<size_t> next{0};
  std::exception_ptr error;
  std::mutex failing;
  const auto some = [&](Link& from) {
    try {
      for (size_t i = next++; i < chunks.size(); i = next++) from.blob(chunks[i], places[i]);
    } catch (...) {
      next = chunks.size();
      std::lock_guard lock(failing);
      if (!error) error = std::current_exception();
    }
  };
  std::thread second;
  if (chunks.size() > 1) second = std::thread([&] { some(beside_); });
  some(link);
  if (second.joinable()) second.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace zeroth::fleet
