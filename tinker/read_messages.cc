#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "tinker/messages.h"
#include "tinker/protobuf.h"

namespace zeroth::tinker {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 20;  // of a sequence
constexpr size_t kMostInputs = 16;                 // tensors of a datum
constexpr size_t kMostData = 65536;                // of a request
constexpr size_t kMostConfig = 64;
constexpr size_t kMostStops = 64;
constexpr size_t kMostStopBytes = 1000;

[[noreturn]] void refuse(const std::string& field, const std::string& why) {
  throw Refusal{400, "'" + field + "' " + why};
}

TokenId token_of(int64_t id) {
  if (id < 0 || id > INT32_MAX)
    refuse("tokens", "holds " + std::to_string(id) + ", which is no token id");
  return static_cast<TokenId>(id);
}

template <class T>
std::vector<T> array_of(std::string_view bytes, const char* what) {
  if (bytes.size() % sizeof(T) != 0) refuse(what, "does not hold whole numbers of its type");
  std::vector<T> out(bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

void append_chunk(std::string_view bytes, std::vector<TokenId>& tokens) {
  ProtoReader chunk(bytes, "a chunk of model_input");
  while (chunk.next()) {
    if (chunk.field() != 1) refuse("model_input", "holds an image or sound; this model reads text");
    ProtoReader text(chunk.bytes(), "encoded text");
    while (text.next()) {
      if (text.field() != 1) continue;
      for (const int32_t id : array_of<int32_t>(text.bytes(), "tokens"))
        tokens.push_back(token_of(id));
    }
  }
}

void append_shape(const ProtoReader& field, std::vector<int64_t>& shape) {
  if (shape.size() > 8) refuse("shape", "has more than 8 dimensions");
  shape.push_back(static_cast<int64_t>(field.varint()));
}

// Numbers of a packed field are varints behind each other.
void append_packed_shape(std::string_view bytes, std::vector<int64_t>& shape) {
  size_t at = 0;
  while (at < bytes.size()) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      if (at == bytes.size() || shift > 63) refuse("shape", "is cut off");
      const auto byte = static_cast<unsigned char>(bytes[at++]);
      value |= uint64_t{byte & 0x7fu} << shift;
      if ((byte & 0x80) == 0) break;
    }
    if (shape.size() > 8) refuse("shape", "has more than 8 dimensions");
    shape.push_back(static_cast<int64_t>(value));
  }
}

[[noreturn]] void refuse_sparse(const std::string& name) {
  refuse(name, "is sparse; there is one target a token, in a dense tensor");
}

void check_shape(const std::string& name, Tensor& tensor) {
  const auto size = static_cast<int64_t>(tensor.size());
  if (tensor.shape.empty()) tensor.shape = {size};
  int64_t count = 1;
  for (const int64_t n : tensor.shape) {
    if (n < 0 || (n > 0 && count > kMostTokens * 64 / n)) refuse(name, "has an impossible shape");
    count *= n;
  }
  if (count != size) {
    refuse(name, "has " + std::to_string(size) + " values, its shape " + std::to_string(count));
  }
}

Tensor tensor_of(std::string_view bytes, const std::string& name) {
  constexpr uint64_t kFloat32 = 1, kInt64 = 2;
  Tensor out;
  std::string_view values;
  uint64_t type = 0;
  ProtoReader tensor(bytes, "a tensor");
  while (tensor.next()) {
    switch (tensor.field()) {
      case 1:
        values = tensor.bytes();
        break;
      case 2:
        refuse_sparse(name);
      case 3:
        type = tensor.varint();
        break;
      case 4:
        if (tensor.packed()) {
          append_packed_shape(tensor.bytes(), out.shape);
        } else {
          append_shape(tensor, out.shape);
        }
        break;
      default:
        break;
    }
  }
  if (type != kFloat32 && type != kInt64) refuse(name, "is neither float32 nor int64");
  out.integer = type == kInt64;
  if (out.integer) {
    out.whole = array_of<int64_t>(values, name.c_str());
  } else {
    out.real = array_of<float>(values, name.c_str());
  }
  check_shape(name, out);
  return out;
}

// A map's entry: its key, and the bytes of its value.
std::pair<std::string, std::string_view> entry_of(std::string_view bytes) {
  std::pair<std::string, std::string_view> out;
  ProtoReader entry(bytes, "an entry of a map");
  while (entry.next()) {
    if (entry.field() == 1) out.first = entry.text();
    if (entry.field() == 2) out.second = entry.bytes();
  }
  return out;
}

Datum datum_of(std::string_view bytes) {
  Datum out;
  ProtoReader datum(bytes, "a datum");
  while (datum.next()) {
    if (datum.field() == 1) append_chunk(datum.bytes(), out.tokens);
    if (datum.field() != 2) continue;  // 3, 4: where tokens came from
    const auto [name, value] = entry_of(datum.bytes());
    if (out.inputs.size() >= kMostInputs) refuse("loss_fn_inputs", "holds more than 16 tensors");
    out.inputs[name] = tensor_of(value, name);
  }
  return out;
}

void read_config_entry(std::string_view bytes, bool wrapped, LossRequest& out) {
  std::string name;
  std::optional<double> number;
  ProtoReader entry(bytes, "loss_fn_config");
  while (entry.next()) {
    if (entry.field() == 1) name = entry.text();
    if (entry.field() != 2) continue;
    if (!wrapped) {
      number = entry.real();
      continue;
    }
    ProtoReader value(entry.bytes(), "a value of loss_fn_config");
    while (value.next()) {
      if (value.field() == 1) number = value.real();
      if (value.field() == 2) refuse("loss_fn_config." + name, "is a text where a number belongs");
    }
  }
  if (out.config.size() >= kMostConfig) refuse("loss_fn_config", "has more than 64 fields");
  out.config[name] = number.value_or(0);
}

std::vector<TokenId> tokens_of(const Json& input, const char* field) {
  const Json* chunks = input.is_object() ? find(input, "chunks") : nullptr;
  if (chunks == nullptr || !chunks->is_array()) refuse(field, "has no list 'chunks'");
  std::vector<TokenId> out;
  for (const Json& chunk : *chunks) {
    if (!chunk.is_object() || chunk.value("type", Json("encoded_text")) != "encoded_text")
      refuse(field, "holds a chunk that is no encoded_text; this model reads text");
    const Json* tokens = find(chunk, "tokens");
    if (tokens == nullptr || !tokens->is_array()) refuse(field, "has a chunk without 'tokens'");
    for (const Json& id : *tokens) {
      if (!id.is_number_integer()) refuse("tokens", "holds something that is no token id");
      out.push_back(token_of(id.get<int64_t>()));
    }
  }
  if (static_cast<int64_t>(out.size()) > kMostTokens) refuse(field, "is over 1048576 tokens");
  return out;
}

Tensor tensor_of(const Json& json, const std::string& name) {
  if (!json.is_object()) refuse(name, "is no tensor");
  if (find(json, "sparse_crow_indices") || find(json, "sparse_col_indices")) refuse_sparse(name);
  const std::string type = text_of(json, "dtype");
  if (type != "float32" && type != "int64") refuse(name, "is neither float32 nor int64");
  Tensor out;
  out.integer = type == "int64";
  const Json* data = find(json, "data");
  if (data == nullptr || !data->is_array()) refuse(name, "has no list 'data'");
  for (const Json& value : *data) {
    if (out.integer ? !value.is_number_integer() : !value.is_number())
      refuse(name, "holds something that is no " + type);
    if (out.integer) {
      out.whole.push_back(value.get<int64_t>());
    } else {
      out.real.push_back(value.get<float>());
    }
  }
  if (const Json* shape = find(json, "shape")) {
    if (!shape->is_array() || shape->size() > 8) refuse(name, "has a shape that is no list");
    for (const Json& n : *shape) {
      if (!n.is_number_integer()) refuse(name, "has a shape that is no list of whole numbers");
      out.shape.push_back(n.get<int64_t>());
    }
  }
  check_shape(name, out);
  return out;
}

Datum datum_of(const Json& json) {
  const Json* input = json.is_object() ? find(json, "model_input") : nullptr;
  if (input == nullptr) refuse("data", "holds a datum without 'model_input'");
  Datum out;
  out.tokens = tokens_of(*input, "model_input");
  const Json* inputs = find(json, "loss_fn_inputs");
  if (inputs == nullptr) return out;
  if (!inputs->is_object() || inputs->size() > kMostInputs)
    refuse("loss_fn_inputs", "is no object of at most 16 tensors");
  for (const auto& [name, value] : inputs->items()) out.inputs[name] = tensor_of(value, name);
  return out;
}

void read_loss_input(const Json& input, LossRequest& out) {
  out.loss = text_of(input, "loss_fn");
  if (const Json* config = find(input, "loss_fn_config")) {
    if (!config->is_object() || config->size() > kMostConfig)
      refuse("loss_fn_config", "is no object of at most 64 numbers");
    for (const auto& [name, value] : config->items()) {
      if (!value.is_number()) refuse("loss_fn_config." + name, "is no number");
      out.config[name] = value.get<double>();
    }
  }
  const Json* data = find(input, "data");
  if (data == nullptr || !data->is_array() || data->size() > kMostData)
    refuse("data", "is no list of at most 65536 sequences");
  for (const Json& datum : *data) out.data.push_back(datum_of(datum));
}

// "", ["a", "b"], [1, 2], [] and null are what a client may say.
void read_stops(const Json& params, SampleRequest& out) {
  const Json* stop = find(params, "stop");
  if (stop == nullptr) return;
  const auto add = [&](const Json& one) {
    if (one.is_number_integer()) {
      out.stop_tokens.push_back(token_of(one.get<int64_t>()));
    } else if (one.is_string() && !one.get_ref<const std::string&>().empty() &&
               one.get_ref<const std::string&>().size() <= kMostStopBytes) {
      out.sampling.stop.push_back(one.get<std::string>());
    } else {
      refuse("stop", "holds neither a text of 1 to 1000 bytes nor a token id");
    }
  };
  if (!stop->is_array()) return add(*stop);
  if (stop->size() > kMostStops) refuse("stop", "has more than 64 elements");
  for (const Json& one : *stop) add(one);
  out.endless = stop->empty();
}

void read_sampling(const Json& params, SampleRequest& out) {
  if (!params.is_object()) refuse("sampling_params", "is no object");
  SamplingConfig& sampling = out.sampling;
  sampling.max_tokens =
      static_cast<int>(whole_of(params, "max_tokens", 1, kMostTokens).value_or(0));
  sampling.temperature = real_of(params, "temperature", 1, 0, 100);
  sampling.top_p = real_of(params, "top_p", 1, 1e-6, 1);
  sampling.top_k =
      static_cast<int>(std::max<int64_t>(0, whole_of(params, "top_k", -1, 1 << 20).value_or(-1)));
  if (const Json* seed = find(params, "seed")) {
    if (!seed->is_number_integer()) refuse("seed", "is no whole number");
    out.seed = seed->is_number_unsigned() ? seed->get<uint64_t>()
                                          : static_cast<uint64_t>(seed->get<int64_t>());
  }
  read_stops(params, out);
}

void refuse_unsupported(const Json& body) {
  for (const char* name : {"topk_prompt_logprobs", "topk_sample_logprobs", "prompt_alt_tokens_k"}) {
    if (whole_of(body, name, 0, 1 << 20).value_or(0) > 0)
      refuse(name, "is not supported; log-probs are those of the tokens that are there");
  }
  if (find(body, "target_prompt_logprobs"))
    refuse("target_prompt_logprobs", "is not supported; forward() gives those of any targets");
  if (flag_of(body, "record_stability_info", false))
    refuse("record_stability_info", "is not supported");
}

}  // namespace

