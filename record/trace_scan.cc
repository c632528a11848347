#include "record/trace_scan.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "record/crc32c.h"

namespace zeroth {
namespace {

constexpr uint32_t kOffsetsMagic = 0x4952545A;  // "ZTRI"
constexpr uint32_t kOffsetsVersion = 1;
constexpr size_t kOffsetsHeaderBytes = 8;
constexpr size_t kOffsetBytes = 40;

// The first place at or after `from` where an intact header stands, or nothing.
std::optional<uint64_t> next_header(const PositionalFile& file, uint64_t from) {
  constexpr uint64_t kChunk = 1 << 20;
  static const std::string magic("\x5a\x2a\x4d\x18", 4);
  for (uint64_t at = from;;) {
    const std::string chunk = file.read(at, kChunk + kRecordHeaderBytes);
    for (size_t hit = chunk.find(magic); hit != std::string::npos;
         hit = chunk.find(magic, hit + 1)) {
      if (hit >= kChunk) break;
      if (parse_record_header(std::string_view(chunk).substr(hit), at + hit)) return at + hit;
    }
    if (chunk.size() <= kChunk) return std::nullopt;
    at += kChunk;
  }
}

void check_first_record(const PositionalFile& file, const std::optional<RecordHeader>& header,
                        bool later_records) {
  if (header && header->version > kTraceFormatVersion) {
    fail(file.path().string() + " has trace format version " + std::to_string(header->version) +
             ", this program reads up to " + std::to_string(kTraceFormatVersion),
         "use the version of zeroth that wrote it, or a newer one");
  }
  if ((header && header->kind != RecordKind::kRun) || (!header && !later_records)) {
    fail(file.path().string() + " is not a trace stream of this program",
         "give the folder of a run; its traces are in RUN/traces/stream.zst");
  }
}

}  // namespace

PositionalFile::PositionalFile(const std::filesystem::path& path) : path_(path) {
  // Without waiting: a pipe would have us wait for its writer.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd_ < 0) {
    fail("cannot open " + path.string() + ": " + std::strerror(errno),
         "give the folder of a run that recorded traces (RUN/traces/stream.zst)");
  }
  struct stat info;
  if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd_);
    fail("cannot read " + path.string() + ": it is no regular file",
         "give the folder of a run that zeroth wrote");
  }
}

PositionalFile::~PositionalFile() { ::close(fd_); }

uint64_t PositionalFile::size() const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) fail("cannot stat " + path_.string() + ": " + std::strerror(errno));
  return static_cast<uint64_t>(info.st_size);
}

bool PositionalFile::deleted() const {
  struct stat info;
  return ::fstat(fd_, &info) != 0 || info.st_nlink == 0;
}

std::string PositionalFile::read(uint64_t offset, uint64_t bytes) const {
  std::string out(bytes, '\0');
  size_t have = 0;
  while (have < out.size()) {
    const ssize_t n =
        ::pread(fd_, out.data() + have, out.size() - have, static_cast<off_t>(offset + have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot read " + path_.string() + ": " + std::strerror(errno));
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  out.resize(have);
  return out;
}

std::optional<std::string> read_payload(const PositionalFile& file, const RecordHeader& header) {
  const uint64_t start = header.offset + kRecordHeaderBytes;
  // The length is checked against the file first, so that no length makes us allocate more than
  // there is. A file with holes may be larger than its disk: what is large is read in pieces.
  constexpr uint64_t kWhole = 8 << 20;
  if (start + header.payload_bytes > file.size()) return std::nullopt;
  if (header.payload_bytes <= kWhole && header.raw_bytes <= 8 * kWhole) {
    return decode_payload(header, file.read(start, header.payload_bytes));
  }
  return decode_payload(header,
                        [&](uint64_t at, uint64_t bytes) { return file.read(start + at, bytes); });
}

void scan_stream(const PositionalFile& file, ScanState& state, bool verify,
                 const std::function<void(const RecordHeader&)>& record) {
  const uint64_t size = file.size();
  state.unfinished = false;
  while (state.end < size) {
    const uint64_t at = state.end;
    const auto header = parse_record_header(file.read(at, kRecordHeaderBytes), at);
    std::optional<uint64_t> next;
    if (!header && size - at >= kRecordHeaderBytes) next = next_header(file, at + 1);
    if (at == 0 && size >= kRecordHeaderBytes) check_first_record(file, header, next.has_value());
    if (!header) {
      state.unfinished = !next;
      if (!next) return;
      state.damage.push_back({at, *next - at, "no intact record header"});
      state.end = *next;
      continue;
    }
    if (header->end() > size) {
      // Either the record is being written, or its tail is lost and later records were never
      // written.
      state.unfinished = true;
      return;
    }
    if (header->version > kTraceFormatVersion) {
      state.damage.push_back({at, header->end() - at, "record of a newer format version"});
    } else if (verify && !read_payload(file, *header)) {
      state.damage.push_back({at, header->end() - at, "payload does not match its checksum"});
    } else {
      record(*header);
    }
    state.previous = header->crc;
    state.end = header->end();
  }
}

TraceEntry entry_of(const RecordHeader& header) {
  return {header.offset,    header.step, header.group, header.payload_bytes,
          header.raw_bytes, header.crc,  header.kind,  static_cast<GroupSource>(header.flags)};
}

std::string encode_offsets_header() {
  std::string out(kOffsetsHeaderBytes, '\0');
  std::memcpy(out.data(), &kOffsetsMagic, 4);
  std::memcpy(out.data() + 4, &kOffsetsVersion, 4);
  return out;
}

std::string encode_offset(const TraceEntry& entry) {
  std::string out(kOffsetBytes, '\0');
  const auto kind = static_cast<uint32_t>(entry.kind);
  const auto source = static_cast<uint32_t>(entry.source);
  char* at = out.data();
  const auto put = [&at](const auto& value) {
    std::memcpy(at, &value, sizeof value);
    at += sizeof value;
  };
  put(entry.offset);
  put(entry.step);
  put(entry.group);
  put(entry.payload_bytes);
  put(entry.raw_bytes);
  put(entry.crc);
  put(kind);
  put(source);
  put(crc32c(out.data(), kOffsetBytes - 4));
  return out;
}

std::vector<TraceEntry> decode_offsets(std::string_view bytes) {
  std::vector<TraceEntry> entries;
  if (bytes.substr(0, kOffsetsHeaderBytes) != encode_offsets_header()) return entries;
  uint64_t expected = 0;
  for (size_t at = kOffsetsHeaderBytes; at + kOffsetBytes <= bytes.size(); at += kOffsetBytes) {
    TraceEntry entry;
    uint32_t kind;
    uint32_t source;
    uint32_t crc;
    const char* from = bytes.data() + at;
    const auto take = [&from](auto& value) {
      std::memcpy(&value, from, sizeof value);
      from += sizeof value;
    };
    take(entry.offset);
    take(entry.step);
    take(entry.group);
    take(entry.payload_bytes);
    take(entry.raw_bytes);
    take(entry.crc);
    take(kind);
    take(source);
    take(crc);
    if (crc != crc32c(bytes.data() + at, kOffsetBytes - 4) || entry.offset < expected) break;
    entry.kind = static_cast<RecordKind>(kind);
    entry.source = static_cast<GroupSource>(source);
    expected = entry.offset + kRecordHeaderBytes + entry.payload_bytes;
    entries.push_back(entry);
  }
  return entries;
}

}  // namespace zeroth
