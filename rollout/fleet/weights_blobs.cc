#include "rollout/fleet/weights_blobs.h"

#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/sha256.h"
#include "core/sha256_many.h"
#include "model/parameters.h"
#include "rollout/fleet/fields.h"

namespace zeroth::fleet {
namespace {

constexpr uint64_t kFrameBytes = 1 << 20;  // of the image
constexpr int kLevel = 1;                  // more takes longer than sending saves

uint64_t frames(uint64_t bytes) { return (bytes + kFrameBytes - 1) / kFrameBytes; }

constexpr char kDense = 'd', kSparse = 's';
constexpr size_t kSparseHead = 2 * sizeof(uint32_t);
constexpr size_t kSkip = 255;  // in a gap: so many values stay, and none differs yet

// Memory of the calling thread.
std::string& scratch(int which) {
  thread_local std::string strings[2];
  return strings[which];
}

// out[p][i] = byte p of value i of a XOR b.
void split(const char* a, const char* b, size_t values, size_t width, char* out) {
  for (size_t p = 0; p < width; ++p) {
    for (size_t i = 0; i < values; ++i)
      *out++ = static_cast<char>(a[i * width + p] ^ b[i * width + p]);
  }
}

void join(const char* planes, size_t values, size_t width, char* image) {
  for (size_t p = 0; p < width; ++p) {
    const char* in = planes + p * values;
    for (size_t i = 0; i < values; ++i) image[i * width + p] ^= in[i];
  }
}

// The content of a sparse frame; false: too many values differ.
bool sparse(const char* a, const char* b, size_t bytes, size_t width, std::string& out) {
  constexpr size_t kWord = sizeof(uint64_t);  // images are multiples of it
  const size_t values = bytes / width, most = values / 4;
  std::string& changes = scratch(1);
  changes.resize(std::max(changes.size(), most * width));
  out.resize(kSparseHead + most * (1 + width) + values / kSkip + 1);
  char *change = changes.data(), *gap = out.data() + kSparseHead;
  size_t n = 0, next = 0;  // next: the first value that the next gap counts
  for (size_t at = 0; at < bytes; at += kWord) {
    uint64_t x = 0, y = 0;
    std::memcpy(&x, a + at, kWord);
    std::memcpy(&y, b + at, kWord);
    if (x == y) continue;
    for (size_t i = at; i < at + kWord; i += width) {
      if (std::memcmp(a + i, b + i, width) == 0) continue;
      if (n++ == most) return false;
      size_t stay = i / width - next;
      for (; stay >= kSkip; stay -= kSkip) *gap++ = static_cast<char>(kSkip);
      *gap++ = static_cast<char>(stay);
      for (size_t p = 0; p < width; ++p) *change++ = static_cast<char>(a[i + p] ^ b[i + p]);
      next = i / width + 1;
    }
  }
  const uint32_t head[] = {static_cast<uint32_t>(n),
                           static_cast<uint32_t>(gap - out.data() - kSparseHead)};
  std::memcpy(out.data(), head, sizeof head);
  for (size_t p = 0; p < width; ++p) {
    for (size_t i = 0; i < n; ++i) *gap++ = changes[i * width + p];
  }
  out.resize(static_cast<size_t>(gap - out.data()));
  return out.size() < bytes;
}

// Changes in `image` what a sparse frame says; false: it is none.
bool patch(std::string_view content, size_t values, size_t width, char* image) {
  uint32_t n = 0, gaps = 0;
  if (content.size() < kSparseHead) return false;
  std::memcpy(&n, content.data(), sizeof n);
  std::memcpy(&gaps, content.data() + sizeof n, sizeof gaps);
  content.remove_prefix(kSparseHead);
  if (content.size() != gaps + uint64_t{n} * width) return false;
  const char* changes = content.data() + gaps;
  size_t at = 0, i = 0;
  for (size_t g = 0; g < gaps; ++g) {
    const size_t gap = static_cast<unsigned char>(content[g]);
    at += gap;
    if (gap == kSkip) continue;
    if (at >= values || i == n) return false;
    for (size_t p = 0; p < width; ++p) image[at * width + p] ^= changes[p * n + i];
    ++at;
    ++i;
  }
  return i == n;
}

std::string frame(const WeightsImage& from, const WeightsImage& to, uint64_t index) {
  const uint64_t begin = index * kFrameBytes;
  const size_t bytes = std::min(kFrameBytes, to.layout().bytes() - begin);
  const size_t width = to.layout().element_bytes();
  const char *a = from.bytes().data() + begin, *b = to.bytes().data() + begin;
  if (std::memcmp(a, b, bytes) == 0) return std::string(sizeof(uint32_t), '\0');
  std::string& content = scratch(0);
  const char kind = sparse(a, b, bytes, width, content) ? kSparse : kDense;
  if (kind == kDense) {
    content.resize(bytes);
    split(a, b, bytes / width, width, content.data());
  }
  std::string& packed = scratch(1);
  packed.resize(std::max(packed.size(), ZSTD_compressBound(content.size())));
  const size_t n =
      ZSTD_compress(packed.data(), packed.size(), content.data(), content.size(), kLevel);
  if (ZSTD_isError(n)) fail(std::string("zstd: ") + ZSTD_getErrorName(n));
  const auto length = static_cast<uint32_t>(n + 1);
  std::string out(sizeof length, '\0');
  std::memcpy(out.data(), &length, sizeof length);
  out += kind;
  return out.append(packed, 0, n);
}

// Changes `bytes` bytes of an image as a frame says; false: it is malformed.
bool apply_frame(std::string_view frame, size_t bytes, size_t width, char* image) {
  if (frame.empty()) return true;
  std::string& content = scratch(0);
  content.resize(std::max<size_t>(content.size(), kFrameBytes));
  const size_t n = ZSTD_decompress(content.data(), bytes, frame.data() + 1, frame.size() - 1);
  if (ZSTD_isError(n)) return false;
  if (frame.front() == kSparse) return patch({content.data(), n}, bytes / width, width, image);
  if (frame.front() != kDense || n != bytes) return false;
  join(content.data(), bytes / width, width, image);
  return true;
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
  for (const Json& item : array_field(json, "deltas", 64)) {
    // A delta may be a little longer than what it describes; then it is not offered.
    out.deltas.push_back({text_field(item, "base", 64), names_from(item, "chunks", bytes)});
  }
  if (total != bytes && (total != 0 || out.deltas.empty()))
    fail_usage("the chunks of the weights do not add up to them");
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

void apply_delta(std::string_view delta, WeightsImage& image) {
  const uint64_t total = image.layout().bytes(), count = frames(total);
  const size_t width = image.layout().element_bytes();
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
    if (!apply_frame(parts[i], bytes, width, image.bytes().data() + begin))
      fail_delta("frame " + std::to_string(i) + " is malformed");
  });
}

std::vector<BlobName> chunks_of(std::string_view bytes) {
  std::vector<std::string_view> chunks;
  for (; !bytes.empty(); bytes.remove_prefix(chunks.back().size()))
    chunks.push_back(bytes.substr(0, kChunkBytes));
  std::vector<std::string> hashes = sha256_hex_many(chunks);
  std::vector<BlobName> out;
  for (size_t i = 0; i < chunks.size(); ++i)
    out.push_back({std::move(hashes[i]), chunks[i].size()});
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
  added->manifest = {sha256, version, bytes.size(), {}, {}};
  if (!versions_.empty()) {
    const Version& before = *versions_.back();
    auto delta = std::make_shared<const std::string>(make_delta(*before.image, *image));
    if (delta->size() < bytes.size()) {
      added->manifest.deltas.push_back({before.manifest.sha256, chunks_of(*delta)});
      added->delta = std::move(delta);
    }
  }
  added->image = std::move(image);
  if (!added->delta) added->manifest.chunks = chunks_of(bytes);
  std::lock_guard lock(mutex);
  versions_.push_back(std::move(added));
  if (versions_.size() > static_cast<size_t>(keep))
    versions_.erase(versions_.begin(), versions_.end() - keep);
}

void BlobStore::make_room(int keep, std::mutex& mutex) {
  const auto most = static_cast<size_t>(std::max(1, keep - 1));
  std::lock_guard lock(mutex);
  if (versions_.size() > most) versions_.erase(versions_.begin(), versions_.end() - most);
}

void BlobStore::name_chunks(const std::string& sha256, std::mutex& mutex) {
  std::shared_ptr<Version> version;
  {
    std::lock_guard lock(mutex);
    for (const auto& v : versions_)
      if (v->manifest.sha256 == sha256 && v->manifest.chunks.empty()) version = v;
  }
  if (!version) return;
  auto chunks = chunks_of({version->image->bytes().data(), version->image->bytes().size()});
  std::lock_guard lock(mutex);
  version->manifest.chunks = std::move(chunks);
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

bool WeightsManifest::serves(const std::string& base) const {
  return !chunks.empty() || std::any_of(deltas.begin(), deltas.end(),
                                        [&](const DeltaManifest& d) { return d.base == base; });
}

const WeightsManifest* BlobStore::manifest(const std::string& sha256) const {
  for (const auto& version : versions_)
    if (version->manifest.sha256 == sha256) return &version->manifest;
  return nullptr;
}

}  // namespace zeroth::fleet
