// Traces whose checksums are right and whose content is anything: records of each kind, one after
// the other, and the bytes as they are. Cut into parts at the bytes "\n==", each part one record.
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>

#include "core/error.h"
#include "fuzz/cpu_limit.h"
#include "record/crc32c.h"
#include "record/trace_store.h"
#include "scan/scanners.h"

using namespace zeroth;

namespace {

std::filesystem::path folder() {
  static const std::filesystem::path path = [] {
    std::string pattern = "/dev/shm/zeroth-fuzz-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    return std::filesystem::path(pattern);
  }();
  return path;
}

// The first byte of a part chooses the kind; 'z' leaves the payload as it is, so that the unpacking
// meets wrong bytes under a right checksum.
std::string record(std::string_view part, uint64_t offset, uint32_t* previous) {
  RecordHeader header;
  const char choice = part.empty() ? 'g' : part[0];
  header.kind = choice == 'r'   ? RecordKind::kRun
                : choice == 'v' ? RecordKind::kVocabulary
                : choice == 'a' ? RecordKind::kAnnotation
                                : RecordKind::kGroup;
  header.step = part.size() > 1 ? static_cast<unsigned char>(part[1]) % 4 : 0;
  header.group = part.size() > 2 ? static_cast<unsigned char>(part[2]) % 4 : 0;
  header.offset = offset;
  header.previous = *previous;
  const std::string_view payload = part.substr(std::min<size_t>(3, part.size()));
  std::string bytes = encode_record(header, payload);
  if (choice == 'z') {
    bytes.resize(kRecordHeaderBytes);
    bytes += payload;
    const auto size = static_cast<uint32_t>(payload.size());
    const uint32_t crc = crc32c(payload.data(), payload.size());
    std::memcpy(bytes.data() + 32, &size, 4);
    std::memcpy(bytes.data() + 44, &crc, 4);
    header.crc = crc32c(bytes.data(), kRecordHeaderBytes - 4);
    std::memcpy(bytes.data() + 56, &header.crc, 4);
  }
  *previous = header.crc;
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const CpuLimit limit(5);
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  std::string stream;
  uint32_t previous = 0;
  for (size_t at = 0; at <= input.size();) {
    const size_t end = std::min(input.find("\n==", at), input.size());
    stream += record(input.substr(at, end - at), stream.size(), &previous);
    at = end + 3;
  }
  std::ofstream(folder() / "stream.zst", std::ios::binary) << stream;
  std::ofstream(folder() / "offsets.idx", std::ios::binary) << input;
  try {
    TraceReader reader(folder());
    reader.refresh(/*verify=*/true);
    const SampleScanner scanner(nullptr);
    for (const TraceEntry& entry : reader.groups()) {
      try {
        const Group group = reader.read(entry);
        scanner.scan(group);
        encode_group(group, reader.vocabulary());
        reader.annotations(entry);
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  try {
    decode_group(input, {"a", "bc"});
  } catch (const Error&) {
  }
  return 0;
}
