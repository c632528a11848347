#include "learn/optimizer.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace zeroth;

namespace {

Parameters small_parameters() {
  std::vector<ParameterInfo> infos(3);
  infos[0].name = "matrix";
  infos[0].shape = {2, 3};
  infos[0].decay = true;
  infos[1].name = "norm";
  infos[1].shape = {3};
  infos[2].name = "router";
  infos[2].shape = {4};
  Parameters parameters(infos);
  for (const ParameterInfo& info : parameters.infos()) {
    for (float& x : parameters.view(info)) x = 0.5f;
  }
  return parameters;
}

}  // namespace

TEST_CASE("schedules: warm-up, hold, decay to the floor at the last step") {
  OptimizerConfig config;
  config.lr = 1;
  config.warmup_steps = 4;
  CHECK(learning_rate(config, 0, 100) == 0.25);
  CHECK(learning_rate(config, 3, 100) == 1);
  CHECK(learning_rate(config, 99, 100) == 1);

  config.schedule = "linear";
  config.min_lr_ratio = 0.05;
  config.decay_from = 0.25;
  CHECK(learning_rate(config, 25, 101) == 1);  // decay begins at 25.25
  CHECK(learning_rate(config, 100, 101) == doctest::Approx(0.05));
  CHECK(learning_rate(config, 63, 101) == doctest::Approx(1 - 0.95 * (63 - 25.25) / (100 - 25.25)));
  config.decay_from = 0;
  CHECK(learning_rate(config, 52, 101) == doctest::Approx(1 - 0.95 * 48.0 / 96));

  config.schedule = "cosine";
  CHECK(learning_rate(config, 52, 101) == doctest::Approx(1 - 0.95 * 0.5));
  CHECK(learning_rate(config, 100, 101) == doctest::Approx(0.05));
  CHECK(learning_rate(config, 500, 101) == doctest::Approx(0.05));
}

TEST_CASE("AdamW: one update by hand, decay on matrices only, frozen tensors untouched") {
  Parameters parameters = small_parameters();
  parameters.set_trainable("router", false);
  OptimizerConfig config;
  config.eps = 1e-8;
  config.weight_decay = 0.1;
  config.max_grad_norm = 1;
  AdamW optimizer(parameters, config);
  std::vector<float> grads(parameters.values().size());
  for (const ParameterInfo& info : parameters.infos()) {
    for (int64_t i = 0; i < info.count; ++i) grads[info.offset + i] = 2;
  }
  const double norm = optimizer.step(parameters, grads, 0.01);
  CHECK(norm == doctest::Approx(2 * 3.0));  // nine trainable entries of 2
  CHECK(optimizer.steps() == 1);
  // The first step moves by lr * g / (|g| + eps) whatever the clipping, plus decay lr * wd * w.
  for (float w : parameters.view(parameters.info("norm"))) CHECK(w == doctest::Approx(0.49f));
  for (float w : parameters.view(parameters.info("matrix")))
    CHECK(w == doctest::Approx(0.5 - 0.01 - 0.0005));
  for (float w : parameters.view(parameters.info("router"))) CHECK(w == 0.5f);
  const ParameterInfo& matrix = parameters.info("matrix");
  CHECK(optimizer.first_moment()[matrix.offset] ==
        doctest::Approx(0.1 * 2 / 6));  // clipped gradient 2/6
}

TEST_CASE("a gradient that is not finite changes nothing") {
  Parameters parameters = small_parameters();
  AdamW optimizer(parameters, {});
  std::vector<float> grads(parameters.values().size(), 1);
  grads[1] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> before(parameters.values().begin(), parameters.values().end());
  CHECK(!std::isfinite(optimizer.step(parameters, grads, 0.1)));
  CHECK(optimizer.steps() == 0);
  CHECK(std::equal(before.begin(), before.end(), parameters.values().begin()));
}
