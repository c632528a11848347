#include "core/json_builder.h"

#include <algorithm>
#include <utility>

namespace zeroth {
namespace {

// An ordered object compares a new key with every earlier one. Above this size the builder keeps an
// index of the keys beside it, so that a hostile object of a million keys takes no hours.
constexpr size_t kIndexedKeys = 32;

}  // namespace

bool JsonBuilder::parse_error(size_t byte, const std::string&, const Json::exception& error) {
  reason_ = error.what();
  error_byte_ = dynamic_cast<const Json::parse_error*>(&error) != nullptr ? byte : 0;
  return false;
}

bool JsonBuilder::open(Json&& empty) {
  if (levels_.size() >= static_cast<size_t>(rules_.bounds.depth)) return refuse(Over::kDepth);
  levels_.emplace_back().value = std::move(empty);
  return true;
}

bool JsonBuilder::close() {
  Json value = std::move(levels_.back().value);
  levels_.pop_back();
  return add(std::move(value));
}

bool JsonBuilder::add(Json value) {
  if (++values_ > rules_.bounds.values) return refuse(Over::kValues);
  if (levels_.empty()) {
    root_ = std::move(value);
    return true;
  }
  if (!levels_.back().value.is_array()) return add_member(levels_.back(), std::move(value));
  levels_.back().value.push_back(std::move(value));
  return true;
}

bool JsonBuilder::add_member(Level& level, Json&& value) {
  auto& members = level.value.get_ref<Json::object_t&>();
  size_t place = members.size();
  if (members.size() < kIndexedKeys) {
    const auto at = std::find_if(members.begin(), members.end(),
                                 [&](const auto& member) { return member.first == level.key; });
    place = static_cast<size_t>(at - members.begin());
  } else {
    if (level.index.empty()) {
      for (size_t i = 0; i < members.size(); ++i) level.index.emplace(members.data()[i].first, i);
    }
    place = level.index.emplace(level.key, members.size()).first->second;
  }
  if (place < members.size()) {
    if (rules_.unique_keys) return refuse(Over::kEqualKeys);
    members.data()[place].second = std::move(value);
    return true;
  }
  if (members.size() >= rules_.members) return refuse(Over::kMembers);
  members.push_back({std::move(level.key), std::move(value)});
  return true;
}

}  // namespace zeroth
