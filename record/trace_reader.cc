#include <map>
#include <tuple>

#include "core/error.h"
#include "core/json_text.h"
#include "record/trace_scan.h"
#include "record/trace_store.h"

namespace zeroth {

namespace fs = std::filesystem;

namespace {

Json run_record(const std::string& text) {
  constexpr size_t kMaxRunRecord = 16 << 20;
  if (text.size() > kMaxRunRecord) fail("the run record is too large");
  Json info = parse_json(text, "the run record", kStoredJson);
  if (!info.is_object()) fail("the run record is no object");
  return info;
}

}  // namespace

struct TraceReader::Impl {
  using Place = std::tuple<uint32_t, uint32_t, GroupSource>;  // step, group, source

  fs::path folder;
  std::unique_ptr<PositionalFile> file;
  ScanState state;
  std::vector<TraceEntry> groups;
  std::multimap<Place, TraceEntry> annotations;
  std::optional<TraceEntry>
      last;  // last record of any kind: tells whether the stream is still the same
  uint64_t generation = 0;
  Json run_info = Json::object();
  Vocabulary vocabulary;

  void clear() {
    state = {};
    groups.clear();
    annotations.clear();
    vocabulary.clear();
    last.reset();
    ++generation;
  }

  RecordHeader header_at(const TraceEntry& entry) const {
    const auto header =
        parse_record_header(file->read(entry.offset, kRecordHeaderBytes), entry.offset);
    if (!header || header->crc != entry.crc) {
      fail(file->path().string() + ": the record at offset " + std::to_string(entry.offset) +
           " is damaged or was replaced");
    }
    return *header;
  }

  std::string payload(const TraceEntry& entry) const {
    auto raw = read_payload(*file, header_at(entry));
    if (!raw) {
      fail(file->path().string() + ": the record at offset " + std::to_string(entry.offset) +
           " does not match its checksum");
    }
    return std::move(*raw);
  }

  void add(const TraceEntry& entry) {
    last = entry;
    switch (entry.kind) {
      case RecordKind::kRun:
        run_info = run_record(payload(entry));
        break;
      case RecordKind::kVocabulary:
        if (vocabulary.empty()) vocabulary = decode_vocabulary(payload(entry));
        break;
      case RecordKind::kGroup:
        groups.push_back(entry);
        break;
      case RecordKind::kAnnotation:
        annotations.emplace(Place{entry.step, entry.group, entry.source}, entry);
        break;
    }
  }

  // A damaged run or vocabulary record must not hide the groups: they are read with what is known.
  void add_if_readable(const TraceEntry& entry) {
    try {
      add(entry);
    } catch (const std::exception&) {
      state.damage.push_back({entry.offset, kRecordHeaderBytes + entry.payload_bytes,
                              "payload does not match its checksum"});
    }
  }

  // Jumps over what the offset index lists, when its last entry agrees with the stream: header
  // checksums chain, so one comparison vouches for all.
  void load_offsets() {
    const fs::path path = folder / kOffsetsName;
    std::error_code error;
    if (!fs::is_regular_file(path, error)) return;
    // One entry of 40 bytes for every record, which has at least 60.
    if (fs::file_size(path, error) > file->size() + kRecordHeaderBytes || error) return;
    const std::vector<TraceEntry> entries = decode_offsets(read_file(path, uint64_t{1} << 34));
    if (entries.empty() || entries.front().offset != 0) return;
    // The first record decides whether this is a stream that we may read at all; the scan says so
    // when it is not.
    const auto first = parse_record_header(file->read(0, kRecordHeaderBytes), 0);
    if (!first || first->kind != RecordKind::kRun || first->version > kTraceFormatVersion) return;
    const TraceEntry& tail = entries.back();
    const auto header =
        parse_record_header(file->read(tail.offset, kRecordHeaderBytes), tail.offset);
    if (!header || header->crc != tail.crc || header->end() > file->size()) return;
    uint64_t expected = 0;
    for (const TraceEntry& entry : entries) {
      if (entry.offset != expected) {
        state.damage.push_back({expected, entry.offset - expected, "no intact record header"});
      }
      expected = entry.offset + kRecordHeaderBytes + entry.payload_bytes;
    }
    for (const TraceEntry& entry : entries) add_if_readable(entry);
    state.end = header->end();
    state.previous = header->crc;
  }

  bool same_stream() const {
    if (file->deleted() || file->size() < state.end) return false;
    if (!last) return state.end == 0;
    const auto header =
        parse_record_header(file->read(last->offset, kRecordHeaderBytes), last->offset);
    return header && header->crc == last->crc;
  }
};

TraceReader::TraceReader(const fs::path& folder) : impl_(std::make_unique<Impl>()) {
  impl_->folder = folder;
  impl_->file = std::make_unique<PositionalFile>(folder / kStreamName);
  refresh();
}

TraceReader::~TraceReader() = default;

bool TraceReader::refresh(bool verify) {
  const bool same = !verify && impl_->same_stream();
  if (!same) {
    if (impl_->file->deleted()) {
      impl_->file = std::make_unique<PositionalFile>(impl_->folder / kStreamName);
    }
    impl_->clear();
  }
  if (impl_->state.end == 0 && !verify) impl_->load_offsets();
  scan_stream(*impl_->file, impl_->state, verify,
              [this](const RecordHeader& header) { impl_->add_if_readable(entry_of(header)); });
  return same;
}

const std::vector<TraceEntry>& TraceReader::groups() const { return impl_->groups; }
uint64_t TraceReader::generation() const { return impl_->generation; }
uint64_t TraceReader::end() const { return impl_->state.end; }
const std::vector<TraceDamage>& TraceReader::damage() const { return impl_->state.damage; }
const Json& TraceReader::run_info() const { return impl_->run_info; }
const Vocabulary& TraceReader::vocabulary() const { return impl_->vocabulary; }

Group TraceReader::read(const TraceEntry& entry) const {
  return decode_group(impl_->payload(entry), impl_->vocabulary);
}

Annotations TraceReader::annotations(const TraceEntry& entry) const {
  Annotations annotations;
  const auto [from, to] =
      impl_->annotations.equal_range(Impl::Place{entry.step, entry.group, entry.source});
  for (auto at = from; at != to; ++at) {
    decode_annotation(impl_->payload(at->second), annotations);
  }
  return annotations;
}

}  // namespace zeroth
