#include "record/trace_format.h"

#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "core/error.h"
#include "record/crc32c.h"

namespace zeroth {
namespace {

// Any of 0x184D2A50..5F opens a skippable frame (RFC 8878, 3.1.2).
constexpr uint32_t kSkippableMagic = 0x184D2A5A;
constexpr uint32_t kSkippableSize = kRecordHeaderBytes - 8;
constexpr uint32_t kTag = 0x4352545A;  // "ZTRC"
constexpr int kCompressionLevel = 3;
// Another skippable frame, so that padding is never taken for a header.
constexpr uint32_t kPaddingMagic = 0x184D2A50;
constexpr uint64_t kPiece = 1 << 20;

template <class T>
void put(char*& at, T value) {
  std::memcpy(at, &value, sizeof value);
  at += sizeof value;
}

template <class T>
T take(const char*& at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  at += sizeof value;
  return value;
}

// Contexts cost megabytes to set up, so each thread keeps one.
ZSTD_CCtx* compressor() {
  thread_local std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                          ZSTD_freeCCtx);
  return context.get();
}

ZSTD_DCtx* decompressor() {
  thread_local std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                          ZSTD_freeDCtx);
  return context.get();
}

bool believable(uint64_t raw_bytes, uint64_t payload_bytes) {
  return raw_bytes <= std::max(kFreeRawBytes, kMaxRatio * payload_bytes);
}

// Appends a skippable frame of zeros when the record would unpack to more than is believed.
void pad(std::string& record, uint64_t raw_bytes) {
  const uint64_t packed = record.size() - kRecordHeaderBytes;
  if (believable(raw_bytes, packed)) return;
  const uint64_t missing = (raw_bytes + kMaxRatio - 1) / kMaxRatio - packed;
  const auto size = static_cast<uint32_t>(missing > 8 ? missing - 8 : 0);
  record.append(reinterpret_cast<const char*>(&kPaddingMagic), 4);
  record.append(reinterpret_cast<const char*>(&size), 4);
  record.append(size, '\0');
}

// What stands at the start of a payload agrees with the header: without it nothing is allocated.
bool claims_agree(const RecordHeader& header, std::string_view start) {
  return believable(header.raw_bytes, header.payload_bytes) &&
         ZSTD_getFrameContentSize(start.data(), start.size()) == header.raw_bytes;
}

// Feeds `bytes` to the decompressor; the output grows as it comes. False at damage.
bool unpack_piece(ZSTD_DCtx* context, std::string_view bytes, uint64_t limit, std::string& out) {
  std::string buffer(ZSTD_DStreamOutSize(), '\0');
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  for (bool full = false; in.pos < in.size || full;) {
    ZSTD_outBuffer piece{buffer.data(), buffer.size(), 0};
    if (ZSTD_isError(ZSTD_decompressStream(context, &piece, &in))) return false;
    if (out.size() + piece.pos > limit) return false;
    out.append(buffer.data(), piece.pos);
    full = piece.pos == piece.size;
  }
  return true;
}

}  // namespace

