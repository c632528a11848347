// Filters on sequences (jinja2/filters.py). Those that make a generator there make one here: it is
// walked when somebody asks for its items, and only once.
#include <algorithm>
#include <memory>
#include <set>

#include "text/jinja/builtins.h"
#include "text/jinja/error.h"
#include "text/jinja/filters.h"
#include "text/jinja/python_text.h"

namespace zeroth::jinja {
namespace {

Value none_or(const Value* value) { return value != nullptr ? *value : Value(); }
bool set(Runtime& runtime, const Value* value) { return value != nullptr && runtime.truth(*value); }

Value ignoring_case(Runtime& runtime, const Value& value) {
  return value.is(Type::kText) ? runtime.text(lower_case(value.bytes())) : value;
}

// Python's sort: stable, by "less" of the keys; `reverse` keeps the order of equal ones.
std::vector<Value> sorted(Runtime& runtime, const std::vector<Value>& items,
                          const std::vector<Value>& keys, bool reverse) {
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return reverse ? runtime.less(keys[b], keys[a]) : runtime.less(keys[a], keys[b]);
  });
  std::vector<Value> out;
  out.reserve(order.size());
  for (const size_t at : order) out.push_back(items[at]);
  return out;
}

Value sort(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "sort", {"reverse", "case_sensitive", "attribute"});
  const bool fold = !set(runtime, args[1]);
  std::vector<Value> attributes{none_or(args[2])};
  if (attributes[0].is(Type::kText)) {
    const Value listed = attributes[0];
    attributes.clear();
    for (const auto part : split_at(listed.bytes(), ",", -1, false)) {
      attributes.push_back(runtime.text(part));
    }
  }
  const std::vector<Value> items = runtime.items_of(subject);
  std::vector<Value> keys;
  for (const Value& item : items) {
    std::vector<Value> key;
    for (const Value& attribute : attributes) {
      const Value part = runtime.path(item, attribute);
      key.push_back(fold ? ignoring_case(runtime, part) : part);
    }
    keys.push_back(runtime.list(std::move(key)));
  }
  return runtime.list(sorted(runtime, items, keys, set(runtime, args[0])));
}

Value dictsort(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "dictsort", {"case_sensitive", "by", "reverse"});
  const std::string by = args[1] == nullptr ? "key" : runtime.str(*args[1]);
  if (by != "key" && by != "value") {
    fail_runtime("You can only sort by either \"key\" or \"value\"");
  }
  if (subject.is(Type::kUndefined)) runtime.attribute(subject, "items");  // throws what it says
  if (!subject.is(Type::kDict)) {
    fail_runtime(std::string("'") + type_name(subject) + "' object has no attribute 'items'");
  }
  std::vector<Value> items, keys;
  for (const auto& [key, value] : subject.mapping().items) {
    items.push_back(runtime.tuple({key, value}));
    const Value& chosen = by == "key" ? key : value;
    keys.push_back(set(runtime, args[0]) ? chosen : ignoring_case(runtime, chosen));
  }
  return runtime.list(sorted(runtime, items, keys, set(runtime, args[2])));
}

Value unique(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "unique", {"case_sensitive", "attribute"});
  const bool fold = !set(runtime, args[0]);
  auto seen = std::make_shared<std::set<std::string>>();
  return runtime.iterator([&runtime, next = runtime.iterate(subject), attribute = none_or(args[1]),
                           fold, seen](Value& out) {
    while (next(out)) {
      runtime.spend(0);
      const Value key = runtime.path(out, attribute);
      const std::string hash = hash_key(fold ? ignoring_case(runtime, key) : key);
      runtime.spend_bytes(8 * hash.size());
      if (seen->insert(hash).second) return true;
    }
    return false;
  });
}

Value groupby(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "groupby", {"attribute", "default", "case_sensitive"}, 1);
  const bool fold = !set(runtime, args[2]);
  const std::vector<Value> items = runtime.items_of(subject);
  std::vector<Value> keys;
  for (const Value& item : items) {
    const Value key = runtime.path(item, *args[0], args[1]);
    keys.push_back(fold ? ignoring_case(runtime, key) : key);
  }
  const std::vector<Value> in_order = sorted(runtime, items, keys, false);
  std::vector<Value> groups;
  for (size_t at = 0; at < in_order.size();) {
    const Value grouper = runtime.path(in_order[at], *args[0], args[1]);
    const Value key = fold ? ignoring_case(runtime, grouper) : grouper;
    std::vector<Value> members;
    for (; at < in_order.size(); ++at) {
      const Value other = runtime.path(in_order[at], *args[0], args[1]);
      if (!runtime.equal(fold ? ignoring_case(runtime, other) : other, key)) break;
      members.push_back(in_order[at]);
    }
    const Value group = runtime.tuple({grouper, runtime.list(std::move(members))});
    group.as<Sequence>().grouped = true;
    groups.push_back(group);
  }
  return runtime.list(std::move(groups));
}

