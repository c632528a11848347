// Fields that stages on rows of a file share.
#pragma once

#include <string>

#include "learn/low_rank.h"
#include "learn/optimizer.h"
#include "policy/device_config.h"
#include "policy/publish_config.h"
#include "stages/stage_run.h"
#include "text/prompt.h"

namespace zeroth {

struct RowStageConfig {
  std::string model;
  PublishConfig policy;
  DeviceConfig device;
  PromptConfig prompt;
  uint64_t seed = 0;
  double epochs = 1;
  int64_t batch_rows = 16;
  int64_t micro_batch_tokens = 4096;
  double router_aux_coef = 0;
  LoraConfig lora;
  OptimizerConfig optimizer;
  int64_t evaluation_every = 0;
  SavingConfig saving;

  template <class V>
  void fields(V& v) {
    v("model", model, "folder of the checkpoint to start from");
    v("policy", policy, "how the policy is published");
    device.fields(v);
    v("prompt", prompt, "tokens around a row");
    v("seed", seed, "of the order of rows");
    v("epochs", epochs, "times that all rows are learnt; the last one may be a part",
      Range{0, 1e6});
    v("batch_rows", batch_rows, "rows of an update (packed ones, with packing; pairs)",
      Range{1, 1e9});
    v("micro_batch_tokens", micro_batch_tokens,
      "most tokens of a forward call; bounds memory and changes no bit", Range{16, 1e9});
    v("router_aux_coef", router_aux_coef, "weight of the load-balancing loss; 0 = off",
      Range{0, 100});
    v("lora", lora, "a low-rank adapter that learns in place of the weights");
    v("optimizer", optimizer, "AdamW and its schedule");
    v("evaluation_every", evaluation_every,
      "steps between measurements of data.held_out, before step 0 and after the last included; 0 = "
      "these two alone",
      Range{0, 1e9});
    saving.fields(v);
  }
};

// Rows of files, and how they become tokens.
struct RowsConfig {
  std::string path;
  std::string held_out;
  std::string chat_template;
  Json chat_variables = Json::object();
  int64_t max_length = 0;
  std::string truncation = "keep_start";
  bool shuffle = true;

  template <class V>
  void fields(V& v) {
    v("path", path,
      "rows: JSON Lines or one JSON array (.gz and .zst too), Parquet, a pattern or a folder");
    v("held_out", held_out, "rows that are only measured (eval/..); empty: none");
    v("chat_template", chat_template,
      "file of the Jinja template for messages; empty: the checkpoint's own");
    v("chat_variables", chat_variables,
      "what the template may ask for, such as {\"enable_thinking\": false}");
    v("max_length", max_length,
      "tokens of a row, or of a packed row, at most; 0 = the model's context", Range{0, 1e9});
    v("truncation", truncation, "which end of a longer row is kept, without packing",
      Choice{{"keep_start", "keep_end"}});
    v("shuffle", shuffle, "an order of rows for every epoch, by the seed; false: the file's");
  }
};

}  // namespace zeroth
