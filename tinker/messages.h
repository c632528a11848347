// What clients of the Tinker protocol ask and are told, read within bounds. The bodies are JSON, or
// protocol buffers where the public client sends and expects these: forward_backward, and the
// results of it and of asample. Field numbers are those of tinker_public.proto of tinker 0.38.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/json.h"
#include "core/trajectory.h"
#include "rollout/sampling_config.h"

namespace zeroth::tinker {

// A request is refused: HTTP's status and why.
struct Refusal {
  int status = 400;
  std::string message = {};
};

// Dense, row-major; `whole` in place of `real` where the type is int64.
struct Tensor {
  std::vector<int64_t> shape;
  bool integer = false;
  std::vector<float> real = {};
  std::vector<int64_t> whole = {};
  size_t size() const { return integer ? whole.size() : real.size(); }
};

struct Datum {
  std::vector<TokenId> tokens;
  std::map<std::string, Tensor> inputs;
};

// forward and forward_backward. What is wrong behind model and sequence number is kept in `bad`, as
// the number is used up by then.
struct LossRequest {
  std::string model_id;
  std::optional<int64_t> seq;
  std::string loss;
  std::map<std::string, double> config;
  std::vector<Datum> data;
  bool forward_only = false;
  std::optional<Refusal> bad;
};
LossRequest read_loss_request(std::string_view protobuf);
// Of forward: `forward_only`.
LossRequest read_loss_request(const Json& body, bool forward_only);

struct LossResult {
  struct OfDatum {
    std::vector<float> logprobs, losses;  // [tokens]
  };
  std::vector<OfDatum> data;
  std::map<std::string, double> metrics;
};

struct SampleRequest {
  std::string sampler_id, base_model, model_path;  // one of them
  std::optional<int64_t> seq;
  std::vector<TokenId> prompt;
  SamplingConfig sampling;  // max_tokens 0: as many as the context has room for
  std::optional<uint64_t> seed;
  int samples = 1;
  std::vector<TokenId> stop_tokens;
  bool endless = false;  // no token ends a sample (stop = [])
  bool prompt_logprobs = false;
  int64_t last_logprobs = 0;  // of the prompt, so many at its end; 0 = all
};
// Throws Refusal. `most_samples`: of one request.
SampleRequest read_sample_request(const Json& body, int most_samples);

struct SampleResult {
  struct Sequence {
    bool stopped = false;  // else max_tokens, or the end of the context
    std::vector<TokenId> tokens;
    std::vector<float> logprobs;
  };
  std::vector<Sequence> sequences;
  std::vector<float> prompt_logprobs;  // [prompt], NaN where there is none; empty: not asked for
};

// What a request came to.
using Result = std::variant<Json, LossResult, SampleResult>;
bool has_protobuf(const Result& result);
std::string to_protobuf(const Result& result);  // of those that have it
std::string to_json(const Result& result);

// Fields of a JSON body. Null and absent are the same. Throw Refusal that names the field.
const Json* find(const Json& body, const char* name);
std::string text_of(const Json& body, const char* name);  // must be there
std::string text_of(const Json& body, const char* name, const std::string& otherwise);
std::optional<int64_t> whole_of(const Json& body, const char* name, int64_t least, int64_t most);
double real_of(const Json& body, const char* name, double otherwise, double least, double most);
bool flag_of(const Json& body, const char* name, bool otherwise);
Json metadata_of(const Json& body);  // user_metadata, null when there is none; at most 16 KiB

}  // namespace zeroth::tinker