template <bool kGreatest>
Value extreme(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "min", {"case_sensitive", "attribute"});
  const bool fold = !set(runtime, args[0]);
  const auto key_of = [&](const Value& item) {
    const Value key = runtime.path(item, none_or(args[1]));
    return fold ? ignoring_case(runtime, key) : key;
  };
  const std::vector<Value> items = runtime.items_of(subject);
  if (items.empty()) return runtime.undefined("No aggregated item, sequence was empty.");
  size_t best = 0;
  Value best_key = key_of(items[0]);
  for (size_t i = 1; i < items.size(); ++i) {
    const Value key = key_of(items[i]);
    if (kGreatest ? !runtime.less(best_key, key) : !runtime.less(key, best_key)) continue;
    best = i;
    best_key = key;
  }
  return items[best];
}

Value sum(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "sum", {"attribute", "start"});
  Value total = args[1] != nullptr ? *args[1] : Value::integer(0);
  if (total.is(Type::kText)) fail_runtime("sum() can't sum strings [use ''.join(seq) instead]");
  for (const Value& item : runtime.items_of(subject)) {
    total = runtime.binary(
        "+", total,
        args[0] == nullptr || args[0]->is(Type::kNone) ? item : runtime.path(item, *args[0]));
  }
  return total;
}

Value first(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "first", {});
  Value out;
  if (runtime.iterate(subject)(out)) return out;
  return runtime.undefined("No first item, sequence was empty.");
}

Value last(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "last", {});
  if (subject.is(Type::kIterator)) fail_runtime("'generator' object is not reversible");
  const std::vector<Value> items = runtime.items_of(subject);
  return items.empty() ? runtime.undefined("No last item, sequence was empty.") : items.back();
}

Value length(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "length", {});
  return Value::integer(runtime.length(subject));
}

Value list(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "list", {});
  return runtime.list(runtime.items_of(subject));
}

Value reverse(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "reverse", {});
  std::vector<Value> items = runtime.items_of(subject);
  std::reverse(items.begin(), items.end());
  if (subject.is(Type::kText)) {
    std::string out;
    for (const Value& character : items) out += character.bytes();
    return runtime.text(std::move(out), subject.text().markup);
  }
  if (subject.is(Type::kIterator)) return runtime.list(std::move(items));
  const Value kept = runtime.list(std::move(items));
  return runtime.iterator(runtime.iterate(kept));
}

Value join(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "join", {"d", "attribute"});
  const std::string between = args[0] == nullptr ? "" : runtime.str(*args[0]);
  const Value attribute = none_or(args[1]);
  std::string out;
  bool head = true;
  const Iterator::Next next = runtime.iterate(subject);
  for (Value item; next(item);) {
    runtime.spend(0);
    if (!head) out += between;
    head = false;
    out += runtime.str(attribute.is(Type::kNone) ? item : runtime.path(item, attribute));
    if (out.size() > runtime.text_room()) fail_as(Fault::kLimit, "a text grows too long");
  }
  return runtime.text(std::move(out));
}

Value batch(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "batch", {"linecount", "fill_with"}, 1);
  const int64_t size = whole_argument(runtime, *args[0], "batch");
  const Value fill = none_or(args[1]);
  if (size < 1) fail_unsupported("batch of less than 1");
  return runtime.iterator([&runtime, next = runtime.iterate(subject), size, fill](Value& out) {
    std::vector<Value> part;
    for (Value item; static_cast<int64_t>(part.size()) < size && next(item);) part.push_back(item);
    if (part.empty()) return false;
    while (!fill.is(Type::kNone) && static_cast<int64_t>(part.size()) < size) {
      runtime.spend(1);
      part.push_back(fill);
    }
    out = runtime.list(std::move(part));
    return true;
  });
}

