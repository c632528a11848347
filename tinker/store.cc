#include "tinker/store.h"

#include <algorithm>
#include <ctime>

#include "core/error.h"
#include "core/files.h"
#include "core/json_text.h"
#include "rl/run_folder.h"

namespace zeroth::tinker {
namespace {

namespace fs = std::filesystem;

constexpr char kScheme[] = "tinker://", kNoteFile[] = "tinker.json";
// Of this class alone: what begins so and is left from a crash is deleted.
constexpr char kFresh[] = ".zeroth-new-", kAway[] = ".zeroth-old-";
constexpr char kTraining[] = "weights", kSampler[] = "sampler_weights";
constexpr size_t kMostName = 128;

bool fits(const std::string& name, bool colons) {
  if (name.empty() || name.size() > kMostName || name.front() == '.') return false;
  return std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.' || (colons && c == ':');
  });
}

std::string on_disk(std::string run) {
  std::replace(run.begin(), run.end(), ':', '_');
  return run;
}

[[noreturn]] void refuse_missing(const SavedPath& path) {
  throw Refusal{404, "there is nothing saved as " + path.uri() +
                         ": it was never saved, was deleted, or has expired"};
}

int64_t bytes_below(const fs::path& folder) {
  int64_t bytes = 0;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
    if (entry.is_regular_file(error)) bytes += static_cast<int64_t>(entry.file_size(error));
  }
  return bytes;
}

}  // namespace

std::string SavedPath::uri() const {
  return kScheme + run + "/" + (training ? kTraining : kSampler) + "/" + name;
}

void check_name(const std::string& name) {
  if (fits(name, false)) return;
  throw Refusal{400, "\"" + name +
                         "\" is no name for weights: 1 to 128 letters, digits, '-', '_' "
                         "and '.', not beginning with '.'"};
}

SavedPath parse_path(const std::string& uri) {
  const std::string scheme = kScheme;
  SavedPath out;
  const size_t run = scheme.size(), kind = uri.find('/', run), name = uri.find('/', kind + 1);
  if (uri.rfind(scheme, 0) == 0 && kind != std::string::npos && name != std::string::npos) {
    const std::string middle = uri.substr(kind + 1, name - kind - 1);
    out.run = uri.substr(run, kind - run);
    out.name = uri.substr(name + 1);
    out.training = middle == kTraining;
    if ((out.training || middle == kSampler) && fits(out.run, true) && fits(out.name, false))
      return out;
  }
  throw Refusal{400, "\"" + uri.substr(0, 300) + "\" is no path of weights: " + kScheme +
                         "RUN/weights/NAME or " + kScheme + "RUN/sampler_weights/NAME"};
}

Json SavedNote::json() const {
  Json out = {{"base_model", base_model},
              {"lora", lora.json()},
              {"steps", steps},
              {"saved_at", saved_at},
              {"expires_at", expires_at ? Json(*expires_at) : Json()},
              {"user_metadata", user_metadata}};
  return out;
}

SavedNote SavedNote::from_json(const Json& json) {
  SavedNote out;
  out.base_model = text_of(json, "base_model");
  out.lora = read_lora(find(json, "lora"));
  out.steps = whole_of(json, "steps", 0, INT64_MAX - 1).value_or(0);
  out.saved_at = whole_of(json, "saved_at", 0, INT64_MAX - 1).value_or(0);
  out.expires_at = whole_of(json, "expires_at", 0, INT64_MAX - 1);
  if (const Json* metadata = find(json, "user_metadata")) out.user_metadata = *metadata;
  return out;
}

Store::Store(const fs::path& folder) : root_(make_run_folder(folder)), lock_(root_) {
  for (const auto& entry : fs::directory_iterator(root_)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kFresh) || name.starts_with(kAway)) fs::remove_all(entry.path());
  }
}

fs::path Store::folder_of(const SavedPath& path) const {
  return root_ / on_disk(path.run) / (path.training ? kTraining : kSampler) / path.name;
}

