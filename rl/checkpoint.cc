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
#include "model/formats/peft.h"
#include "rl/shared_moments.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr int kFormat = 1;
constexpr char kStateFile[] = "trainer_state.json";
constexpr char kOptimizerFile[] = "optimizer.bin";
constexpr char kReferenceFile[] = "reference.bin";
constexpr char kAdapterFolder[] = "adapter";
constexpr char kBaseFile[] = "lora_base.bin";
constexpr int64_t kPiece = int64_t{1} << 22;  // floats in memory at a time

fs::path folder_of(const fs::path& run) { return run / "checkpoints"; }

std::string name_of(int64_t step) { return "step-" + std::to_string(step); }

// Number N of a folder name "step-N", or -1.
int64_t step_number(const std::string& name) {
  constexpr std::string_view kPrefix = "step-";
  if (!name.starts_with(kPrefix)) return -1;
  int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, step);
  const bool whole = error == std::errc() && stop == end && step >= 0;
  return whole && name == name_of(step) ? step : -1;  // "step-04" is somebody's copy
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

// All masters, of other ranks too.
void write_masters(const fs::path& path, const Policy& policy) {
  const auto all = static_cast<int64_t>(policy.parameters().values().size());
  FileWriter writer(path);
  std::vector<float> piece;
  for (int64_t at = 0; at < all; at += static_cast<int64_t>(piece.size())) {
    piece.resize(static_cast<size_t>(std::min(kPiece, all - at)));
    policy.read_masters(at, piece);
    writer.write(piece.data(), piece.size() * sizeof(float));
  }
  writer.close();
}

// Of every part the floats in `ranges`.
void read_floats(const fs::path& path, std::initializer_list<std::span<float>> parts,
                 const FloatRanges& ranges) {
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
    for (const FloatRange& range : ranges) {
      file.read(from + range.begin * sizeof(float),
                std::as_writable_bytes(part.subspan(range.begin, range.end - range.begin)));
    }
    from += part.size_bytes();
  }
}

Json describe_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_directory()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  Json described = Json::object();
  for (const fs::path& file : files) {
    described[file.lexically_relative(folder).generic_string()] = {{"bytes", fs::file_size(file)},
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
  // Experts of other ranks come while these wait in what follows.
  if (source.reference != nullptr) write_masters(folder / kReferenceFile, *source.reference);
  if (source.team != nullptr) {
    FileWriter writer(folder / kOptimizerFile);
    gather_moments(source.optimizer, *source.team, [&](std::span<const float> piece) {
      writer.write(piece.data(), piece.size_bytes());
    });
    writer.close();
  } else {
    write_floats(folder / kOptimizerFile,
                 {source.optimizer.first_moment(), source.optimizer.second_moment()});
  }
  if (source.low_rank != nullptr) {
    fs::create_directory(folder / kAdapterFolder);
    write_adapter(folder / kAdapterFolder, source.low_rank->adapter(), source.base,
                  source.low_rank->bits());
    sync_path(folder / kAdapterFolder);
    FileWriter writer(folder / kBaseFile);
    for (const std::span<std::byte> bits : source.low_rank->base())
      writer.write(bits.data(), bits.size());
    writer.close();
  }
  for (const auto& [name, content] : source.files) {
    FileWriter writer(folder / name);
    writer.write(content);
    writer.close();
  }

  Json manifest;
  manifest["format"] = kFormat;
  manifest["step"] = step;
  manifest["optimizer_steps"] = source.optimizer.steps();
  if (source.optimizer.moment_steps() != source.optimizer.steps())
    manifest["moment_steps"] = source.optimizer.moment_steps();
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

// Renamed first, so that a kill in the middle never leaves half a folder under a good name. What is
// left of it goes with the next checkpoint.
void remove_folder(const fs::path& folder) {
  const fs::path away = folder.parent_path() / (".old-" + folder.filename().string());
  fs::remove_all(away);
  fs::rename(folder, away);
  fs::remove_all(away);
}

// What is wrong with a checkpoint that is not whole.
struct Damage {
  std::string what;
};

// Folders that may be checkpoints, newest first: step-N, and `latest` where it leads to one that
// has no such folder, as in a copy that followed links.
std::vector<std::pair<int64_t, fs::path>> candidates(const fs::path& run) {
  std::vector<std::pair<int64_t, fs::path>> found;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder_of(run), none)) {
    const int64_t step = step_number(entry.path().filename().string());
    if (step >= 0 && entry.is_directory()) found.emplace_back(step, entry.path());
  }
  const fs::path latest = folder_of(run) / "latest";
  if (fs::is_regular_file(latest / kStateFile, none)) {
    int64_t step = -1;
    try {
      step = read_json_file(latest / kStateFile).at("step").get<int64_t>();
    } catch (const std::exception&) {
      // Its own check names the fault.
    }
    const bool known =
        std::any_of(found.begin(), found.end(), [&](const auto& c) { return c.first == step; });
    if (!known) found.emplace_back(step, latest);
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

// Makes `name` a link to step-`step`.
void point_link(const fs::path& folder, const std::string& name, int64_t step) {
  const fs::path link = folder / name, fresh = folder / (".tmp-" + name);
  fs::remove_all(fresh);
  fs::create_directory_symlink(name_of(step), fresh);
  // A copy that followed the link left a folder, which no rename replaces.
  if (fs::is_directory(fs::symlink_status(link))) {
    fs::remove_all(folder / (".old-" + name));
    fs::rename(link, folder / (".old-" + name));
  }
  fs::rename(fresh, link);
  sync_path(folder);
}

void point_latest(const fs::path& folder, int64_t step) { point_link(folder, "latest", step); }

// Everything that the checkpoint of `step`, which is safe now, makes superfluous.
void prune(const fs::path& folder, int64_t step, const KeepRule& rule) {
  std::vector<int64_t> steps;
  std::vector<fs::path> half;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".tmp-") || name.starts_with(".old-")) half.push_back(entry.path());
    if (step_number(name) >= 0) steps.push_back(step_number(name));
  }
  for (const fs::path& path : half) fs::remove_all(path);
  std::sort(steps.rbegin(), steps.rend());
  int newer = 0;  // not above `step`
  for (int64_t s : steps) {
    const bool among_last = s <= step && (rule.last <= 0 || newer < rule.last);
    const bool named = s <= step && ((rule.every > 0 && s % rule.every == 0) || s == rule.best);
    newer += s <= step;
    if (!among_last && !named) remove_folder(folder / name_of(s));
  }
}

