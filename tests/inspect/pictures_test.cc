#include "inspect/pictures.h"

#include <doctest/doctest.h>

#include <vector>

namespace zeroth {
namespace {

PictureShape shape_of(const Json& images) { return picture_shape(Json({{"images", images}})); }

Json codes_of(const std::vector<TokenId>& tokens) {
  const PictureShape shape = shape_of({{"first", 100}, {"codes", 8}, {"rows", 2}, {"columns", 2}});
  Json out = Json::array();
  for (const Json& picture : pictures_of(shape, tokens))
    out.push_back({picture["first"], picture["codes"]});
  return out;
}

}  // namespace

TEST_CASE("pictures are cut at whole images, and the last one may lack cells") {
  CHECK(codes_of({}) == Json::array());
  CHECK(codes_of({5, 6, 99, 108}) == Json::array());
  CHECK(codes_of({100, 101, 107, 100}) == Json({{0, {0, 1, 7, 0}}}));
  CHECK(codes_of({5, 100, 101, 102, 103, 104, 105}) == Json({{1, {0, 1, 2, 3}}, {5, {4, 5}}}));
  CHECK(codes_of({100, 5, 101}) == Json({{0, Json::array({0})}, {2, Json::array({1})}}));
}

TEST_CASE("a run record that names no shape draws nothing") {
  const Json good = {{"first", 100}, {"codes", 8}, {"rows", 2}, {"columns", 2}};
  CHECK(shape_of(good).columns == 2);
  for (const char* key : {"first", "codes", "rows", "columns"}) {
    for (const Json& bad :
         {Json(0), Json(-3), Json(1 << 30), Json("2"), Json(nullptr), Json(1.5)}) {
      Json images = good;
      images[key] = bad;
      CAPTURE(key);
      CHECK(shape_of(images).codes == 0);
      images.erase(key);
      CHECK(shape_of(images).codes == 0);
    }
  }
  CHECK(picture_shape(Json::array()).codes == 0);
  CHECK(shape_of(Json::array()).codes == 0);
  CHECK(shape_of("none").codes == 0);
  CHECK(pictures_of(PictureShape{}, std::vector<TokenId>{100, 101}) == Json::array());
}

}  // namespace zeroth
