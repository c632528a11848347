// The Parquet module: rows of a file as JSON objects, read by Apache Arrow (cmake/ZerothParquet.cmake).
#include "parquet/parquet_module.h"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace {

// Keeps the order of the file's columns.
using Json = nlohmann::ordered_json;

template <class Array>
std::string text_of(const arrow::Array& values, int64_t row) {
  return std::string(static_cast<const Array&>(values).GetView(row));
}

template <class Array>
auto number_of(const arrow::Array& values, int64_t row) {
  return static_cast<const Array&>(values).Value(row);
}

Json value_of(const arrow::Array& values, int64_t row);

Json list_of(const arrow::Array& items, int64_t begin, int64_t end) {
  Json list = Json::array();
  for (int64_t i = begin; i < end; ++i) list.push_back(value_of(items, i));
  return list;
}

template <class Array>
Json elements_of(const arrow::Array& values, int64_t row) {
  const auto& lists = static_cast<const Array&>(values);
  return list_of(*lists.values(), lists.value_offset(row), lists.value_offset(row + 1));
}

Json fields_of(const arrow::Array& values, int64_t row) {
  const auto& structs = static_cast<const arrow::StructArray&>(values);
  Json object = Json::object();
  for (int i = 0; i < structs.num_fields(); ++i)
    object[structs.type()->field(i)->name()] = value_of(*structs.field(i), row);
  return object;
}

// Pairs of a map: an object where the keys are texts, else a list of [key, value].
Json map_of(const arrow::Array& values, int64_t row) {
  const auto& maps = static_cast<const arrow::MapArray&>(values);
  const bool texts = maps.keys()->type_id() == arrow::Type::STRING;
  Json out = texts ? Json::object() : Json::array();
  for (int64_t i = maps.value_offset(row); i < maps.value_offset(row + 1); ++i) {
    Json key = value_of(*maps.keys(), i), value = value_of(*maps.items(), i);
    if (texts) {
      out[key.get<std::string>()] = std::move(value);
    } else {
      out.push_back(Json::array({std::move(key), std::move(value)}));
    }
  }
  return out;
}

Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json value_of(const arrow::Array& values, int64_t row) {
  if (values.IsNull(row)) return nullptr;
  using arrow::Type;
  switch (values.type_id()) {
    case Type::BOOL:
      return number_of<arrow::BooleanArray>(values, row);
    case Type::INT8:
      return number_of<arrow::Int8Array>(values, row);
    case Type::INT16:
      return number_of<arrow::Int16Array>(values, row);
    case Type::INT32:
      return number_of<arrow::Int32Array>(values, row);
    case Type::INT64:
      return number_of<arrow::Int64Array>(values, row);
    case Type::UINT8:
      return number_of<arrow::UInt8Array>(values, row);
    case Type::UINT16:
      return number_of<arrow::UInt16Array>(values, row);
    case Type::UINT32:
      return number_of<arrow::UInt32Array>(values, row);
    case Type::UINT64:
      return number_of<arrow::UInt64Array>(values, row);
    case Type::FLOAT:
      return finite(number_of<arrow::FloatArray>(values, row));
    case Type::DOUBLE:
      return finite(number_of<arrow::DoubleArray>(values, row));
    case Type::STRING:
      return text_of<arrow::StringArray>(values, row);
    case Type::LARGE_STRING:
      return text_of<arrow::LargeStringArray>(values, row);
    case Type::BINARY:
      return text_of<arrow::BinaryArray>(values, row);
    case Type::LARGE_BINARY:
      return text_of<arrow::LargeBinaryArray>(values, row);
    case Type::LIST:
      return elements_of<arrow::ListArray>(values, row);
    case Type::LARGE_LIST:
      return elements_of<arrow::LargeListArray>(values, row);
    case Type::FIXED_SIZE_LIST:
      return elements_of<arrow::FixedSizeListArray>(values, row);
    case Type::STRUCT:
      return fields_of(values, row);
    case Type::MAP:
      return map_of(values, row);
    case Type::NA:
      return nullptr;
    case Type::DICTIONARY: {
      const auto& coded = static_cast<const arrow::DictionaryArray&>(values);
      return value_of(*coded.dictionary(), coded.GetValueIndex(row));
    }
    default: {  // dates, times, decimals: as Arrow writes them
      const auto scalar = values.GetScalar(row);
      if (!scalar.ok()) throw std::runtime_error(scalar.status().ToString());
      return (*scalar)->ToString();
    }
  }
}

