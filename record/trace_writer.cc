#include <algorithm>

#include "core/cut_file.h"
#include "core/error.h"
#include "record/trace_scan.h"
#include "record/trace_store.h"

namespace zeroth {

namespace fs = std::filesystem;

const char* to_string(GroupSource source) {
  switch (source) {
    case GroupSource::kTrain:
      return "train";
    case GroupSource::kProbe:
      return "probe";
    case GroupSource::kEval:
      return "eval";
    case GroupSource::kDiscarded:
      return "discarded";
  }
  return "unknown";
}

struct TraceWriter::Impl {
  fs::path stream_path;
  fs::path offsets_path;
  Vocabulary vocabulary;
  std::unique_ptr<FileWriter> stream;
  std::unique_ptr<FileWriter> offsets;
  std::vector<TraceEntry> entries;  // every record
  uint64_t end = 0;
  uint32_t previous = 0;
  uint32_t last_step = 0;

  // Half-written index files of a process that was killed; the run's lock says that none is at
  // work.
  void remove_leftovers() const {
    const std::string beginning = offsets_path.filename().string() + ".tmp.";
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(offsets_path.parent_path(), ignored)) {
      if (entry.path().filename().string().rfind(beginning, 0) == 0)
        fs::remove(entry.path(), ignored);
    }
  }

  // Finds the end of what an earlier process wrote and cuts off what it could not finish.
  void recover() {
    if (!fs::exists(stream_path)) return;
    ScanState state;
    PositionalFile file(stream_path);
    std::vector<RecordHeader> headers;
    scan_stream(file, state, /*verify=*/false,
                [&](const RecordHeader& header) { headers.push_back(header); });
    // A power cut can leave a record of the right length whose pages never reached the disk.
    while (!headers.empty() && !read_payload(file, headers.back())) {
      state.end = headers.back().offset;
      headers.pop_back();
    }
    if (headers.empty()) state.end = 0;
    for (const RecordHeader& header : headers) entries.push_back(entry_of(header));
    if (state.end < file.size()) fs::resize_file(stream_path, state.end);
  }

  void reopen() {
    stream = std::make_unique<FileWriter>(stream_path, /*append=*/true);
    end = stream->size();
    previous = entries.empty() ? 0 : entries.back().crc;
    last_step = entries.empty() ? 0 : entries.back().step;
    std::string index = encode_offsets_header();
    for (const TraceEntry& entry : entries) index += encode_offset(entry);
    write_file_atomic(offsets_path, index);
    offsets = std::make_unique<FileWriter>(offsets_path, /*append=*/true);
  }

  void write(RecordKind kind, int64_t step, int64_t group, GroupSource source,
             std::string_view payload, uint16_t version = 1) {
    RecordHeader header;
    header.version = version;
    header.kind = kind;
    header.step = static_cast<uint32_t>(step);
    header.group = static_cast<uint32_t>(group);
    header.offset = end;
    header.previous = previous;
    header.flags = static_cast<uint32_t>(source);
    const std::string bytes = encode_record(header, payload);
    stream->write(bytes);
    entries.push_back(entry_of(header));
    offsets->write(encode_offset(entries.back()));
    end = header.end();
    previous = header.crc;
    last_step = header.step;
  }

  void check_step(int64_t step) const {
    if (step < last_step || step > UINT32_MAX) {
      fail("trace records must come in step order: step " + std::to_string(step) + " after step " +
               std::to_string(last_step) + " in " + stream_path.string(),
           "cut the store back with truncate_to before writing earlier steps again");
    }
  }
};

TraceWriter::TraceWriter(const fs::path& folder, const Json& run_info, Vocabulary vocabulary)
    : impl_(std::make_unique<Impl>()) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    fail("cannot create " + folder.string() + ": " + error.message(),
         "give an output folder that this user may write to");
  }
  impl_->stream_path = folder / kStreamName;
  impl_->offsets_path = folder / kOffsetsName;
  impl_->remove_leftovers();
  impl_->vocabulary = std::move(vocabulary);
  impl_->recover();
  impl_->reopen();
  const size_t have = impl_->entries.size();
  if (have < 1) impl_->write(RecordKind::kRun, 0, 0, GroupSource::kTrain, run_info.dump());
  // Every text of the stream depends on the vocabulary, so it stands there twice: one damaged byte
  // must not cost it.
  for (size_t copies = have < 1 ? 0 : have - 1; copies < 2; ++copies) {
    impl_->write(RecordKind::kVocabulary, 0, 0, GroupSource::kTrain,
                 encode_vocabulary(impl_->vocabulary));
  }
}

TraceWriter::~TraceWriter() = default;

void TraceWriter::append(int64_t step, int64_t group, GroupSource source, const Group& samples) {
  impl_->check_step(step);
  impl_->write(RecordKind::kGroup, step, group, source, encode_group(samples, impl_->vocabulary),
               group_version(samples));
}

void TraceWriter::annotate(int64_t step, int64_t group, GroupSource source, const std::string& name,
                           const std::vector<std::vector<float>>& values) {
  impl_->check_step(step);
  impl_->write(RecordKind::kAnnotation, step, group, source, encode_annotation(name, values));
}

void TraceWriter::truncate_to(int64_t step, const fs::path& aside) {
  auto& entries = impl_->entries;
  const auto later = std::find_if(entries.begin(), entries.end(), [step](const TraceEntry& entry) {
    return static_cast<int64_t>(entry.step) > step && entry.kind != RecordKind::kRun &&
           entry.kind != RecordKind::kVocabulary;
  });
  if (later == entries.end()) return;
  const uint64_t cut = later->offset;
  entries.erase(later, entries.end());
  impl_->stream.reset();
  impl_->offsets.reset();
  cut_file(impl_->stream_path, cut, aside);
  impl_->reopen();
}

void TraceWriter::sync() {
  impl_->stream->sync();
  impl_->offsets->sync();
}

uint64_t TraceWriter::bytes() const { return impl_->end; }

}  // namespace zeroth
