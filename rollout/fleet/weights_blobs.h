// Weights on the wire: immutable blobs named by their SHA-256, which any HTTP cache can keep.
//
// An image (policy/weights_image.h) travels whole, in chunks of 8 MiB, or as what differs from an
// image that the other side has, whichever is smaller. A delta is a row of frames, one per 1 MiB of
// the image: u32 length, then (length 0: nothing differs) a byte that tells the kind and one zstd
// frame. 'd': the XOR of both, its bytes sorted by their place in a value. 's', where few values
// differ: u32 how many, u32 bytes of gaps; the gaps: values that stay before each that differs, a
// byte of 255 for 255 that stay and none that differs; then the XOR of those that differ, sorted
// likewise. Whoever applies a delta checks the whole image's hash.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "policy/weights_image.h"

namespace zeroth::fleet {

inline constexpr uint64_t kChunkBytes = 8 << 20;

struct BlobName {
  std::string sha256;
  uint64_t bytes = 0;
  bool operator==(const BlobName&) const = default;
};

// How to get an image from another one.
struct DeltaManifest {
  std::string base;  // hash of the image it applies to
  std::vector<BlobName> chunks;
};

// What is said about a version of the weights.
struct WeightsManifest {
  std::string sha256;  // Weights::sha256
  WeightsVersion version = 0;
  uint64_t bytes = 0;
  std::vector<BlobName> chunks;  // empty: not named yet, because a delta does for most
  std::vector<DeltaManifest> deltas;

  // Whether it says how one who holds `base` (empty: nothing) gets the weights.
  bool serves(const std::string& base) const;
  Json to_json() const;
  // Throws Error for anything but a manifest of an image of `bytes` bytes.
  static WeightsManifest from_json(const Json& json, uint64_t bytes);
};

// What differs, in the format above. Both images are of one layout. On all threads.
std::string make_delta(const WeightsImage& from, const WeightsImage& to);
// Makes of `image` what `delta` describes, in place. Throws Error for bytes that are no delta of such
// images; the image is of no use then. Whether it is the right one only the hash says.
void apply_delta(std::string_view delta, WeightsImage& image);

// Names of the chunks of `bytes`, hashed on all threads.
std::vector<BlobName> chunks_of(std::string_view bytes);

// The blobs of the newest versions, held in memory.
class BlobStore {
 public:
  // A version, with a delta from the one before when that is smaller; the chunks of the whole are
  // named at once when there is none. Keeps the `keep` newest versions. One thread at a time; it
  // holds `mutex` only while the list changes, which others may read meanwhile holding it.
  void add(WeightsImagePtr image, const std::string& sha256, WeightsVersion version, int keep,
           std::mutex& mutex);
  // Names the chunks of a version that somebody wants whole; nothing to do when they have names or
  // the version is gone. Any thread; `mutex` as above.
  void name_chunks(const std::string& sha256, std::mutex& mutex);
  // Lets go of what the next add() with this `keep` would, but for its base, so that the next image
  // can take their memory.
  void make_room(int keep, std::mutex& mutex);
  // Files that every worker needs.
  BlobName add_file(std::string content);

  struct Bytes {
    std::shared_ptr<const void> owner;
    std::string_view bytes;
  };
  std::optional<Bytes> find(const std::string& sha256) const;
  const WeightsManifest* manifest(const std::string& sha256) const;  // null: not kept

 private:
  struct Version {
    WeightsManifest manifest;
    WeightsImagePtr image;
    std::shared_ptr<const std::string> delta;
  };
  std::vector<std::shared_ptr<Version>> versions_;  // oldest first
  std::vector<std::pair<BlobName, std::shared_ptr<const std::string>>> files_;
};

}  // namespace zeroth::fleet
