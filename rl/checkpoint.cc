#include "rl/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/sha256.h"
#include "core/version.h"
#include "kernels/ops.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr int kFormat = 1;
constexpr char kStateFile[] = "trainer_state.json";
constexpr char kOptimizerFile[] = "optimizer.bin";
constexpr char kReferenceFile[] = "reference.bin";

fs::path folder_of(const fs::path& run) { return run / "checkpoints"; }

// Number N of a folder name "step-N", or -1.
int64_t step_number(const std::string& name) {
  constexpr std::string_view kPrefix = "step-";
  if (!name.starts_with(kPrefix)) return -1;
  int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, step);
  return error == std::errc() && stop == end ? step : -1;
}

// Names and shapes decide where a number lies in the flat buffers.
std::string layout_hash(const Parameters& parameters) {
  Sha256 hash;
  for (const ParameterInfo& info : parameters.infos()) {
    hash.update(info.name);
    for (int64_t n : info.shape) hash.update(" " + std::to_string(n));
    hash.update("@" + std::to_string(info.offset) + "\n");
  }
  return hash.hex();
}

template <class F>
void guard_disk(const fs::path& path, const F& action) {
  try {
    action();
  } catch (const fs::filesystem_error& error) {
    fail("cannot write " + path.string() + ": " + error.code().message(),
         "free space or choose a folder that you may write to; earlier checkpoints are kept");
  }
}

void write_floats(const fs::path& path, std::initializer_list<std::span<const float>> parts) {
  FileWriter writer(path);
  for (std::span<const float> part : parts) writer.write(part.data(), part.size_bytes());
  writer.close();
}

void read_floats(const fs::path& path, std::initializer_list<std::span<float>> parts) {
  const MappedFile file(path);
  size_t expected = 0;
  for (std::span<float> part : parts) expected += part.size_bytes();
  if (file.bytes().size() != expected) {
    fail(path.string() + " has " + std::to_string(file.bytes().size()) +
             " bytes, this policy needs " + std::to_string(expected),
         "resume with the build and the config that wrote this run");
  }
  uint64_t from = 0;
  for (std::span<float> part : parts) {
    file.read(from, std::as_writable_bytes(part));
    from += part.size_bytes();
  }
}

Json describe_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  Json described = Json::object();
  for (const fs::path& file : files) {
    described[file.filename().string()] = {{"bytes", fs::file_size(file)},
                                           {"sha256", sha256_file(file)}};
  }
  return described;
}

void write_checkpoint(const fs::path& folder, int64_t step, const CheckpointSource& source) {
  source.policy.save(folder);
  for (const auto& [name, content] : source.tokenizer) {
    if (fs::exists(folder / name)) continue;  // config.json is the policy's
    FileWriter writer(folder / name);
    writer.write(content);
    writer.close();
  }
  write_floats(folder / kOptimizerFile,
               {source.optimizer.first_moment(), source.optimizer.second_moment()});
  if (source.reference != nullptr)
    write_floats(folder / kReferenceFile, {source.reference->parameters().values()});

  Json manifest;
  manifest["format"] = kFormat;
  manifest["step"] = step;
  manifest["optimizer_steps"] = source.optimizer.steps();
  manifest["numeric_contract"] = kernels::contract_hash();
  manifest["layout"] = layout_hash(source.policy.parameters());
  manifest["version"] = version_string();
  manifest["state"] = source.state;
  manifest["files"] = describe_files(folder);
  FileWriter writer(folder / kStateFile);
  writer.write(manifest.dump(2) + "\n");
  writer.close();
  sync_path(folder);
}

// Renamed first, so that a kill in the middle never leaves half a folder under a good name.
void remove_folder(const fs::path& folder) {
  const fs::path away = folder.parent_path() / (".old-" + folder.filename().string());
  fs::remove_all(away);
  fs::rename(folder, away);
  fs::remove_all(away);
}

int64_t latest_step(const fs::path& folder) {
  std::error_code error;
  const fs::path target = fs::read_symlink(folder / "latest", error);
  return error ? -1 : step_number(target.filename().string());
}

std::vector<int64_t> steps_in(const fs::path& folder) {
  std::vector<int64_t> steps;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const int64_t step = step_number(entry.path().filename().string());
    if (step >= 0) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

void point_latest(const fs::path& folder, int64_t step) {
  const fs::path link = folder / ".latest.tmp";
  fs::remove(link);
  fs::create_directory_symlink("step-" + std::to_string(step), link);
  fs::rename(link, folder / "latest");
  sync_path(folder);
}

std::string other_checkpoints(const fs::path& folder, int64_t bad) {
  std::string names;
  for (int64_t step : steps_in(folder)) {
    if (step != bad) names += " step-" + std::to_string(step);
  }
  if (names.empty()) return "there is no other checkpoint in this run; start it again with --out";
  return "point checkpoints/latest to another one (ln -sfn step-N latest); there are:" + names;
}

void check_files(const fs::path& folder, const Json& files, const std::string& fix) {
  for (const auto& [name, facts] : files.items()) {
    const fs::path file = folder / name;
    if (fs::path(name).filename() != name || !fs::is_regular_file(file)) {
      fail("checkpoint file " + file.string() + " is missing", fix);
    }
    const auto bytes = facts.at("bytes").get<uint64_t>();
    if (fs::file_size(file) != bytes) {
      fail("checkpoint file " + file.string() + " has " + std::to_string(fs::file_size(file)) +
               " bytes instead of " + std::to_string(bytes),
           fix);
    }
    if (sha256_file(file) != facts.at("sha256").get<std::string>()) {
      fail("checkpoint file " + file.string() +
               " is damaged: its SHA-256 differs from the recorded one",
           fix);
    }
  }
}

}  // namespace