void check_files(const fs::path& folder, const Json& files) {
  for (const auto& [name, facts] : files.items()) {
    const fs::path file = folder / name;
    const fs::path plain = fs::path(name).lexically_normal();
    const bool inside =
        !plain.empty() && plain == fs::path(name) && plain.is_relative() && *plain.begin() != "..";
    if (!inside || !fs::is_regular_file(file))
      throw Damage{"checkpoint file " + file.string() + " is missing"};
    const auto bytes = facts.at("bytes").get<uint64_t>();
    if (fs::file_size(file) != bytes) {
      throw Damage{"checkpoint file " + file.string() + " has " +
                   std::to_string(fs::file_size(file)) + " bytes instead of " +
                   std::to_string(bytes)};
    }
    if (sha256_file(file) != facts.at("sha256").get<std::string>()) {
      throw Damage{"checkpoint file " + file.string() +
                   " is damaged: its SHA-256 differs from the recorded one"};
    }
  }
}

// `named`: the step in the folder's name, or -1. Throws Damage, or Error when the checkpoint is not
// for this build.
TrainingCheckpoint read_checkpoint(const fs::path& folder, int64_t named) {
  const fs::path state_file = folder / kStateFile;
  if (!fs::is_regular_file(state_file))
    throw Damage{"checkpoint file " + state_file.string() + " is missing"};
  TrainingCheckpoint checkpoint;
  checkpoint.folder = folder;
  int format = 0;
  std::string contract;
  try {
    const Json manifest = read_json_file(state_file);
    format = manifest.at("format").get<int>();
    checkpoint.step = manifest.at("step").get<int64_t>();
    checkpoint.optimizer_steps = manifest.at("optimizer_steps").get<int64_t>();
    checkpoint.moment_steps = manifest.value("moment_steps", checkpoint.optimizer_steps);
    checkpoint.state = manifest.at("state");
    contract = manifest.at("numeric_contract").get<std::string>();
    if (named >= 0 && checkpoint.step != named)
      throw Damage{state_file.string() + " belongs to step " + std::to_string(checkpoint.step)};
    check_files(folder, manifest.at("files"));
  } catch (const nlohmann::json::exception& error) {
    throw Damage{"checkpoint file " + state_file.string() + " is damaged: " + error.what()};
  } catch (const fs::filesystem_error& error) {
    throw Damage{"checkpoint " + folder.string() + " cannot be read: " + error.code().message()};
  } catch (const Error& error) {
    throw Damage{error.what()};
  }
  if (format != kFormat) {
    fail(state_file.string() + " has format " + std::to_string(format) + ", this build reads " +
             std::to_string(kFormat),
         "resume with the build that wrote the run");
  }
  if (!kernels::goes_on_from(contract)) {
    const auto named = [](const std::string& hash) {
      return kernels::contract_name(hash) + " (" + hash.substr(0, 16) + ")";
    };
    fail(folder.string() + " was written under numeric " + named(contract) + ", this build has " +
             named(kernels::contract_hash()) + ": it would go on with other bits",
         "resume with the build that wrote the run, or start a new run from this checkpoint: set "
         "model to it");
  }
  return checkpoint;
}

}  // namespace

