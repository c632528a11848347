// Walking over the records of a stream, whatever shape the file is in. Shared by the writer (which
// has to find the end) and the reader.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "record/trace_store.h"

namespace zeroth {

inline constexpr char kStreamName[] = "stream.zst";
inline constexpr char kOffsetsName[] = "offsets.idx";

// A file that is read by position. pread, not a memory map: a map of a file that a resumed run cuts
// would fault.
class PositionalFile {
 public:
  explicit PositionalFile(
      const std::filesystem::path& path);  // throws Error when it cannot be opened
  ~PositionalFile();
  PositionalFile(const PositionalFile&) = delete;
  PositionalFile& operator=(const PositionalFile&) = delete;
  uint64_t size() const;
  bool deleted() const;  // no name leads to it any more
  // Up to `bytes` bytes at `offset`; fewer at the end of the file.
  std::string read(uint64_t offset, uint64_t bytes) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

struct ScanState {
  uint64_t end = 0;         // behind the last complete record
  uint32_t previous = 0;    // its header checksum
  bool unfinished = false;  // bytes follow `end` that are no complete record (yet)
  std::vector<TraceDamage> damage;
};

// Continues `state` over what the file holds now and reports every intact record header. With
// `verify` payload checksums are compared too, and a record whose payload is damaged is reported as
// damage instead. Throws Error when the file is no trace stream, or one of a newer version.
void scan_stream(const PositionalFile& file, ScanState& state, bool verify,
                 const std::function<void(const RecordHeader&)>& record);

// The payload of a record; nothing when it is damaged.
std::optional<std::string> read_payload(const PositionalFile& file, const RecordHeader& header);

// The offset index: a header and one entry per record of any kind.
std::string encode_offsets_header();
std::string encode_offset(const TraceEntry& entry);
std::vector<TraceEntry> decode_offsets(std::string_view bytes);

TraceEntry entry_of(const RecordHeader& header);

}  // namespace zeroth
