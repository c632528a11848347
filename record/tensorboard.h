// Scalars for TensorBoard, written without protobuf: TFRecord framing (length, masked CRC-32C,
// data, masked CRC-32C) around hand-encoded Event messages (tensorflow/core/util/event.proto,
// framework/summary.proto).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/files.h"

namespace zeroth {

// One scalar of a step; `first` is TensorBoard's tag.
using Scalars = std::vector<std::pair<std::string, double>>;

// The framed bytes of the event that opens every file.
std::string tensorboard_header(double wall_time);
// The framed bytes of one event with a Summary of `scalars`; values are stored as float32.
std::string tensorboard_event(int64_t step, double wall_time, const Scalars& scalars);

// Appends to a folder of event files. The file's name carries the first step it may hold, so that a
// resumed run starts a new file that sorts after the old ones: TensorBoard, even one that is open,
// reads them in that order. Throws Error on a full or read-only disk. Not thread safe.
class TensorBoardWriter {
 public:
  explicit TensorBoardWriter(const std::filesystem::path& folder);
  ~TensorBoardWriter();
  void write(int64_t step, double wall_time, const Scalars& scalars);
  // Drops every event after `step`, and a half-written last one; they go to the folder `aside`
  // unless it is empty.
  void truncate_to(int64_t step, const std::filesystem::path& aside = {});

 private:
  std::filesystem::path folder_;
  std::unique_ptr<FileWriter> file_;
};

}  // namespace zeroth
