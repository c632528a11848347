// The trace store of a run: RUN/traces/stream.zst (append-only records, docs/traces.md) and
// RUN/traces/offsets.idx (where each record starts; a cache that is rebuilt when it is missing or
// wrong).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/files.h"
#include "record/trace_codec.h"
#include "record/trace_format.h"

namespace zeroth {

// Why a group was sampled.
enum class GroupSource : uint32_t {
  kTrain = 0,      // it was trained on
  kProbe = 1,      // the fixed problems that are sampled every N steps with a fixed seed
  kEval = 2,       // an evaluation during the run
  kDiscarded = 3,  // dropped by dynamic sampling or staleness
};
const char* to_string(GroupSource source);  // "train", "probe", "eval", "discarded"

// Writes a run's traces. One process at a time (the run's lock sees to that); not thread safe.
// Bytes depend only on what is written, never on time. Errors (full disk, foreign or newer stream)
// throw Error(kFailed) that names the file.
class TraceWriter {
 public:
  // Opens or creates the store. A half-written last record is cut off. `run_info` and the
  // vocabulary are stored when the stream is new; `run_info` should hold {"task": {"name",
  // "options"}} so that readers can grade candidate answers.
  TraceWriter(const std::filesystem::path& folder, const Json& run_info, Vocabulary vocabulary);
  ~TraceWriter();

  // Steps must not decrease. Written with one write(2) and not synced: kill -9 loses nothing, a
  // power cut the tail.
  void append(int64_t step, int64_t group, GroupSource source, const Group& samples);
  void annotate(int64_t step, int64_t group, GroupSource source, const std::string& name,
                const std::vector<std::vector<float>>& values);
  // Drops every record of a later step; they go to the folder `aside` unless it is empty.
  void truncate_to(int64_t step, const std::filesystem::path& aside = {});
  void sync();
  // Size of the stream so far.
  uint64_t bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Where a group or an annotation stands.
struct TraceEntry {
  uint64_t offset = 0;
  uint32_t step = 0;
  uint32_t group = 0;
  uint32_t payload_bytes = 0;
  uint32_t raw_bytes = 0;
  uint32_t crc = 0;  // of the record header, which chains to every record before
  RecordKind kind = RecordKind::kGroup;
  GroupSource source = GroupSource::kTrain;
};

// Bytes of the stream that no intact record covers.
struct TraceDamage {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::string what;
};

// Reads a store that may be growing, shrinking (a resumed run) or damaged. Only ever reads, never
// locks, so it cannot disturb the run. Intact records are returned whatever is broken around them;
// damaged ones never. Not thread safe.
class TraceReader {
 public:
  // Throws Error when there is no stream, or it is another program's or a newer version's.
  explicit TraceReader(const std::filesystem::path& folder);
  ~TraceReader();

  // Looks for records that were appended since. `verify` also checks every payload's checksum.
  // Returns false when the stream was replaced or cut behind what was read: entries() then starts
  // anew and generation() has grown.
  bool refresh(bool verify = false);
  const std::vector<TraceEntry>& groups() const;  // in stream order
  uint64_t generation() const;
  uint64_t end() const;  // offset behind the last complete record
  const std::vector<TraceDamage>& damage() const;
  const Json& run_info() const;
  const Vocabulary& vocabulary() const;

  // The samples of a group. Throws Error when the record is damaged.
  Group read(const TraceEntry& entry) const;
  // What was learnt about it later.
  Annotations annotations(const TraceEntry& entry) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth
