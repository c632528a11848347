// What coordinator and workers say to each other, with its reading: a body that is not as described
// is an Error that names the field. docs/fleet.md describes the protocol.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "rollout/fleet/weights_blobs.h"
#include "rollout/sampler.h"

namespace zeroth::fleet {

inline constexpr int kProtocol = 3;

// Bodies are MessagePack, or JSON where the type of the request says so.
inline constexpr char kMessagePackType[] = "application/msgpack";
inline constexpr char kJsonType[] = "application/json";
Json decode_body(const std::string& body, const std::string& type);
std::string encode_body(const Json& json, const std::string& type);

// What must be the same on both sides for samples to be the same bytes.
struct Identity {
  std::string contract;  // kernels::contract_hash()
  std::string config;    // of the model, its published type and what is recorded; "": not known yet
  std::string tokenizer;  // of the tokenizer's files; "" likewise
};
// The name of the first field that differs, with both values; empty: none. What the worker does not
// know yet agrees.
struct Difference {
  std::string field, ours, theirs;
};
Difference compare(const Identity& ours, const Identity& theirs);

struct Hello {
  int protocol = kProtocol;
  Identity identity;
  std::string name, isa, version;
  int threads = 0;
  Json to_json() const;
  static Hello from_json(const Json& json);
};

struct NamedFile {
  std::string name;
  BlobName blob;
};

struct Welcome {
  std::string session;
  Identity identity;
  Json model;                                             // config.json
  kernels::Element element = kernels::Element::kFloat32;  // of the published weights
  bool record_experts = false;
  std::vector<NamedFile> files;  // of the tokenizer
  double lease_s = 30, poll_s = 20;
  Json to_json() const;
  static Welcome from_json(const Json& json);
};
// Identity::config and ::tokenizer.
std::string hash_of_config(const Json& model, kernels::Element element, bool record_experts);
std::string hash_of_files(const std::vector<NamedFile>& files);

struct Lease {
  int64_t id = 0;
  std::string weights;  // SHA-256
  GenerationRequest request;
  // Samples go on by newer weights as the worker gets them (WeightsUse::kSwitch).
  bool follow = false;
  Json to_json() const;
  static Lease from_json(const Json& json);
};

struct LeasesAsked {
  std::string session;
  int64_t capacity = 0;  // samples
  std::string weights;   // the newest that the worker holds
  double wait_s = 0;
  Json to_json() const;
  static LeasesAsked from_json(const Json& json);
};
struct LeasesGiven {
  std::string weights;  // the newest; "" before the first
  std::vector<Lease> leases;
  bool finished = false;  // the run has ended: there will be no more
  Json to_json() const;
  static LeasesGiven from_json(const Json& json);
};

struct Progress {
  std::string session;
  std::vector<std::pair<int64_t, int64_t>> tokens;  // lease, drawn so far
  Json to_json() const;
  static Progress from_json(const Json& json);
};

// Of one lease. Texts and finish reasons do not travel: they follow from the tokens.
struct Result {
  int64_t lease = 0;
  std::string session, weights;
  std::vector<Sample> samples;
  // Of a lease that follows: hashes of the weights that were used, oldest first; Sample::versions
  // then has their numbers in this list. Else empty, and so are they.
  std::vector<std::string> used = {};
  // What the worker did since its last result: forward_calls, draft_tokens and draft_accepted. For
  // metrics only, as it says; nothing from older workers.
  SamplerStats did = {};
  Json to_json() const;
  // Samples get no key.
  static Result from_json(const Json& json);
};

// What a request may ask for, so that a result has a bound.
inline constexpr size_t kMaxSamples = 1 << 14;
inline constexpr size_t kMaxTokens = 1 << 20;
inline constexpr size_t kMaxVersions = 256;  // of the weights, in one result

}  // namespace zeroth::fleet
