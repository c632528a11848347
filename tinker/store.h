// What clients save, by name: OUT/RUN/weights/NAME holds the state of training, as a run of its own
// with one checkpoint; OUT/RUN/sampler_weights/NAME a model alone. Their address is
// tinker://RUN/weights/NAME, where a RUN's colons are underscores on the disk.
//
// A name is whole or not there: it is written elsewhere in OUT and renamed. Beside its files lies
// tinker.json: base model, what learnt, when it was saved and until when it is kept.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/files.h"
#include "tinker/trainee.h"

namespace zeroth::tinker {

struct SavedPath {
  std::string run, name;
  bool training = false;  // else a model for sampling
  std::string uri() const;
};
// Of a text of a stranger: three parts of letters, digits, '-', '_', '.' and, in the run, ':'.
// Throws Refusal.
SavedPath parse_path(const std::string& uri);
// Throws Refusal for what cannot be the name of a folder.
void check_name(const std::string& name);

struct SavedNote {
  std::string base_model;
  LoraSpec lora;
  int64_t steps = 0;
  int64_t saved_at = 0;               // seconds of the epoch
  std::optional<int64_t> expires_at;  // likewise
  Json user_metadata = nullptr;

  Json json() const;
  static SavedNote from_json(const Json& json);
};

struct Saved {
  SavedPath path;
  SavedNote note;
  int64_t bytes = 0;
};

// Thread safe; two saves of one name are one after the other.
class Store {
 public:
  // Makes the folder, and takes its lock for as long as it lives.
  explicit Store(const std::filesystem::path& folder);

  // `write(folder)` writes into an empty folder. A name that is there is replaced with `overwrite`,
  // or else refused (409). Throws Error on a full disk; what was there before stays.
  void save(const SavedPath& path, const SavedNote& note, bool overwrite,
            const std::function<void(const std::filesystem::path&)>& write);
  // What is there. Throws Refusal (404) for what is not, or no longer.
  Saved open(const SavedPath& path);
  // The model: the checkpoint of a state, or the folder itself.
  std::filesystem::path model_folder(const SavedPath& path);
  TrainingCheckpoint checkpoint(const SavedPath& path);
  void remove(const SavedPath& path);
  // Of one run, or of all with an empty one; the newest first. Removes what has expired.
  std::vector<Saved> list(const std::string& run);

 private:
  std::filesystem::path folder_of(const SavedPath& path) const;
  std::optional<SavedNote> note_of(const SavedPath& path) const;  // none: not there
  void erase(const std::filesystem::path& folder);

  std::filesystem::path root_;
  FolderLock lock_;
  std::mutex mutex_;
  int64_t numbers_ = 0;  // of temporary names
};

}  // namespace zeroth::tinker
