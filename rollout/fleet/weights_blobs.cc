#include "rollout/fleet/weights_blobs.h"

#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/sha256.h"
#include "model/parameters.h"
#include "rollout/fleet/fields.h"

namespace zeroth::fleet {
namespace {

constexpr uint64_t kFrameBytes = 1 << 20;  // of the image
constexpr int kLevel = 1;                  // more takes longer than sending saves

uint64_t frames(uint64_t bytes) { return (bytes + kFrameBytes - 1) / kFrameBytes; }

// planes[p][i] = byte p of value i of a XOR b; false when nothing differs.
bool split(const char* a, const char* b, size_t bytes, size_t width, std::string& planes) {
  if (std::memcmp(a, b, bytes) == 0) return false;
  planes.resize(bytes);
  const size_t values = bytes / width;
  for (size_t p = 0; p < width; ++p) {
    char* out = planes.data() + p * values;
    for (size_t i = 0; i < values; ++i)
      out[i] = static_cast<char>(a[i * width + p] ^ b[i * width + p]);
  }
  return true;
}

void join(const char* from, const std::string& planes, size_t bytes, size_t width, char* to) {
  const size_t values = bytes / width;
  for (size_t p = 0; p < width; ++p) {
    const char* in = planes.data() + p * values;
    for (size_t i = 0; i < values; ++i)
      to[i * width + p] = static_cast<char>(from[i * width + p] ^ in[i]);
  }
}

std::string frame(const WeightsImage& from, const WeightsImage& to, uint64_t index) {
  const uint64_t begin = index * kFrameBytes;
  const size_t bytes = std::min(kFrameBytes, to.layout().bytes() - begin);
  std::string planes, out;
  if (split(from.bytes().data() + begin, to.bytes().data() + begin, bytes,
            to.layout().element_bytes(), planes)) {
    out.resize(4 + ZSTD_compressBound(bytes));
    const size_t n =
        ZSTD_compress(out.data() + 4, out.size() - 4, planes.data(), planes.size(), kLevel);
    if (ZSTD_isError(n)) fail(std::string("zstd: ") + ZSTD_getErrorName(n));
    out.resize(4 + n);
  } else {
    out.resize(4);
  }
  const auto length = static_cast<uint32_t>(out.size() - 4);
  std::memcpy(out.data(), &length, 4);
  return out;
}

[[noreturn]] void fail_delta(const std::string& why) {
  fail("the delta of the weights is damaged: " + why, "the whole weights are fetched instead");
}

std::vector<BlobName> names_from(const Json& json, const std::string& what, uint64_t most) {
  std::vector<BlobName> out;
  uint64_t total = 0;
  for (const Json& item : array_field(json, what.c_str(), 1 << 20)) {
    BlobName name{text_field(item, "sha256", 64), uint_field(item, "bytes", kChunkBytes)};
    if (!is_sha256(name.sha256)) fail_usage(what + ": \"sha256\" is no SHA-256");
    total += name.bytes;
    out.push_back(std::move(name));
  }
  if (total > most) fail_usage(what + ": more bytes than the weights have");
  return out;
}

Json names_json(const std::vector<BlobName>& names) {
  Json out = Json::array();
  for (const BlobName& name : names)
    out.push_back({{"sha256", name.sha256}, {"bytes", name.bytes}});
  return out;
}

}  // namespace

Json WeightsManifest::to_json() const {
  Json out = {{"sha256", sha256},
              {"version", version},
              {"bytes", bytes},
              {"chunks", names_json(chunks)},
              {"deltas", Json::array()}};
  for (const DeltaManifest& delta : deltas)
    out["deltas"].push_back({{"base", delta.base}, {"chunks", names_json(delta.chunks)}});
  return out;
}

WeightsManifest WeightsManifest::from_json(const Json& json, uint64_t bytes) {
  WeightsManifest out;
  out.sha256 = text_field(json, "sha256", 64);
  out.version = static_cast<WeightsVersion>(uint_field(json, "version", INT64_MAX));
  out.bytes = uint_field(json, "bytes", UINT64_MAX / 2);
  if (!is_sha256(out.sha256)) fail_usage("weights: \"sha256\" is no SHA-256");
  if (out.bytes != bytes) {
    fail_usage("the weights have " + std::to_string(out.bytes) +
               " bytes, and the model of the run " + std::to_string(bytes));
  }
  out.chunks = names_from(json, "chunks", bytes);
  uint64_t total = 0;
  for (const BlobName& chunk : out.chunks) total += chunk.bytes;
  if (total != bytes) fail_usage("the chunks of the weights do not add up to them");
  for (const Json& item : array_field(json, "deltas", 64)) {
    // A delta may be a little longer than what it describes; then it is not offered.
    out.deltas.push_back({text_field(item, "base", 64), names_from(item, "chunks", bytes)});
  }
  return out;
}

std::string make_delta(const WeightsImage& from, const WeightsImage& to) {
  const uint64_t count = frames(to.layout().bytes());
  std::vector<std::string> parts(count);
  parallel_in_order(static_cast<int64_t>(count),
                    [&](int64_t i) { parts[i] = frame(from, to, static_cast<uint64_t>(i)); });
  std::string out;
  for (const std::string& part : parts) out += part;
  return out;
}

void apply_delta(const WeightsImage& from, std::string_view delta, WeightsImage& to) {
  const uint64_t total = to.layout().bytes(), count = frames(total);
  const size_t width = to.layout().element_bytes();
  std::vector<std::string_view> parts;
  for (uint64_t i = 0; i < count; ++i) {
    uint32_t length = 0;
    if (delta.size() < 4) fail_delta("it ends in frame " + std::to_string(i));
    std::memcpy(&length, delta.data(), 4);
    delta.remove_prefix(4);
    if (length > delta.size()) fail_delta("frame " + std::to_string(i) + " is cut");
    parts.push_back(delta.substr(0, length));
    delta.remove_prefix(length);
  }
  if (!delta.empty()) fail_delta("there are bytes behind its last frame");
  parallel_in_order(static_cast<int64_t>(count), [&](int64_t i) {
    const uint64_t begin = static_cast<uint64_t>(i) * kFrameBytes;
    const size_t bytes = std::min(kFrameBytes, total - begin);
    const char* base = from.bytes().data() + begin;
    char* out = to.bytes().data() + begin;
    if (parts[i].empty()) {
      std::memcpy(out, base, bytes);
      return;
    }
    std::string planes(bytes, '\0');
    const size_t n = ZSTD_decompress(planes.data(), bytes, parts[i].data(), parts[i].size());
    if (ZSTD_isError(n) || n != bytes) fail_delta("frame " + std::to_string(i) + " is malformed");
    join(base, planes, bytes, width, out);
  });
}

std::vector<BlobName> chunks_of(std::string_view bytes) {
  const uint64_t count = (bytes.size() + kChunkBytes - 1) / kChunkBytes;
  std::vector<BlobName> out(count);
  parallel_in_order(static_cast<int64_t>(count), [&](int64_t i) {
    const std::string_view chunk = bytes.substr(static_cast<size_t>(i) * kChunkBytes, kChunkBytes);
    out[i] = {sha256_hex(chunk), chunk.size()};
  });
  return out;
}

void BlobStore::add(WeightsImagePtr image, const std::string& sha256, WeightsVersion version,
                    int keep, std::mutex& mutex) {
  const auto held = std::find_if(versions_.begin(), versions_.end(),
                                 [&](const auto& v) { return v->manifest.sha256 == sha256; });
  if (held != versions_.end()) {  // the same values again: only the number is new
    std::lock_guard lock(mutex);
    (*held)->manifest.version = version;
    std::rotate(held, held + 1, versions_.end());
    return;
  }
  auto added = std::make_shared<Version>();
  const std::string_view bytes(image->bytes().data(), image->bytes().size());
  added->manifest = {sha256, version, bytes.size(), chunks_of(bytes), {}};
  if (!versions_.empty()) {
    const Version& before = *versions_.back();
    auto delta = std::make_shared<const std::string>(make_delta(*before.image, *image));
    if (delta->size() < bytes.size()) {
      added->manifest.deltas.push_back({before.manifest.sha256, chunks_of(*delta)});
      added->delta = std::move(delta);
    }
  }
  added->image = std::move(image);
  std::lock_guard lock(mutex);
  versions_.push_back(std::move(added));
  if (versions_.size() > static_cast<size_t>(keep))
    versions_.erase(versions_.begin(), versions_.end() - keep);
}

BlobName BlobStore::add_file(std::string content) {
  BlobName name{sha256_hex(content), content.size()};
  files_.emplace_back(name, std::make_shared<const std::string>(std::move(content)));
  return name;
}

std::optional<BlobStore::Bytes> BlobStore::find(const std::string& sha256) const {
  const auto among = [&](const std::vector<BlobName>& chunks,
                         std::string_view whole) -> std::optional<std::string_view> {
    for (size_t i = 0; i < chunks.size(); ++i)
      if (chunks[i].sha256 == sha256) return whole.substr(i * kChunkBytes, chunks[i].bytes);
    return std::nullopt;
  };
  for (const auto& version : versions_) {
    const std::string_view image(version->image->bytes().data(), version->image->bytes().size());
    if (const auto bytes = among(version->manifest.chunks, image)) return Bytes{version, *bytes};
    if (!version->delta) continue;
    if (const auto bytes = among(version->manifest.deltas[0].chunks, *version->delta))
      return Bytes{version, *bytes};
  }
  for (const auto& [name, content] : files_)
    if (name.sha256 == sha256) return Bytes{content, *content};
  return std::nullopt;
}

const WeightsManifest* BlobStore::manifest(const std::string& sha256) const {
  for (const auto& version : versions_)
    if (version->manifest.sha256 == sha256) return &version->manifest;
  return nullptr;
}

}  // namespace zeroth::fleet
