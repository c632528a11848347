#include "rl/freeze.h"

#include "core/error.h"

namespace zeroth {

Policy& with_frozen(Policy& policy, const std::vector<std::string>& freeze, bool train_router) {
  Parameters& parameters = policy.parameters();
  std::vector<bool> met(freeze.size(), false);
  bool any = false;
  for (const ParameterInfo& info : parameters.infos()) {
    if (info.role == Role::kSelectionBias) continue;
    bool learns = train_router || info.role != Role::kRouter;
    for (size_t i = 0; i < met.size(); ++i) {
      if (info.name.find(freeze[i]) == std::string::npos) continue;
      met[i] = true;
      learns = false;
    }
    parameters.set_trainable(info.name, learns);
    any = any || learns;
  }
  for (size_t i = 0; i < met.size(); ++i) {
    if (met[i]) continue;
    fail_usage("trainer.freeze: no parameter's name contains \"" + freeze[i] + "\"",
               "give parts of names as the checkpoint has them, such as \"model.layers.0.\"");
  }
  if (!any) fail_usage("trainer.freeze leaves nothing to train", "freeze less");
  return policy;
}

}  // namespace zeroth
