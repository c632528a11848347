#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "text/jinja/error.h"
#include "text/jinja/objects.h"
#include "text/jinja/python_text.h"

namespace zeroth::jinja {
namespace {

// Deeper values could not be walked in bounded stack.
constexpr int kMaxDepth = 200;

int checked_depth(int inner) {
  if (inner >= kMaxDepth) {
    fail_as(Fault::kLimit,
            "a value is nested more than " + std::to_string(kMaxDepth) + " levels deep");
  }
  return inner + 1;
}

}  // namespace

const char* to_string(Fault fault) {
  switch (fault) {
    case Fault::kRaised:
      return "raised";
    case Fault::kUndefined:
      return "undefined";
    case Fault::kSyntax:
      return "syntax";
    case Fault::kSecurity:
      return "security";
    case Fault::kRuntime:
      return "runtime";
    case Fault::kRecursion:
      return "recursion";
    case Fault::kLimit:
      return "limit";
    case Fault::kUnsupported:
      return "unsupported";
  }
  return "";
}

Charge::Charge(Memory* memory, size_t bytes) : memory_(memory), bytes_(bytes) {
  if (memory == nullptr) return;
  if (bytes > memory->limit - memory->used) {
    memory_ = nullptr;
    fail_as(Fault::kLimit,
            "its values take more than " + std::to_string(memory->limit >> 20) + " MiB");
  }
  memory->used += bytes;
}

Charge::~Charge() {
  if (memory_ != nullptr) memory_->used -= bytes_;
}

const Text& Value::text() const { return as<Text>(); }
const std::string& Value::bytes() const { return as<Text>().bytes; }
const Sequence& Value::sequence() const { return as<Sequence>(); }
const Mapping& Value::mapping() const { return as<Mapping>(); }

Text::Text(Memory* memory, std::string text, bool safe)
    : Object(memory, sizeof(Text) + text.size()),
      bytes(std::move(text)),
      length(code_points(bytes)),
      markup(safe) {}

Sequence::Sequence(Memory* memory, std::vector<Value> values)
    : Object(memory, sizeof(Sequence) + values.size() * sizeof(Value)), items(std::move(values)) {
  int inner = 0;
  for (const Value& item : items) inner = std::max(inner, depth_of(item));
  depth = checked_depth(inner);
}

Mapping::Mapping(Memory* memory, std::vector<std::pair<Value, Value>> pairs)
    : Object(memory, sizeof(Mapping) + pairs.size() * (3 * sizeof(Value))) {
  int inner = 0;
  for (auto& [key, value] : pairs) {
    inner = std::max({inner, depth_of(key), depth_of(value)});
    const auto [at, fresh] = index_.emplace(hash_key(key), items.size());
    if (fresh) {
      items.emplace_back(std::move(key), std::move(value));
    } else {
      items[at->second].second = std::move(value);
    }
  }
  depth = checked_depth(inner);
}

const Value* Mapping::find(const Value& key) const {
  const auto at = index_.find(hash_key(key));
  return at == index_.end() ? nullptr : &items[at->second].second;
}

const Value* Mapping::find(std::string_view text) const {
  const auto at = index_.find("s" + std::string(text));
  return at == index_.end() ? nullptr : &items[at->second].second;
}

int64_t Range::size() const {
  if (step > 0) return start < stop ? (stop - start - 1) / step + 1 : 0;
  return start > stop ? (start - stop - 1) / -step + 1 : 0;
}

const Value* Namespace::find(std::string_view name) const {
  for (const auto& [key, value] : attributes) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::string hash_key(const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
      return "u";
    case Type::kNone:
      return "N";
    case Type::kBool:
    case Type::kInt:
      return "n" + whole_text(value.whole());
    case Type::kFloat: {
      const double d = value.real();
      const bool whole = std::abs(d) < 1e18 && d == std::floor(d);
      return "n" + (whole ? whole_text(static_cast<Int>(d)) : real_text(d));
    }
    case Type::kText:
      return "s" + value.bytes();
    case Type::kTuple: {
      std::string out = "t(";
      for (const Value& item : value.sequence().items) {
        const std::string key = hash_key(item);
        out += std::to_string(key.size()) + ":" + key;
      }
      return out + ")";
    }
    case Type::kList:
    case Type::kDict:
    case Type::kView:
      fail_runtime(std::string("unhashable type: '") + type_name(value) + "'");
    default:
      return "p" + std::to_string(reinterpret_cast<uintptr_t>(value.object()));
  }
}

int depth_of(const Value& value) {
  if (value.is_sequence()) return value.sequence().depth;
  if (value.is(Type::kDict)) return value.mapping().depth;
  if (value.is(Type::kView)) return depth_of(value.as<View>().dict);
  return 0;
}

const char* type_name(const Value& value) {
  switch (value.type()) {
    case Type::kMissing:
    case Type::kUndefined:
      return "Undefined";
    case Type::kNone:
      return "NoneType";
    case Type::kBool:
      return "bool";
    case Type::kInt:
      return "int";
    case Type::kFloat:
      return "float";
    case Type::kText:
      return value.text().markup ? "Markup" : "str";
    case Type::kList:
      return "list";
    case Type::kTuple:
      return "tuple";
    case Type::kDict:
      return "dict";
    case Type::kRange:
      return "range";
    case Type::kView:
      switch (value.as<View>().of) {
        case View::Of::kKeys:
          return "dict_keys";
        case View::Of::kValues:
          return "dict_values";
        case View::Of::kItems:
          return "dict_items";
      }
      return "";
    case Type::kIterator:
      return "generator";
    case Type::kNamespace:
      return "Namespace";
    case Type::kFunction:
      return "function";
    case Type::kMacro:
      return "Macro";
    case Type::kLoop:
      return "LoopContext";
    case Type::kCycler:
      return "Cycler";
    case Type::kJoiner:
      return "Joiner";
  }
  return "";
}

}  // namespace zeroth::jinja
