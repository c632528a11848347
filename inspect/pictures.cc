#include "inspect/pictures.h"

namespace zeroth {

PictureShape picture_shape(const Json& run_info) {
  if (!run_info.is_object()) return {};
  const auto images = run_info.find("images");
  if (images == run_info.end() || !images->is_object()) return {};
  // Not there, no number, or none that an image can have: 0.
  const auto number = [&](const char* key, int64_t least, int64_t most) -> int64_t {
    const auto found = images->find(key);
    if (found == images->end() || !found->is_number_integer()) return 0;
    const auto value = found->get<int64_t>();
    return value >= least && value <= most ? value : 0;
  };
  const PictureShape shape{number("first", 1, 1 << 24), number("codes", 1, 1 << 24),
                           number("rows", 1, 4096), number("columns", 1, 4096)};
  const bool whole = shape.first > 0 && shape.codes > 0 && shape.rows > 0 && shape.columns > 0;
  return whole ? shape : PictureShape{};
}

Json pictures_of(const PictureShape& shape, std::span<const TokenId> tokens) {
  Json out = Json::array();
  if (shape.codes == 0) return out;
  const auto cells = static_cast<size_t>(shape.rows * shape.columns);
  bool open = false;
  for (size_t t = 0; t < tokens.size(); ++t) {
    const int64_t code = int64_t{tokens[t]} - shape.first;
    if (code < 0 || code >= shape.codes) {
      open = false;
      continue;
    }
    if (!open || out.back()["codes"].size() == cells) {
      out.push_back({{"first", t},
                     {"rows", shape.rows},
                     {"columns", shape.columns},
                     {"codes", Json::array()}});
    }
    out.back()["codes"].push_back(code);
    open = true;
  }
  return out;
}

}  // namespace zeroth
