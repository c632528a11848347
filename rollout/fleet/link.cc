#include "rollout/fleet/link.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

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

HttpAnswer Link::send(const HttpCall& call, double seconds) {
  const double start = steady_now();
  for (double wait = kFirstPause;; wait = std::min(2 * wait, kLongestPause)) {
    if (stop_.load()) throw Interrupted("the worker was stopped");
    std::string why;
    try {
      HttpAnswer answer = client_.send(call, 10, seconds, &stop_);
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
    const HttpAnswer answer = send(call, seconds);
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

std::string Link::blob(const BlobName& name) {
  std::string bytes;
  for (int damaged = 0, tries = 0;;) {
    HttpCall call{.method = "GET",
                  .target = "/v1/blobs/" + name.sha256,
                  .body = {},
                  .type = "application/octet-stream",
                  .headers = {{"Authorization", "Bearer " + options_.token}}};
    if (!bytes.empty())
      call.headers.emplace_back("Range", "bytes=" + std::to_string(bytes.size()) + "-");
    const HttpAnswer answer = send(call, 60);
    if (answer.status != 200 && answer.status != 206) {
      refused(answer, tries++);
      continue;
    }
    if (answer.status == 200) bytes.clear();
    bytes += answer.body;
    if (bytes.size() < name.bytes && !answer.body.empty()) continue;
    if (bytes.size() == name.bytes && sha256_hex(bytes) == name.sha256) return bytes;
    bytes.clear();
    if (++damaged == kTriesOfBlob) {
      fail("blob " + name.sha256 + " came damaged " + std::to_string(damaged) + " times",
           "something between this worker and the coordinator changes bytes");
    }
  }
}

WeightsCache::WeightsCache(const LinkOptions& options, const PolicyConfig& model,
                           const std::atomic<bool>& stop, kernels::Element element)
    : layout_(std::make_shared<const ImageLayout>(model, element)),
      maker_(model, element),
      link_(options, stop),
      following_(options, stop) {}

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
  return fetch(link_, WeightsManifest::from_json(link_.call("GET", "/v1/weights/" + sha256, {}),
                                                 layout_->bytes()));
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
  const auto manifest = WeightsManifest::from_json(json, layout_->bytes());
  std::lock_guard fetching(fetching_);
  {
    std::lock_guard lock(state_);
    if (find(manifest.sha256)) return;
  }
  fetch(following_, manifest);
}

WeightsCache::Stats WeightsCache::stats() const {
  std::lock_guard lock(state_);
  return stats_;
}

WeightsPtr WeightsCache::fetch(Link& link, const WeightsManifest& manifest) {
  const double start = steady_now();
  Stats stats = this->stats();
  WeightsImagePtr image = by_delta(link, manifest, stats);
  if (image == nullptr) image = whole(link, manifest, stats);
  WeightsPtr weights = maker_.make(*image, manifest.version);
  stats.fetch_s += steady_now() - start;
  std::lock_guard lock(state_);
  stats_ = stats;
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

WeightsImagePtr WeightsCache::by_delta(Link& link, const WeightsManifest& manifest, Stats& stats) {
  for (const DeltaManifest& delta : manifest.deltas) {
    WeightsImagePtr base;
    {
      std::lock_guard lock(state_);
      if (const Held* held = find(delta.base)) base = held->image;
    }
    if (base == nullptr) continue;
    try {
      std::string bytes;
      for (const BlobName& name : delta.chunks) bytes += link.blob(name);
      auto image = std::make_shared<WeightsImage>(layout_);
      apply_delta(*base, bytes, *image);
      if (image->sha256() != manifest.sha256) continue;
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

WeightsImagePtr WeightsCache::whole(Link& link, const WeightsManifest& manifest, Stats& stats) {
  auto image = std::make_shared<WeightsImage>(layout_);
  char* to = image->bytes().data();
  for (const BlobName& name : manifest.chunks) {
    const std::string bytes = link.blob(name);
    std::memcpy(to, bytes.data(), bytes.size());
    to += bytes.size();
  }
  if (image->sha256() != manifest.sha256) {
    fail("the weights that came are not those that were announced",
         "the coordinator or something between is broken: start it again");
  }
  stats.bytes += static_cast<int64_t>(manifest.bytes);
  ++stats.full;
  return image;
}

}  // namespace zeroth::fleet