std::optional<SavedNote> Store::note_of(const SavedPath& path) const {
  const fs::path file = folder_of(path) / kNoteFile;
  if (!fs::is_regular_file(file)) return std::nullopt;
  const auto json = try_parse_json(read_file(file, 1 << 20), kStoredJson);
  if (!json || !json->is_object()) fail(file.string() + " is damaged", "delete its folder");
  return SavedNote::from_json(*json);
}

// Renamed first, so that a crash leaves no half of it under its name.
void Store::erase(const fs::path& folder) {
  const fs::path away = root_ / (kAway + std::to_string(++numbers_));
  fs::rename(folder, away);
  fs::remove_all(away);
}

void Store::save(const SavedPath& path, const SavedNote& note, bool overwrite,
                 const std::function<void(const fs::path&)>& write) {
  std::lock_guard lock(mutex_);
  const fs::path target = folder_of(path);
  if (fs::exists(target) && !overwrite) {
    throw Refusal{409, path.uri() + " is there already; choose another name, or overwrite=True"};
  }
  const fs::path fresh = root_ / (kFresh + std::to_string(++numbers_));
  try {
    fs::remove_all(fresh);
    fs::create_directories(fresh);
    write(fresh);
    write_file_atomic(fresh / kNoteFile, note.json().dump(2) + "\n");
    sync_path(fresh);
    fs::create_directories(target.parent_path());
    if (fs::exists(target)) erase(target);
    fs::rename(fresh, target);
    sync_path(target.parent_path());
  } catch (const fs::filesystem_error& error) {
    std::error_code ignored;
    fs::remove_all(fresh, ignored);
    fail("cannot write " + target.string() + ": " + error.code().message(), "free space");
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(fresh, ignored);
    throw;
  }
}

Saved Store::open(const SavedPath& path) {
  std::lock_guard lock(mutex_);
  const auto note = note_of(path);
  if (!note) refuse_missing(path);
  if (note->expires_at && *note->expires_at <= std::time(nullptr)) {
    erase(folder_of(path));
    refuse_missing(path);
  }
  return {path, *note, 0};
}

fs::path Store::model_folder(const SavedPath& path) {
  return path.training ? checkpoint(path).folder : (open(path), folder_of(path));
}

TrainingCheckpoint Store::checkpoint(const SavedPath& path) {
  open(path);
  if (!path.training) {
    throw Refusal{400, path.uri() +
                           " is for sampling; training goes on from a state that "
                           "save_state() wrote (tinker://RUN/weights/NAME)"};
  }
  const auto found = newest_checkpoint(folder_of(path));
  if (!found) refuse_missing(path);
  return *found;
}

void Store::remove(const SavedPath& path) {
  open(path);
  std::lock_guard lock(mutex_);
  if (fs::exists(folder_of(path))) erase(folder_of(path));
}

std::vector<Saved> Store::list(const std::string& run) {
  std::lock_guard lock(mutex_);
  std::vector<Saved> out;
  for (const auto& folder : fs::directory_iterator(root_)) {
    const std::string stored = folder.path().filename().string();
    if (!folder.is_directory() || stored.starts_with(".")) continue;
    if (!run.empty() && stored != on_disk(run)) continue;
    // SESSION_train_NUMBER is how runs are called.
    std::string id = stored;
    std::replace(id.begin(), id.end(), '_', ':');
    for (const bool training : {true, false}) {
      const fs::path names = folder.path() / (training ? kTraining : kSampler);
      if (!fs::is_directory(names)) continue;
      std::vector<fs::path> expired;
      for (const auto& entry : fs::directory_iterator(names)) {
        const SavedPath path = {id, entry.path().filename().string(), training};
        const auto note = note_of(path);
        if (!note) continue;
        if (note->expires_at && *note->expires_at <= std::time(nullptr)) {
          expired.push_back(entry.path());
        } else {
          out.push_back({path, *note, bytes_below(entry.path())});
        }
      }
      for (const fs::path& path : expired) erase(path);
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const Saved& a, const Saved& b) {
    return a.note.saved_at > b.note.saved_at;
  });
  return out;
}

}  // namespace zeroth::tinker