Value slice(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "slice", {"slices", "fill_with"}, 1);
  const int64_t slices = whole_argument(runtime, *args[0], "slice");
  if (slices == 0) fail_runtime("integer division or modulo by zero");
  const Value fill = none_or(args[1]);
  const Value kept = runtime.list(runtime.items_of(subject));
  const auto size = static_cast<int64_t>(kept.sequence().items.size());
  return runtime.iterator(
      [&runtime, kept, slices, fill, size, number = int64_t{0}](Value& out) mutable {
        if (number >= slices) return false;
        const int64_t each = size / slices;
        const int64_t extra = size % slices;
        const int64_t start = number * each + std::min(number, extra);
        const auto begin = kept.sequence().items.begin();
        std::vector<Value> part(begin + start, begin + start + each + (number < extra ? 1 : 0));
        if (!fill.is(Type::kNone) && number >= extra) part.push_back(fill);
        ++number;
        out = runtime.list(std::move(part));
        return true;
      });
}

// map(attribute=..), or map(filter, arguments of it).
Value map(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  if (!runtime.truth(subject)) return runtime.iterator([](Value&) { return false; });
  const Value* attribute = nullptr;
  Value fallback;
  if (arguments.positional.empty()) {
    for (const auto& [name, value] : arguments.named) {
      if (name == "attribute") {
        attribute = &value;
      } else if (name == "default") {
        fallback = value;
      } else {
        fail_runtime("Unexpected keyword argument " + repr_text(name));
      }
    }
    if (attribute == nullptr) fail_runtime("map requires a filter argument");
    return runtime.iterator(
        [&runtime, next = runtime.iterate(subject), attribute = *attribute, fallback](Value& out) {
          Value item;
          if (!next(item)) return false;
          out = runtime.path(item, attribute, &fallback);
          return true;
        });
  }
  const std::string name = text_argument(arguments.positional[0], "map");
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin());
  return runtime.iterator(
      [&runtime, next = runtime.iterate(subject), name, rest](Value& out) mutable {
        Value item;
        if (!next(item)) return false;
        Arguments given = rest;
        out = runtime.filter(name, item, given);
        return true;
      });
}

// select, reject, selectattr, rejectattr: those whose truth, or whose test, is `kWanted`.
template <bool kAttribute, bool kWanted>
Value chosen(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  if (!runtime.truth(subject)) return runtime.iterator([](Value&) { return false; });
  Arguments rest = arguments;
  Value attribute;
  if (kAttribute) {
    if (rest.positional.empty()) fail_runtime("Missing parameter for attribute name");
    attribute = rest.positional[0];
    rest.positional.erase(rest.positional.begin());
  }
  std::string test;
  if (!rest.positional.empty()) {
    test = text_argument(rest.positional[0], "select");
    rest.positional.erase(rest.positional.begin());
  }
  return runtime.iterator(
      [&runtime, next = runtime.iterate(subject), attribute, test, rest](Value& out) mutable {
        while (next(out)) {
          runtime.spend(0);
          const Value seen = kAttribute ? runtime.path(out, attribute) : out;
          Arguments given = rest;
          const bool good = test.empty() ? runtime.truth(seen) : runtime.test(test, seen, given);
          if (good == kWanted) return true;
        }
        return false;
      });
}

Value items(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "items", {});
  if (subject.is(Type::kUndefined)) return runtime.iterator([](Value&) { return false; });
  if (!subject.is(Type::kDict)) fail_runtime("Can only get item pairs from a mapping.");
  const Value view(Type::kView,
                   std::make_shared<View>(runtime.memory(), subject, View::Of::kItems));
  return runtime.iterator(runtime.iterate(view));
}

}  // namespace

FilterTable sequence_filters() {
  return {{"sort", sort},
          {"dictsort", dictsort},
          {"unique", unique},
          {"groupby", groupby},
          {"min", extreme<false>},
          {"max", extreme<true>},
          {"sum", sum},
          {"first", first},
          {"last", last},
          {"length", length},
          {"count", length},
          {"list", list},
          {"reverse", reverse},
          {"join", join},
          {"batch", batch},
          {"slice", slice},
          {"map", map},
          {"select", chosen<false, true>},
          {"reject", chosen<false, false>},
          {"selectattr", chosen<true, true>},
          {"rejectattr", chosen<true, false>},
          {"items", items}};
}

}  // namespace zeroth::jinja
