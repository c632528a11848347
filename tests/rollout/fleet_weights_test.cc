// Weights that travel arrive as they were, whole or by what changed, or not at all.
#include <random>

#include "core/error.h"
#include "core/sha256.h"
#include "fleet_support.h"
#include "rollout/fleet/coordinator_impl.h"
#include "rollout/fleet/fields.h"

namespace zeroth::fleet::test {
namespace {

struct Images {
  std::unique_ptr<Policy> policy = tiny_policy("moe");
  ImageLayoutPtr layout = std::make_shared<const ImageLayout>(policy->config());
  WeightsImagePtr now() const {
    return std::make_shared<const WeightsImage>(layout, *policy->weights());
  }
  void change(int every, float by) {
    auto values = policy->parameters().values();
    for (size_t i = 0; i < values.size(); i += every) values[i] *= by;
    policy->publish(policy->weights()->version() + 1);
  }
};

TEST_CASE("an image has the hash of its weights and makes them again") {
  for (const char* kind : {"dense", "moe", "latent"}) {
    CAPTURE(kind);
    const auto policy = tiny_policy(kind);
    const auto layout = std::make_shared<const ImageLayout>(policy->config());
    const WeightsImage image(layout, *policy->weights());
    CHECK(image.sha256() == policy->weights()->sha256());
    const WeightsMaker maker(policy->config());
    const WeightsPtr made = maker.make(image, 7);
    CHECK(made->version() == 7);
    CHECK(made->sha256() == image.sha256());
  }
}

TEST_CASE("a delta gives the bytes of the next version, and is small when little changed") {
  Images images;
  const WeightsImagePtr before = images.now();
  images.change(200, 1.5f);
  const WeightsImagePtr after = images.now();
  const std::string delta = make_delta(*before, *after);
  CHECK(delta.size() < before->bytes().size() / 10);
  WeightsImage made(images.layout);
  std::copy(before->bytes().begin(), before->bytes().end(), made.bytes().begin());
  apply_delta(delta, made);
  CHECK(made.sha256() == after->sha256());
  CHECK(std::equal(made.bytes().begin(), made.bytes().end(), after->bytes().begin()));
  const std::string nothing = make_delta(*after, *after);
  CHECK(nothing.size() < 100);
}

// Changes at any distance and of any share, in values of both widths.
TEST_CASE("a delta of few values and of all") {
  for (const auto element : {kernels::Element::kFloat32, kernels::Element::kBfloat16}) {
    const auto policy = tiny_policy("moe");
    const auto layout = std::make_shared<const ImageLayout>(policy->config(), element);
    const auto own = Policy::init(policy->config(), 3, element);
    const WeightsImage before(layout, *own->weights());
    const size_t width = layout->element_bytes(), values = layout->bytes() / width;
    std::mt19937 random(7);
    std::vector<std::vector<size_t>> sets = {{0}, {values - 1}, {0, values - 1}};
    for (const size_t gap : {253, 254, 255, 256, 509, 510, 511, 50000})
      sets.push_back({3, 3 + gap + 1, 3 + 2 * (gap + 1)});
    for (const double share : {0.001, 0.02, 0.2, 0.24, 0.26, 0.5, 1.0}) {
      std::vector<size_t>& set = sets.emplace_back();
      for (size_t i = 0; i < values; ++i)
        if (random() < share * 4294967296.0) set.push_back(i);
    }
    for (const std::vector<size_t>& set : sets) {
      CAPTURE(set.size());
      WeightsImage after(layout), made(layout);
      std::copy(before.bytes().begin(), before.bytes().end(), after.bytes().begin());
      for (const size_t i : set) after.bytes()[i * width + random() % width] ^= 1 + random() % 255;
      const std::string delta = make_delta(before, after);
      std::copy(before.bytes().begin(), before.bytes().end(), made.bytes().begin());
      apply_delta(delta, made);
      CHECK(std::equal(made.bytes().begin(), made.bytes().end(), after.bytes().begin()));
      // About a byte for the gap and one for the change.
      if (set.size() < values / 4) CHECK(delta.size() < 200 + 4 * set.size());
    }
  }
}

TEST_CASE("a delta that was cut, flipped or extended is refused or gives another hash") {
  Images images;
  const WeightsImagePtr before = images.now();
  images.change(50, 1.25f);
  const WeightsImagePtr after = images.now();
  const std::string delta = make_delta(*before, *after);
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::string bad = delta;
    if (i % 3 == 0) bad.resize(random() % bad.size());
    if (i % 3 == 1) bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
    if (i % 3 == 2) bad += static_cast<char>(random());
    if (bad == delta) continue;
    WeightsImage made(images.layout);
    std::copy(before->bytes().begin(), before->bytes().end(), made.bytes().begin());
    try {
      apply_delta(bad, made);
      CHECK(made.sha256() != after->sha256());
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > 200);
}

TEST_CASE("blobs are found by their hash, and old versions go") {
  Images images;
  BlobStore store;
  std::mutex mutex;
  const std::string first = images.now()->sha256();
  store.add(images.now(), first, 0, 2, mutex);
  std::vector<std::string> hashes = {first};
  for (int version = 1; version < 4; ++version) {
    images.change(100, 1.125f);
    hashes.push_back(images.now()->sha256());
    store.add(images.now(), hashes.back(), version, 2, mutex);
    const WeightsManifest* manifest = store.manifest(hashes.back());
    REQUIRE(manifest != nullptr);
    REQUIRE(manifest->deltas.size() == 1);
    CHECK(manifest->deltas[0].base == hashes[version - 1]);
    // Whoever holds the base needs no more; the whole is hashed for those who do not.
    CHECK(manifest->chunks.empty());
    CHECK(manifest->serves(hashes[version - 1]));
    CHECK_FALSE(manifest->serves(""));
    CHECK(WeightsManifest::from_json(manifest->to_json(), manifest->bytes).deltas[0].chunks ==
          manifest->deltas[0].chunks);
    store.name_chunks(hashes.back(), mutex);
    CHECK(manifest->serves(""));
    uint64_t bytes = 0;
    for (const BlobName& chunk : manifest->chunks) {
      const auto found = store.find(chunk.sha256);
      REQUIRE(found);
      CHECK(sha256_hex(found->bytes) == chunk.sha256);
      bytes += found->bytes.size();
    }
    CHECK(bytes == images.layout->bytes());
    CHECK(WeightsManifest::from_json(manifest->to_json(), bytes).chunks == manifest->chunks);
  }
  CHECK(store.manifest(hashes[1]) == nullptr);
  CHECK(store.manifest(hashes[2]) != nullptr);
  store.make_room(2, mutex);
  CHECK(store.manifest(hashes[2]) == nullptr);
  CHECK(store.manifest(hashes[3]) != nullptr);
  store.name_chunks(hashes[2], mutex);  // nothing happens
  const std::string again = hashes[3];
  store.add(images.now(), again, 9, 2, mutex);
  CHECK(store.manifest(again)->version == 9);
}

TEST_CASE("a manifest that does not add up is refused") {
  Images images;
  BlobStore store;
  std::mutex mutex;
  store.add(images.now(), images.now()->sha256(), 3, 2, mutex);
  const uint64_t bytes = images.layout->bytes();
  const Json good = store.manifest(images.now()->sha256())->to_json();
  CHECK_NOTHROW(WeightsManifest::from_json(good, bytes));
  CHECK_THROWS_AS(WeightsManifest::from_json(good, bytes + 64), Error);
  const auto broken = [&](const char* name, const Json& value) {
    Json bad = good;
    bad[name] = value;
    CAPTURE(name);
    CHECK_THROWS_AS(WeightsManifest::from_json(bad, bytes), Error);
  };
  broken("sha256", "abc");
  broken("sha256", 3);
  broken("chunks", Json::array());
  broken("chunks", {{{"sha256", std::string(64, 'a')}, {"bytes", bytes + 1}}});
  broken("chunks", {{{"sha256", std::string(64, 'g')}, {"bytes", bytes}}});
  broken("bytes", -1);
  broken("version", "x");
}

// A delta changes the image in place, so one that it has spoiled must not be used again.
TEST_CASE("a delta that gives other weights costs a worker the whole, and no more") {
  Images images;
  const WeightsImagePtr first = images.now();
  images.change(100, 1.5f);
  const WeightsImagePtr other = images.now();
  images.change(90, 1.25f);
  const WeightsImagePtr second = images.now();
  images.change(80, 1.125f);
  const WeightsImagePtr third = images.now();
  std::map<std::string, std::string> blobs;
  const auto named = [&](std::string_view bytes) {
    const std::vector<BlobName> names = chunks_of(bytes);
    for (size_t i = 0; i < names.size(); ++i)
      blobs[names[i].sha256] = bytes.substr(i * kChunkBytes, names[i].bytes);
    return names;
  };
  std::map<std::string, WeightsManifest> manifests;
  const auto add = [&](const WeightsImagePtr& image, std::vector<DeltaManifest> deltas) {
    const std::string_view bytes(image->bytes().data(), image->bytes().size());
    manifests[image->sha256()] = {image->sha256(), static_cast<WeightsVersion>(manifests.size()),
                                  bytes.size(), named(bytes), std::move(deltas)};
  };
  add(first, {});
  add(second, {{first->sha256(), named(make_delta(*first, *other))}});
  add(third, {{second->sha256(), named(make_delta(*second, *third))}});
  HttpServer server({});
  server.start(
      [](const HttpRequest&, uint64_t&) -> std::optional<HttpReply> { return std::nullopt; },
      [&](HttpExchangePtr exchange) {
        const std::string& path = exchange->request().path;
        const std::string name = path.substr(path.rfind('/') + 1);
        if (manifests.contains(name))
          return exchange->reply(message_reply(manifests[name].to_json(), kJsonType));
        exchange->reply({.type = "application/octet-stream", .text = blobs.at(name)});
      });
  const std::atomic<bool> stop{false};
  WeightsCache cache({"http://127.0.0.1:" + std::to_string(server.port()), kToken, "", 5},
                     images.policy->config(), stop);
  CHECK(cache.get(first->sha256())->sha256() == first->sha256());
  CHECK(cache.get(second->sha256())->sha256() == second->sha256());
  CHECK(cache.stats().full == 2);
  CHECK(cache.stats().deltas == 0);
  CHECK(cache.get(third->sha256())->sha256() == third->sha256());
  CHECK(cache.stats().full == 2);
  CHECK(cache.stats().deltas == 1);
}

// Fetching through a coordinator: first whole, then by deltas, and whole again when the base is gone.
TEST_CASE("a worker follows the weights") {
  Fleet fleet("moe");
  const std::atomic<bool> stop{false};
  WeightsCache cache(fleet.options("w").link, fleet.policy->config(), stop);
  Coordinator& coordinator = fleet.sampler->coordinator();
  for (int version = 0; version < 4; ++version) {
    const std::string sha256 = coordinator.publish(*fleet.policy->weights());
    CHECK(sha256 == fleet.policy->weights()->sha256());
    cache.follow();
    CHECK(cache.newest() == sha256);
    CHECK(cache.get(sha256)->sha256() == sha256);
    CHECK(cache.get(sha256)->version() == version);
    for (float& value : fleet.policy->parameters().values().first(100)) value += 0.5f;
    fleet.policy->publish(version + 1);
  }
  CHECK(cache.stats().full == 1);
  CHECK(cache.stats().deltas == 3);
  // Who comes now gets the whole of a version that all others got as a delta.
  WeightsCache late(fleet.options("late").link, fleet.policy->config(), stop);
  late.follow();
  CHECK(late.newest() == cache.newest());
  CHECK(late.stats().full == 1);
  WeightsCache later(fleet.options("later").link, fleet.policy->config(), stop);
  CHECK(later.get(cache.newest())->sha256() == cache.newest());
  CHECK_THROWS_AS(cache.get(std::string(64, 'a')), Refused);
  CHECK_THROWS_AS(cache.get("../../etc/passwd"), Error);
}

}  // namespace
}  // namespace zeroth::fleet::test