TokenizerFiles read_tokenizer_files(const Tokenizer& tokenizer) {
  const auto contents = tokenizer.contents();
  return TokenizerFiles(contents.begin(), contents.end());
}

void save_checkpoint(const fs::path& run, int64_t step, const CheckpointSource& source,
                     int keep_last) {
  const fs::path folder = folder_of(run);
  const std::string name = "step-" + std::to_string(step);
  if (latest_step(folder) == step && fs::exists(folder / name)) return;
  guard_disk(folder / name, [&] {
    fs::create_directories(folder);
    const fs::path temporary = folder / (".tmp-" + name);
    fs::remove_all(temporary);
    fs::create_directory(temporary);
    try {
      write_checkpoint(temporary, step, source);
    } catch (...) {
      std::error_code ignored;
      fs::remove_all(temporary, ignored);  // gives the space back on a full disk
      throw;
    }
    if (fs::exists(folder / name)) remove_folder(folder / name);
    fs::rename(temporary, folder / name);
    sync_path(folder);
    point_latest(folder, step);
    if (keep_last <= 0) return;
    const std::vector<int64_t> steps = steps_in(folder);
    for (size_t i = 0; i + keep_last < steps.size(); ++i) {
      if (steps[i] != step) remove_folder(folder / ("step-" + std::to_string(steps[i])));
    }
  });
}

std::optional<TrainingCheckpoint> latest_checkpoint(const fs::path& run) {
  const fs::path folder = folder_of(run);
  if (!fs::is_symlink(folder / "latest")) return std::nullopt;
  TrainingCheckpoint checkpoint;
  const int64_t named = latest_step(folder);
  const std::string fix = fs::is_directory(folder) ? other_checkpoints(folder, named) : "";
  if (named < 0) fail((folder / "latest").string() + " does not point to a folder step-N", fix);
  checkpoint.folder = folder / ("step-" + std::to_string(named));
  const fs::path state_file = checkpoint.folder / kStateFile;
  if (!fs::is_regular_file(state_file))
    fail("checkpoint file " + state_file.string() + " is missing", fix);
  const Json manifest = read_json_file(state_file);
  try {
    const int format = manifest.at("format").get<int>();
    if (format != kFormat) {
      fail(state_file.string() + " has format " + std::to_string(format) + ", this build reads " +
               std::to_string(kFormat),
           "resume with the build that wrote the run");
    }
    const auto contract = manifest.at("numeric_contract").get<std::string>();
    if (contract != kernels::contract_hash()) {
      fail(checkpoint.folder.string() + " was written under numeric contract " + contract +
               ", this build has " + kernels::contract_hash(),
           "resume with the build that wrote the run, or start a new run from this checkpoint: set "
           "model to it");
    }
    checkpoint.step = manifest.at("step").get<int64_t>();
    checkpoint.optimizer_steps = manifest.at("optimizer_steps").get<int64_t>();
    checkpoint.state = manifest.at("state");
    if (checkpoint.step != named)
      fail(state_file.string() + " belongs to step " + std::to_string(checkpoint.step), fix);
    check_files(checkpoint.folder, manifest.at("files"), fix);
  } catch (const nlohmann::json::exception& error) {
    fail(state_file.string() + ": " + error.what(), fix);
  }
  return checkpoint;
}

void restore_trainer(const TrainingCheckpoint& checkpoint, const Policy& policy, AdamW& optimizer,
                     Policy* reference) {
  const Json manifest = read_json_file(checkpoint.folder / kStateFile);
  const auto recorded = manifest.at("layout").get<std::string>();
  const std::string layout = layout_hash(policy.parameters());
  if (recorded != layout) {
    fail(checkpoint.folder.string() + " has parameter layout " + recorded + ", this policy " +
             layout,
         "resume with the build and the config that wrote this run");
  }
  read_floats(checkpoint.folder / kOptimizerFile,
              {optimizer.first_moment(), optimizer.second_moment()});
  optimizer.set_steps(checkpoint.optimizer_steps);
  if (reference == nullptr) return;
  if (!fs::exists(checkpoint.folder / kReferenceFile)) {
    fail(checkpoint.folder.string() + " has no reference policy",
         "resume with loss.beta = 0, as the run was started");
  }
  read_floats(checkpoint.folder / kReferenceFile, {reference->parameters().values()});
  reference->publish(checkpoint.step);
}

void clean_checkpoints(const fs::path& run) {
  const fs::path folder = folder_of(run);
  if (!fs::is_directory(folder)) return;
  guard_disk(folder, [&] {
    const int64_t latest = latest_step(folder);
    std::vector<fs::path> stale;
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      const bool half =
          name.starts_with(".tmp-") || name.starts_with(".old-") || name == ".latest.tmp";
      if (half || step_number(name) > latest) stale.push_back(entry.path());
    }
    for (const fs::path& path : stale) fs::remove_all(path);
  });
}

}  // namespace zeroth
