// Folders that hold a model: what every command that makes one does.
#pragma once

#include <filesystem>
#include <string>

namespace zeroth {

// Makes `out`. Throws a usage Error naming `command` when it already holds a model.
void make_model_folder(const std::filesystem::path& out, const std::string& command);

// The tokenizer and generation files of checkpoint `model` (a folder or a .gguf file) also in
// `out`. A checkpoint without a tokenizer is left without one.
void copy_tokenizer(const std::filesystem::path& model, const std::filesystem::path& out);

}  // namespace zeroth