std::string encode_record(RecordHeader& header, std::string_view raw_payload) {
  if (raw_payload.size() > kMaxPayloadBytes) {
    fail("a trace record of " + std::to_string(raw_payload.size()) +
             " bytes is over the limit of " + std::to_string(kMaxPayloadBytes),
         "sample fewer or shorter completions per group");
  }
  std::string out(kRecordHeaderBytes + ZSTD_compressBound(raw_payload.size()), '\0');
  const size_t packed = ZSTD_compressCCtx(compressor(), out.data() + kRecordHeaderBytes,
                                          out.size() - kRecordHeaderBytes, raw_payload.data(),
                                          raw_payload.size(), kCompressionLevel);
  if (ZSTD_isError(packed)) fail(std::string("zstd: ") + ZSTD_getErrorName(packed));
  out.resize(kRecordHeaderBytes + packed);
  pad(out, raw_payload.size());
  header.payload_bytes = static_cast<uint32_t>(out.size() - kRecordHeaderBytes);
  header.raw_bytes = static_cast<uint32_t>(raw_payload.size());
  header.payload_crc = crc32c(out.data() + kRecordHeaderBytes, header.payload_bytes);
  char* at = out.data();
  put(at, kSkippableMagic);
  put(at, kSkippableSize);
  put(at, kTag);
  put(at, header.version);
  put(at, static_cast<uint16_t>(header.kind));
  put(at, header.step);
  put(at, header.group);
  put(at, header.offset);
  put(at, header.payload_bytes);
  put(at, header.raw_bytes);
  put(at, header.previous);
  put(at, header.payload_crc);
  put(at, header.flags);
  put(at, uint32_t{0});  // reserved
  header.crc = crc32c(out.data(), kRecordHeaderBytes - 4);
  put(at, header.crc);
  return out;
}

std::optional<RecordHeader> parse_record_header(std::string_view bytes, uint64_t offset) {
  if (bytes.size() < kRecordHeaderBytes) return std::nullopt;
  const char* at = bytes.data();
  if (take<uint32_t>(at) != kSkippableMagic || take<uint32_t>(at) != kSkippableSize ||
      take<uint32_t>(at) != kTag) {
    return std::nullopt;
  }
  RecordHeader header;
  header.version = take<uint16_t>(at);
  header.kind = static_cast<RecordKind>(take<uint16_t>(at));
  header.step = take<uint32_t>(at);
  header.group = take<uint32_t>(at);
  header.offset = take<uint64_t>(at);
  header.payload_bytes = take<uint32_t>(at);
  header.raw_bytes = take<uint32_t>(at);
  header.previous = take<uint32_t>(at);
  header.payload_crc = take<uint32_t>(at);
  header.flags = take<uint32_t>(at);
  at += 4;
  header.crc = take<uint32_t>(at);
  if (header.crc != crc32c(bytes.data(), kRecordHeaderBytes - 4) || header.offset != offset ||
      header.raw_bytes > kMaxPayloadBytes) {
    return std::nullopt;
  }
  return header;
}

std::optional<std::string> decode_payload(const RecordHeader& header, std::string_view payload) {
  if (payload.size() != header.payload_bytes ||
      crc32c(payload.data(), payload.size()) != header.payload_crc) {
    return std::nullopt;
  }
  if (!claims_agree(header, payload)) return std::nullopt;
  std::string raw(header.raw_bytes, '\0');
  const size_t size =
      ZSTD_decompressDCtx(decompressor(), raw.data(), raw.size(), payload.data(), payload.size());
  if (ZSTD_isError(size) || size != raw.size()) return std::nullopt;
  return raw;
}

std::optional<std::string> decode_payload(const RecordHeader& header, const ReadPayload& read) {
  const auto each_piece = [&](const auto& use) {
    for (uint64_t at = 0; at < header.payload_bytes; at += kPiece) {
      const uint64_t size = std::min<uint64_t>(kPiece, header.payload_bytes - at);
      const std::string piece = read(at, size);
      if (piece.size() != size || !use(at, piece)) return false;
    }
    return true;
  };
  uint32_t crc = 0;
  const bool whole = each_piece([&](uint64_t at, const std::string& piece) {
    crc = crc32c(piece.data(), piece.size(), crc);
    return at > 0 || claims_agree(header, piece);
  });
  if (!whole || crc != header.payload_crc) return std::nullopt;
  ZSTD_DCtx* context = decompressor();
  ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
  std::string raw;
  const bool good = each_piece([&](uint64_t, const std::string& piece) {
    return unpack_piece(context, piece, header.raw_bytes, raw);
  });
  if (!good || raw.size() != header.raw_bytes) return std::nullopt;
  return raw;
}

}  // namespace zeroth
