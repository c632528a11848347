// How one process generates: the section `engine` of a run's config.
#pragma once

#include <cstdint>

#include "core/config.h"

namespace zeroth {

struct EngineConfig {
  int max_batch = 256;          // sequences decoded together
  int64_t cache_pages = 0;      // of 16 tokens; 0 = what max_batch sequences need, within cache_mb
  int cache_mb = 1024;          // memory bound of the cache
  int prefill_chunk = 512;      // prompt tokens per forward call
  bool record_experts = false;  // keep routed experts and router confidence
  bool longest_first = true;    // see rollout/start_order.h
  int draft_tokens = 8;         // longest draft of a sequence; 0 = none
  int draft_batch = 16;         // rows of a step that drafts may fill up
  int draft_mb = 64;            // memory of earlier samples
  bool draft_layer = false;     // guess by the checkpoint's own layer too
  // Also of the commands that have this field alone.
  static constexpr char kDraftHelp[] =
      "most tokens tried ahead when few sequences are left, guessed from their group and from "
      "earlier samples of the prompt; 0 = none; never changes a sample";
  static constexpr Range kDraftRange{0, 1024};
  static constexpr char kLayerHelp[] =
      "guess also with the checkpoint's layer for multi-token prediction (DeepSeek-V3), which then "
      "runs for every token; a checkpoint without one is an error; never changes a sample";
  template <class V>
  void fields(V& v) {
    v("max_batch", max_batch, "sequences decoded together", Range{1, 65536});
    v("cache_pages", cache_pages, "KV pages of 16 tokens; 0 = what max_batch needs", Range{0, 1e9});
    v("cache_mb", cache_mb, "memory bound of the KV cache in MiB", Range{1, 1 << 20});
    v("prefill_chunk", prefill_chunk, "prompt tokens per forward call", Range{1, 1 << 20});
    v("record_experts", record_experts,
      "keep the routed experts of every token and how sure the router was of the first");
    v("longest_first", longest_first,
      "when more samples are wanted than are decoded together, begin those first whose prompts had "
      "long samples before, so that the end of the batch is not left to a few; changes no sample");
    v("draft_tokens", draft_tokens, kDraftHelp, kDraftRange);
    v("draft_batch", draft_batch,
      "when at most half as many sequences are left, the batch is filled up to it with guessed "
      "tokens",
      Range{1, 65536});
    v("draft_mb", draft_mb, "memory bound in MiB of the earlier samples that guesses are made from",
      Range{0, 1 << 20});
    v("draft_layer", draft_layer, kLayerHelp);
  }
};

}  // namespace zeroth