TokenizerFiles read_tokenizer_files(const Tokenizer& tokenizer) {
  const auto contents = tokenizer.contents();
  return TokenizerFiles(contents.begin(), contents.end());
}

void save_checkpoint(const fs::path& run, int64_t step, const CheckpointSource& source,
                     const KeepRule& keep) {
  if (source.team != nullptr && !source.team->first())
    return gather_moments(source.optimizer, *source.team, {});
  const fs::path folder = folder_of(run);
  const fs::path final = folder / name_of(step);
  guard_disk(final, [&] {
    fs::create_directories(folder);
    const fs::path temporary = folder / (".tmp-" + name_of(step));
    fs::remove_all(temporary);
    fs::create_directory(temporary);
    try {
      write_checkpoint(temporary, step, source);
    } catch (...) {
      std::error_code ignored;
      fs::remove_all(temporary, ignored);  // gives the space back on a full disk
      throw;
    }
    if (fs::exists(fs::symlink_status(final))) {
      fs::remove_all(folder / (".old-" + name_of(step)));
      fs::rename(final, folder / (".old-" + name_of(step)));
    }
    fs::rename(temporary, final);
    sync_path(folder);
    point_latest(folder, step);
    if (keep.best >= 0) point_best(run, keep.best);
    prune(folder, step, keep);
  });
}

void point_best(const fs::path& run, int64_t step) {
  const fs::path folder = folder_of(run), best = folder / "best";
  guard_disk(best, [&] {
    if (fs::is_directory(folder / name_of(step))) {
      point_link(folder, "best", step);
    } else if (fs::is_symlink(fs::symlink_status(best))) {
      fs::remove(best);
    }
  });
}

void mend_latest(const fs::path& run, int64_t step) {
  const fs::path latest = folder_of(run) / "latest";
  const fs::file_status status = fs::symlink_status(latest);
  if (fs::exists(status) && !fs::is_symlink(status)) return;
  if (!fs::is_directory(folder_of(run) / name_of(step))) return;
  guard_disk(latest, [&] { point_latest(folder_of(run), step); });
}

bool has_checkpoints(const fs::path& run) { return !candidates(run).empty(); }

std::optional<TrainingCheckpoint> newest_checkpoint(const fs::path& run) {
  const auto found = candidates(run);
  if (found.empty()) return std::nullopt;
  std::vector<std::string> faults;
  for (const auto& [step, folder] : found) {
    try {
      TrainingCheckpoint checkpoint = read_checkpoint(folder, step);
      checkpoint.passed_over = std::move(faults);
      return checkpoint;
    } catch (const Damage& damage) {
      faults.push_back(damage.what);
    }
  }
  std::string list;
  for (const std::string& fault : faults) list += "\n  " + fault;
  fail("no checkpoint of " + run.string() + " is whole:" + list,
       "bring back an intact copy of one, or start a new run: --out NEW; nothing was changed");
}

bool has_reference(const TrainingCheckpoint& checkpoint) {
  return fs::exists(checkpoint.folder / kReferenceFile);
}

