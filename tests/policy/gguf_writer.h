// Writes GGUF files for tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace zeroth::test {

class GgufWriter {
 public:
  void number(const std::string& key, uint32_t value) {
    pair(key, 4);
    put(value);
  }
  void real(const std::string& key, float value) {
    pair(key, 6);
    put(value);
  }
  void text(const std::string& key, const std::string& value) {
    pair(key, 8);
    put_text(value);
  }
  void texts(const std::string& key, const std::vector<std::string>& values) {
    pair(key, 9);
    put(uint32_t{8});
    put(uint64_t{values.size()});
    for (const std::string& value : values) put_text(value);
  }
  void reals(const std::string& key, const std::vector<float>& values) {
    pair(key, 9);
    put(uint32_t{6});
    put(uint64_t{values.size()});
    for (const float value : values) put(value);
  }
  void numbers(const std::string& key, const std::vector<int32_t>& values) {
    pair(key, 9);
    put(uint32_t{5});
    put(uint64_t{values.size()});
    for (const int32_t value : values) put(value);
  }
  // `shape` row-major; `data` in the format of `type`.
  void tensor(const std::string& name, const std::vector<int64_t>& shape, uint32_t type,
              const std::string& data) {
    tensors_.push_back({name, shape, type, data});
  }

  std::string bytes() const {
    std::string table, data;
    for (const Tensor& t : tensors_) {
      const auto append = [&](const auto& value) {
        table.append(reinterpret_cast<const char*>(&value), sizeof(value));
      };
      append(uint64_t{t.name.size()});
      table += t.name;
      append(static_cast<uint32_t>(t.shape.size()));
      for (auto size = t.shape.rbegin(); size != t.shape.rend(); ++size) {
        append(static_cast<uint64_t>(*size));
      }
      append(t.type);
      append(uint64_t{data.size()});
      data += t.data;
      data.resize((data.size() + 31) / 32 * 32);
    }
    std::string out = "GGUF";
    const uint32_t version = 3;
    const uint64_t counts[2] = {tensors_.size(), pairs_};
    out.append(reinterpret_cast<const char*>(&version), 4);
    out.append(reinterpret_cast<const char*>(counts), 16);
    out += metadata_ + table;
    out.resize((out.size() + 31) / 32 * 32);
    return out + data;
  }

 private:
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    uint32_t type;
    std::string data;
  };
  template <class T>
  void put(const T& value) {
    metadata_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void put_text(const std::string& value) {
    put(uint64_t{value.size()});
    metadata_ += value;
  }
  void pair(const std::string& key, uint32_t type) {
    put_text(key);
    put(type);
    ++pairs_;
  }

  std::string metadata_;
  uint64_t pairs_ = 0;
  std::vector<Tensor> tensors_;
};

}  // namespace zeroth::test