const Json* find(const Json& body, const char* name) {
  const auto found = body.find(name);
  return found == body.end() || found->is_null() ? nullptr : &*found;
}

std::string text_of(const Json& body, const char* name) {
  const Json* value = find(body, name);
  if (value == nullptr || !value->is_string()) refuse(name, "is missing, or no text");
  return value->get<std::string>();
}

std::string text_of(const Json& body, const char* name, const std::string& otherwise) {
  return find(body, name) == nullptr ? otherwise : text_of(body, name);
}

std::optional<int64_t> whole_of(const Json& body, const char* name, int64_t least, int64_t most) {
  const Json* value = find(body, name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_integer()) refuse(name, "is no whole number");
  const bool huge = value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX;
  const int64_t got = huge ? INT64_MAX : value->get<int64_t>();
  if (huge || got < least || got > most) {
    refuse(name, "is " + value->dump() + ", not from " + std::to_string(least) + " to " +
                     std::to_string(most));
  }
  return got;
}

double real_of(const Json& body, const char* name, double otherwise, double least, double most) {
  const Json* value = find(body, name);
  if (value == nullptr) return otherwise;
  if (!value->is_number()) refuse(name, "is no number");
  const double got = value->get<double>();
  if (!(got >= least && got <= most)) {
    char range[96];
    std::snprintf(range, sizeof range, "is %.10g, not from %.10g to %.10g", got, least, most);
    refuse(name, range);
  }
  return got;
}