void check(const arrow::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

template <class T>
T take(arrow::Result<T> result) {
  check(result.status());
  return std::move(result).ValueUnsafe();
}

// Rows that are decoded at a time.
constexpr int64_t kBatch = 1024;

}  // namespace

struct zeroth_parquet_file {
  std::unique_ptr<parquet::arrow::FileReader> reader;
  std::shared_ptr<parquet::FileMetaData> metadata;
};

namespace {

zeroth_parquet_file* open_file(const char* path) {
  // Streams of pages instead of whole columns of a row group, and nothing fetched ahead: files are
  // larger than memory, and writers that are not told otherwise put a million rows into a group.
  auto properties = parquet::default_reader_properties();
  properties.enable_buffered_stream();
  parquet::ArrowReaderProperties arrow_properties = parquet::default_arrow_reader_properties();
  arrow_properties.set_pre_buffer(false);
  arrow_properties.set_batch_size(kBatch);
  parquet::arrow::FileReaderBuilder builder;
  check(builder.Open(take(arrow::io::ReadableFile::Open(path)), properties));
  builder.properties(arrow_properties);
  auto file = std::make_unique<zeroth_parquet_file>();
  file->reader = take(builder.Build());
  file->metadata = file->reader->parquet_reader()->metadata();
  return file.release();
}

void read_group(zeroth_parquet_file& file, int64_t group, zeroth_parquet_row_fn row, void* self) {
  auto batches = take(file.reader->GetRecordBatchReader({static_cast<int>(group)}));
  const auto names = batches->schema()->field_names();
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    check(batches->ReadNext(&batch));
    if (!batch) return;
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      Json object = Json::object();
      for (int column = 0; column < batch->num_columns(); ++column)
        object[names[static_cast<size_t>(column)]] = value_of(*batch->column(column), i);
      const std::string text = object.dump(-1, ' ', false, Json::error_handler_t::replace);
      if (row(self, text.data(), text.size()) != 0) return;
    }
  }
}

// f(), whose exceptions become texts.
template <class F>
bool guarded(char* error, size_t error_size, const F& f) {
  try {
    f();
    return true;
  } catch (const std::exception& failure) {
    std::snprintf(error, error_size, "%s", failure.what());
  } catch (...) {
    std::snprintf(error, error_size, "an error without a text");
  }
  return false;
}

constexpr zeroth_parquet_table kTable = {
    .open = [](const char* path, char* error, size_t error_size) -> zeroth_parquet_file* {
      zeroth_parquet_file* file = nullptr;
      guarded(error, error_size, [&] { file = open_file(path); });
      return file;
    },
    .close = [](zeroth_parquet_file* file) { delete file; },
    .groups = [](const zeroth_parquet_file* file) -> int64_t {
      return file->metadata->num_row_groups();
    },
    .rows = [](const zeroth_parquet_file* file, int64_t group) -> int64_t {
      return file->metadata->RowGroup(static_cast<int>(group))->num_rows();
    },
    .bytes = [](const zeroth_parquet_file* file, int64_t group) -> int64_t {
      return file->metadata->RowGroup(static_cast<int>(group))->total_byte_size();
    },
    .read = [](zeroth_parquet_file* file, int64_t group, zeroth_parquet_row_fn row, void* self,
               char* error, size_t error_size) -> int {
      return guarded(error, error_size, [&] { read_group(*file, group, row, self); }) ? 0 : 1;
    }};

}  // namespace

extern "C" __attribute__((visibility("default"))) const zeroth_parquet_table* zeroth_parquet_v2() {
  return &kTable;
}
