#include "policy/adapted.h"

#include "model/formats/checkpoint.h"
#include "policy/decoder.h"
#include "policy/draft_layer.h"
#include "policy/published.h"

namespace zeroth {

WeightsPtr load_adapted_weights(const std::filesystem::path& path,
                                const std::filesystem::path& adapter, kernels::Element element,
                                const kernels::Operators& operators) {
  const OpenModel model = open_model(path, adapter);
  const auto architecture = std::make_shared<const Architecture>(
      model.config, element, operators, ExpertLink(), DraftLayer::open(path, model.config));
  return publish_from(architecture, *model.source, nullptr, 0);
}

}  // namespace zeroth