bool flag_of(const Json& body, const char* name, bool otherwise) {
  const Json* value = find(body, name);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) refuse(name, "is neither true nor false");
  return value->get<bool>();
}

Json metadata_of(const Json& body) {
  constexpr size_t kMost = 16 << 10;
  const Json* value = find(body, "user_metadata");
  if (value == nullptr) return nullptr;
  if (!value->is_object()) refuse("user_metadata", "is no object");
  if (value->dump(-1, ' ', false, Json::error_handler_t::replace).size() > kMost)
    refuse("user_metadata", "has more than 16384 bytes");
  return *value;
}

LossRequest read_loss_request(std::string_view protobuf) {
  LossRequest out;
  ProtoReader message(protobuf, "the body");
  while (message.next()) {
    if (message.field() == 1) out.model_id = message.text();
    if (message.field() == 2) out.seq = static_cast<int32_t>(message.varint());
  }
  if (out.seq == 0) out.seq.reset();
  ProtoReader again(protobuf, "the body");
  try {
    while (again.next()) {
      switch (again.field()) {
        case 3:
          if (out.data.size() == kMostData) refuse("data", "holds more than 65536 sequences");
          out.data.push_back(datum_of(again.bytes()));
          break;
        case 4:
          out.loss = again.text();
          break;
        case 5:
          read_config_entry(again.bytes(), false, out);
          break;
        case 6:
          out.forward_only = again.varint() != 0;
          break;
        case 7:
          read_config_entry(again.bytes(), true, out);
          break;
        default:
          break;
      }
    }
  } catch (const Refusal& refusal) {
    out.bad = refusal;
  }
  return out;
}

