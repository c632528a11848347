#include "record/tensorboard.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "core/cut_file.h"
#include "core/error.h"
#include "record/crc32c.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

// TensorFlow stores rotated and offset checksums, because the CRC of data that contains its own CRC
// is weak.
uint32_t masked_crc(std::string_view data) {
  const uint32_t crc = crc32c(data.data(), data.size());
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

template <class T>
void append_raw(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_varint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

// Protobuf wire types used here: 0 varint, 1 64-bit, 2 bytes, 5 32-bit; a key is (field << 3 |
// type).
void append_bytes_field(std::string& out, int field, std::string_view bytes) {
  append_varint(out, static_cast<uint64_t>(field << 3 | 2));
  append_varint(out, bytes.size());
  out.append(bytes);
}

std::string framed(std::string_view data) {
  std::string length;
  append_raw(length, static_cast<uint64_t>(data.size()));
  std::string out = length;
  append_raw(out, masked_crc(length));
  out.append(data);
  append_raw(out, masked_crc(data));
  return out;
}

std::string event_prefix(double wall_time) {
  std::string event;
  append_varint(event, 1 << 3 | 1);  // Event.wall_time = 1, double
  append_raw(event, wall_time);
  return event;
}

std::optional<uint64_t> read_varint(std::string_view bytes, size_t& at) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && at < bytes.size(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return std::nullopt;
}

// Event.step of an encoded event; 0 when it has none (the opening event).
int64_t event_step(std::string_view event) {
  size_t at = 0;
  while (at < event.size()) {
    const auto key = read_varint(event, at);
    if (!key) return 0;
    const uint64_t type = *key & 7;
    if (type == 0) {
      const auto value = read_varint(event, at);
      if (!value) return 0;
      if (*key >> 3 == 2) return static_cast<int64_t>(*value);
    } else if (type == 1 || type == 5) {
      at += type == 1 ? 8 : 4;
    } else {
      const auto size = read_varint(event, at);
      if (type != 2 || !size || *size > event.size() - at) return 0;
      at += *size;
    }
  }
  return 0;
}

// How many leading bytes of a record file hold intact events up to `step`.
size_t intact_prefix(std::string_view file, int64_t step) {
  size_t at = 0;
  while (file.size() - at >= 16) {
    uint64_t length;
    uint32_t crc;
    std::memcpy(&length, file.data() + at, 8);
    std::memcpy(&crc, file.data() + at + 8, 4);
    if (crc != masked_crc(file.substr(at, 8)) || length > file.size() - at - 16) break;
    const std::string_view event = file.substr(at + 12, length);
    std::memcpy(&crc, file.data() + at + 12 + length, 4);
    if (crc != masked_crc(event) || event_step(event) > step) break;
    at += 16 + length;
  }
  return at;
}

std::string file_name(int64_t first_step) {
  std::string digits = std::to_string(first_step);
  digits.insert(0, digits.size() < 10 ? 10 - digits.size() : 0, '0');
  return "events.out.tfevents." + digits + ".zeroth";
}

std::vector<fs::path> event_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().rfind("events.out.tfevents.", 0) == 0) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::string tensorboard_header(double wall_time) {
  std::string event = event_prefix(wall_time);
  append_bytes_field(event, 3, "brain.Event:2");  // Event.file_version = 3
  return framed(event);
}

std::string tensorboard_event(int64_t step, double wall_time, const Scalars& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    std::string entry;
    append_bytes_field(entry, 1, tag);  // Summary.Value.tag = 1
    append_varint(entry, 2 << 3 | 5);   // Summary.Value.simple_value = 2, float
    append_raw(entry, static_cast<float>(value));
    append_bytes_field(summary, 1, entry);  // Summary.value = 1
  }
  std::string event = event_prefix(wall_time);
  append_varint(event, 2 << 3 | 0);  // Event.step = 2
  append_varint(event, static_cast<uint64_t>(step));
  append_bytes_field(event, 5, summary);  // Event.summary = 5
  return framed(event);
}

TensorBoardWriter::TensorBoardWriter(const fs::path& folder) : folder_(folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    fail("cannot create " + folder.string() + ": " + error.message(),
         "give an output folder that this user may write to");
  }
}

TensorBoardWriter::~TensorBoardWriter() = default;

void TensorBoardWriter::write(int64_t step, double wall_time, const Scalars& scalars) {
  if (!file_) {
    const fs::path path = folder_ / file_name(step);
    const bool fresh = !fs::exists(path) || fs::file_size(path) == 0;
    file_ = std::make_unique<FileWriter>(path, /*append=*/true);
    if (fresh) file_->write(tensorboard_header(wall_time));
  }
  file_->write(tensorboard_event(step, wall_time, scalars));
}

void TensorBoardWriter::truncate_to(int64_t step, const fs::path& aside) {
  file_.reset();
  for (const fs::path& path : event_files(folder_)) {
    const std::string content = read_file(path);
    const size_t keep = intact_prefix(content, step);
    const size_t header = tensorboard_header(0).size();
    cut_file(path, keep <= header ? 0 : keep, aside);
    if (keep <= header) fs::remove(path);
  }
}

}  // namespace zeroth
