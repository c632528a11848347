// The bytes of a trace stream (docs/traces.md): records, each a zstd skippable frame that holds a
// checksummed header, followed by one ordinary zstd frame that holds the payload, so that `zstd
// -dc` alone can unpack a stream.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace zeroth {

// The newest version that is understood; 2 added router confidences to groups, 3 turns. A record
// states the oldest version that can hold it.
inline constexpr uint16_t kTraceFormatVersion = 3;
// Bytes before the payload: 8 of the skippable frame's own header and 52 of ours.
inline constexpr size_t kRecordHeaderBytes = 60;
// Bounds that a reader enforces before it allocates: a record unpacks to at most so many bytes, and
// beyond kFreeRawBytes to at most kMaxRatio times what is stored. Samples compress 2 to 20 times;
// records that compress better than kMaxRatio are padded with an empty zstd frame.
inline constexpr uint32_t kMaxPayloadBytes = 1u << 30;
inline constexpr uint64_t kFreeRawBytes = 4u << 20;
inline constexpr uint64_t kMaxRatio = 1024;

enum class RecordKind : uint16_t { kRun = 1, kVocabulary = 2, kGroup = 3, kAnnotation = 4 };

struct RecordHeader {
  uint16_t version = 1;
  RecordKind kind = RecordKind::kGroup;
  uint32_t step = 0;
  uint32_t group = 0;          // position of the group within its step
  uint64_t offset = 0;         // of this header in the stream; a moved copy is not a record
  uint32_t payload_bytes = 0;  // compressed
  uint32_t raw_bytes = 0;      // unpacked
  uint32_t previous = 0;       // header checksum of the record before (0 for the first): a chain
  uint32_t payload_crc = 0;    // CRC-32C of the compressed payload
  uint32_t flags = 0;          // kGroup: see GroupSource
  uint32_t crc = 0;            // CRC-32C of the header bytes before it

  uint64_t end() const { return offset + kRecordHeaderBytes + payload_bytes; }
};

// The bytes of one record; fills in sizes and checksums of `header`.
std::string encode_record(RecordHeader& header, std::string_view raw_payload);

// Reads a header from the first kRecordHeaderBytes of `bytes`, which stand at `offset` of the
// stream. Nothing when they are no intact header. A header of a newer version parses (its layout up
// to the checksum is fixed for ever).
std::optional<RecordHeader> parse_record_header(std::string_view bytes, uint64_t offset);

// Unpacks a payload after its checksum has been compared. Nothing when it is damaged or unpacks to
// another size than the header says.
std::optional<std::string> decode_payload(const RecordHeader& header, std::string_view payload);

// Same for one of any size, read in pieces: read(at, n) gives bytes [at, at + n) of the payload.
// Memory is bounded by what really unpacks, not by what the header claims.
using ReadPayload = std::function<std::string(uint64_t at, uint64_t bytes)>;
std::optional<std::string> decode_payload(const RecordHeader& header, const ReadPayload& read);

}  // namespace zeroth