LossRequest read_loss_request(const Json& body, bool forward_only) {
  LossRequest out;
  out.forward_only = forward_only;
  out.model_id = text_of(body, "model_id");
  out.seq = whole_of(body, "seq_id", 1, INT64_MAX - 1);
  try {
    const char* name = forward_only ? "forward_input" : "forward_backward_input";
    const Json* input = find(body, name);
    if (input == nullptr || !input->is_object()) refuse(name, "is missing, or no object");
    read_loss_input(*input, out);
  } catch (const Refusal& refusal) {
    out.bad = refusal;
  }
  return out;
}

SampleRequest read_sample_request(const Json& body, int most_samples) {
  SampleRequest out;
  out.sampler_id = text_of(body, "sampling_session_id", "");
  out.base_model = text_of(body, "base_model", "");
  out.model_path = text_of(body, "model_path", "");
  out.seq = whole_of(body, "seq_id", 0, INT64_MAX - 1);
  out.samples = static_cast<int>(whole_of(body, "num_samples", 1, most_samples).value_or(1));
  refuse_unsupported(body);
  const Json* prompt = find(body, "prompt");
  if (prompt == nullptr) refuse("prompt", "is missing");
  out.prompt = tokens_of(*prompt, "prompt");
  const Json* params = find(body, "sampling_params");
  read_sampling(params == nullptr ? Json::object() : *params, out);
  out.prompt_logprobs = flag_of(body, "prompt_logprobs", false);
  out.last_logprobs =
      whole_of(body, "prompt_logprobs_last_n", 1, static_cast<int64_t>(out.prompt.size()) - 1)
          .value_or(0);
  return out;
}

}  // namespace zeroth::tinker
