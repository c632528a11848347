// A worker's side of the protocol: one connection to the coordinator, calls that try again, and the
// fetching of weights.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "net/http_client.h"
#include "rollout/fleet/messages.h"

namespace zeroth::fleet {

// How a coordinator is reached.
struct LinkOptions {
  std::string url;  // http://HOST:PORT or https://
  std::string token;
  std::string ca_file;   // whom to trust behind https://; empty: the system's list
  double retry_s = 600;  // how long a coordinator may be out of reach
};

// The coordinator answered with a refusal; `status` is HTTP's, `field` that of a 409.
class Refused : public Error {
 public:
  Refused(int status, const std::string& what, std::string field)
      : Error(ExitCode::kFailed, what, ""), status(status), field(std::move(field)) {}
  int status;
  std::string field;
};

// For one thread at a time.
class Link {
 public:
  Link(const LinkOptions& options, const std::atomic<bool>& stop);

  // A message and its answer. While the coordinator is out of reach or asks to wait (429, 503) it
  // tries again, with growing pauses, for retry_s. Throws Refused for any other answer that is not
  // of success, Error when it stays out of reach, Interrupted when stop is set.
  Json call(const std::string& method, const std::string& target, const Json& message,
            double seconds = 60);
  // Bytes of a blob, checked against its name; `into` is as long as it. What a broken connection has
  // left is kept, and the rest asked for.
  void blob(const BlobName& name, std::span<char> into);
  std::string blob(const BlobName& name);

 private:
  // make() gives the call, also when it is tried again.
  HttpAnswer send(const std::function<HttpCall()>& make, double seconds);
  static bool whole(const HttpAnswer& answer);
  void refused(const HttpAnswer& answer, int tries);

  LinkOptions options_;
  const std::atomic<bool>& stop_;
  HttpClient client_;
};

// The versions of the weights that a worker holds: the one in use and the next. Thread safe; one
// fetch at a time.
class WeightsCache {
 public:
  WeightsCache(const LinkOptions& options, const PolicyConfig& model, const std::atomic<bool>& stop,
               kernels::Element element = kernels::Element::kFloat32,
               const kernels::Operators& ops = kernels::cpu_operators());

  // The weights of that hash, fetched when they are not here. Throws as Link::call.
  WeightsPtr get(const std::string& sha256);
  std::string newest() const;  // of the highest version; empty: none
  // The same with its hash, never waiting for a fetch; null: none.
  std::pair<std::string, WeightsPtr> newest_held() const;
  // Waits for weights behind newest() at most one long poll, and fetches them.
  void follow();

  struct Stats {
    int64_t full = 0, deltas = 0, bytes = 0;
    double fetch_s = 0;  // from the manifest to weights that can be used
    // Of them: bytes with their hashes, what changed put in, the whole's hash, packing.
    double receive_s = 0, apply_s = 0, check_s = 0, load_s = 0;
  };
  Stats stats() const;

 private:
  using Image = std::unique_ptr<WeightsImage>;
  struct Held {
    std::string sha256;
    Image image;  // of the newest version alone: the next delta changes it
    WeightsPtr weights;
  };
  WeightsManifest manifest_of(Link& link, const std::string& sha256, const std::string& base) const;
  WeightsPtr fetch(Link& link, WeightsManifest manifest);
  Image whole(Link& link, const WeightsManifest& manifest, Stats& stats);
  static bool is_right(const WeightsImage& image, const WeightsManifest& manifest, Stats& stats);
  void receive(Link& link, const std::vector<BlobName>& chunks, std::span<char> into);
  Image by_delta(Link& link, const WeightsManifest& manifest, Stats& stats);
  const Held* find(const std::string& sha256) const;  // holding state_
  Image take_image(const std::string& sha256);

  ImageLayoutPtr layout_;
  WeightsMaker maker_;
  Link link_, following_;
  std::mutex fetching_;       // one fetch
  Link beside_;               // a second connection of it
  mutable std::mutex state_;  // guards what follows
  std::vector<Held> held_;    // in the order in which they came
  Stats stats_;
};

}  // namespace zeroth::fleet