// The base that the adapter is merged into. One that runs share is restored already: it must be the
// same.
static void restore_base(const fs::path& path, LowRankUpdate& low_rank) {
  const MappedFile file(path);
  const std::vector<std::span<std::byte>> parts = low_rank.base();
  size_t expected = 0;
  for (const std::span<std::byte> part : parts) expected += part.size();
  if (file.bytes().size() != expected) {
    fail(path.string() + " has " + std::to_string(file.bytes().size()) + " bytes, a base in " +
             name_of(low_rank.bits()) + " needs " + std::to_string(expected),
         "resume with the build and the config that wrote this run");
  }
  uint64_t at = 0;
  std::vector<std::byte> found;
  for (const std::span<std::byte> part : parts) {
    found.resize(part.size());
    file.read(at, found);
    at += part.size();
    if (!low_rank.shares_base()) {
      std::copy(found.begin(), found.end(), part.begin());
    } else if (!std::equal(found.begin(), found.end(), part.begin())) {
      fail(path.string() + " is another base than that of the runs beside this one",
           "resume each of them alone");
    }
  }
}

// The adapter and the base that it is merged into.
static void restore_adapter(const fs::path& folder, const Policy& policy, LowRankUpdate& low_rank) {
  if (!fs::exists(folder / kBaseFile)) {
    fail(folder.string() + " has no adapter: all its weights have learnt",
         "resume without lora, or start a new run from this checkpoint: set model to it");
  }
  const auto found = read_adapter(folder / kAdapterFolder, policy.config());
  Parameters& own = low_rank.parameters();
  const auto& infos = own.infos();
  const auto& others = found->parameters().infos();
  bool same = infos.size() == others.size();
  for (size_t i = 0; same && i < infos.size(); ++i)
    same = infos[i].name == others[i].name && infos[i].shape == others[i].shape;
  if (!same) {
    fail((folder / kAdapterFolder).string() +
             " adapts other layers, or by another rank, than lora.*",
         "resume with the config that wrote this run");
  }
  const std::span<const float> values = std::as_const(*found).parameters().values();
  std::copy(values.begin(), values.end(), own.values().begin());
  restore_base(folder / kBaseFile, low_rank);
}

// A reference with a base: the policy's own, which is restored, or one that was refreshed.
static void restore_over_base(const fs::path& path, const Policy& policy, Policy& reference) {
  const MappedFile file(path);
  const size_t floats = reference.parameters().values().size();
  if (file.bytes().size() != floats * sizeof(float)) {
    fail(path.string() + " has " + std::to_string(file.bytes().size()) +
             " bytes, this policy needs " + std::to_string(floats * sizeof(float)),
         "resume with the build and the config that wrote this run");
  }
  const auto source = flat_source(reference.parameters().infos(),
                                  {reinterpret_cast<const float*>(file.bytes().data()), floats});
  if (reference.base() != policy.base()) reference.base()->fill(*source);
  reference.take_exact(*source);
}

void restore_trainer(const TrainingCheckpoint& checkpoint, const Policy& policy, AdamW& optimizer,
                     Policy* reference, const Team* team, LowRankUpdate* low_rank) {
  const Json manifest = read_json_file(checkpoint.folder / kStateFile);
  const auto recorded = manifest.at("layout").get<std::string>();
  const std::string layout = layout_hash(policy.parameters());
  if (recorded != layout) {
    fail(checkpoint.folder.string() + " has parameter layout " + recorded + ", this policy " +
             layout,
         "resume with the build and the config that wrote this run");
  }
  const auto read = team != nullptr
                        ? FloatRanges(optimizer.shards().of(team->rank(), team->size()))
                        : FloatRanges{{0, static_cast<int64_t>(optimizer.first_moment().size())}};
  read_floats(checkpoint.folder / kOptimizerFile,
              {optimizer.first_moment(), optimizer.second_moment()}, read);
  optimizer.set_steps(checkpoint.optimizer_steps, checkpoint.moment_steps);
  if (low_rank != nullptr) restore_adapter(checkpoint.folder, policy, *low_rank);
  if (reference == nullptr) return;
  if (!fs::exists(checkpoint.folder / kReferenceFile)) {
    fail(checkpoint.folder.string() + " has no reference policy",
         "resume with loss.beta = 0, as the run was started, or with --change loss.beta=..: the "
         "reference is then the base checkpoint");
  }
  if (reference->base() != nullptr) {
    restore_over_base(checkpoint.folder / kReferenceFile, policy, *reference);
  } else {
    read_floats(checkpoint.folder / kReferenceFile, {reference->parameters().values()},
                reference->own_masters());
  }
  reference->publish(checkpoint.step);
}

}  // namespace zeroth
