#include "cli/model_files.h"

#include "core/error.h"
#include "core/files.h"
#include "model/formats/gguf_model.h"
#include "model/formats/peft.h"
#include "text/tokenizer.h"

namespace zeroth {

namespace fs = std::filesystem;

void make_model_folder(const fs::path& out, const std::string& command) {
  if (fs::exists(out / "config.json")) {
    fail_usage("zeroth " + command + ": " + out.string() + " already holds a model",
               "choose another folder, or remove that one first");
  }
  std::error_code error;
  fs::create_directories(out, error);
  if (error) fail("cannot make folder " + out.string() + ": " + error.message(), "check --out");
}

void copy_tokenizer(const fs::path& model, const fs::path& out) {
  if (is_adapter(model)) return copy_tokenizer(adapter_base(model), out);
  bool present = is_gguf(model);
  for (const char* name :
       {"tokenizer.json", "vocab.json", "tokenizer.model", "tiktoken.model", "tekken.json"}) {
    present = present || fs::exists(model / name);
  }
  if (!present) return;
  for (const auto& [name, content] : load_tokenizer(model)->contents()) {
    write_file_atomic(out / name, content);
  }
}

}  // namespace zeroth
