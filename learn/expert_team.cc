#include "learn/expert_team.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.h"
#include "policy/published.h"

namespace zeroth {
namespace {

enum Kind : uint32_t { kNothing, kBranch, kForward, kBackward, kMasters };

// A rank's part of rows that are sorted by expert.
struct Slice {
  int64_t begin = 0, rows = 0;
  std::vector<int64_t> offsets, parts;  // from its first row
  int64_t parts_each = 0;
};

Slice slice_of(const ExpertExchange& exchange, const ExpertRows& rows,
               std::span<const int64_t> parts, int rank) {
  const int experts = static_cast<int>(rows.offsets.size()) - 1;
  const int first = exchange.begin_of(experts, rank), last = exchange.end_of(experts, rank);
  Slice slice;
  slice.begin = rows.offsets[first];
  slice.rows = rows.offsets[last] - slice.begin;
  for (int e = first; e <= last; ++e) slice.offsets.push_back(rows.offsets[e] - slice.begin);
  slice.parts_each = static_cast<int64_t>(parts.size()) / experts;
  for (int64_t i = first * slice.parts_each; i < last * slice.parts_each; ++i)
    slice.parts.push_back(parts[i] - slice.begin);
  return slice;
}

}  // namespace

struct ExpertTeam::Ask {
  Kind kind = kNothing;
  Model model = {};
  const ExpertGradientRows* rows = nullptr;  // kForward, kBackward
  kernels::At<float> grads = {};
  std::span<float> out, dweights;  // kMasters: out, of `owner` from `begin` on
  int owner = -1, branch = 0;
  int64_t begin = 0;
};

struct ExpertTeam::Header {
  uint32_t kind = kNothing;
  int32_t model = 0, layer = 0, branch = 0;
  int64_t version = 0;
  int64_t rows = 0, experts = 0, parts_each = 0;
  int64_t begin = 0, floats = 0;
};

struct ExpertTeam::Inbox {
  std::vector<int64_t> offsets, parts;
  std::vector<float> rows, dout, weights, out, dweights;
};

ExpertTeam::ExpertTeam(Team& team) : team_(team), inboxes_(team.size()), grads_(team.size()) {
  team_.set_service([this] { meet(); });
}

ExpertTeam::~ExpertTeam() { team_.set_service({}); }

int ExpertTeam::add_model() {
  hosts_.emplace_back();
  return static_cast<int>(hosts_.size()) - 1;
}

void ExpertTeam::host(int model, ExpertHost host) { hosts_[model] = std::move(host); }

void ExpertTeam::forward(const Model& model, const ExpertRows& rows, std::span<float> out) {
  const ExpertGradientRows all{rows, {}, {}, {}};
  const Ask ask{kForward, model, &all, {}, out, {}, -1, 0, 0};
  round(&ask);
}

void ExpertTeam::backward(const Model& model, const ExpertGradientRows& rows,
                          kernels::At<float> grads, std::span<float> dx,
                          std::span<float> dweights) {
  const Ask ask{kBackward, model, &rows, grads, dx, dweights, -1, 0, 0};
  round(&ask);
}

void ExpertTeam::read_masters(int model, int owner, int64_t begin, std::span<float> out) {
  const Ask ask{kMasters, {model, 0}, nullptr, {}, out, {}, owner, 0, begin};
  round(&ask);
}

void ExpertTeam::begin_branch(int branch) {
  const Ask ask{kBranch, {}, nullptr, {}, {}, {}, -1, branch, 0};
  round(&ask);
}

void ExpertTeam::meet() {
  while (round(nullptr)) {
  }
}

std::shared_ptr<const Weights> ExpertTeam::weights_of(const Header& header, int rank) const {
  const auto model = static_cast<size_t>(header.model);
  auto weights = model < hosts_.size() && hosts_[model].weights ? hosts_[model].weights() : nullptr;
  const int64_t version = weights ? weights->version() : -1;
  if (version == header.version) return weights;
  fail("rank " + std::to_string(rank) + " computes with version " + std::to_string(header.version) +
           " of model " + std::to_string(header.model) + ", rank " + std::to_string(this->rank()) +
           " has published " + std::to_string(version),
       "this is a fault of zeroth: please report it");
}

// What a member has asked for.
void ExpertTeam::answer(const Header& header, int rank, Inbox& inbox) {
  if (header.kind == kBranch) {
    if (!collect_) fail("rank " + std::to_string(rank) + " differentiates, this one does not");
    grads_[rank] = collect_(rank, header.branch);
  } else if (header.kind == kMasters) {
    const auto model = static_cast<size_t>(header.model);
    const auto masters = model < hosts_.size() && hosts_[model].masters ? hosts_[model].masters()
                                                                        : std::span<const float>();
    if (header.begin < 0 || header.begin + header.floats > static_cast<int64_t>(masters.size()))
      fail("rank " + std::to_string(rank) + " asks for parameters that there are not");
    const auto part = masters.subspan(header.begin, header.floats);
    inbox.out.assign(part.begin(), part.end());
  } else if (header.rows > 0) {
    const auto weights = weights_of(header, rank);
    const ExpertRows rows{header.layer, inbox.offsets, inbox.rows};
    inbox.out.resize(inbox.rows.size());
    if (header.kind == kForward) return server_.forward(*weights, rows, inbox.out);
    if (grads_[rank].empty()) fail("rank " + std::to_string(rank) + " has begun no branch");
    inbox.dweights.resize(inbox.weights.size());
    server_.backward(*weights, {rows, inbox.dout, inbox.weights, inbox.parts}, grads_[rank].data(),
                     inbox.out, inbox.dweights);
  }
}

bool ExpertTeam::round(const Ask* ask) {
  const int size = team_.size(), me = team_.rank();
  const bool by_row = ask != nullptr && ask->rows != nullptr;
  const int64_t width =
      by_row && !ask->rows->rows.empty()
          ? static_cast<int64_t>(ask->rows->rows.size()) / ask->rows->offsets.back()
          : 0;
  std::vector<Slice> slices(size);
  std::vector<Header> mine(size), theirs(size);
  std::vector<Outgoing> out;
  std::vector<Incoming> in;
  for (int r = 0; r < size && ask != nullptr; ++r) {
    Header& header = mine[r];
    header.kind = ask->kind;
    header.model = ask->model.number;
    header.version = ask->model.version;
    header.branch = ask->branch;
    header.begin = ask->begin;
    if (r == ask->owner) header.floats = static_cast<int64_t>(ask->out.size());
    if (!by_row) continue;
    slices[r] = slice_of(*this, *ask->rows, ask->rows->parts, r);
    header.layer = ask->rows->layer;
    header.rows = slices[r].rows;
    header.floats = slices[r].rows * width;
    header.experts = static_cast<int64_t>(slices[r].offsets.size()) - 1;
    header.parts_each = slices[r].parts_each;
  }
  for (int r = 0; r < size; ++r) {
    if (r == me) continue;
    out.push_back({r, std::as_bytes(std::span(&mine[r], 1))});
    in.push_back({r, std::as_writable_bytes(std::span(&theirs[r], 1))});
  }
  team_.serve_exchange(out, in);
  const auto asks = [](const Header& header) { return header.kind != kNothing; };
  if (ask == nullptr && std::none_of(theirs.begin(), theirs.end(), asks)) return false;

  // What is asked with.
  out.clear();
  in.clear();
  for (int r = 0; r < size; ++r) {
    if (r == me) continue;
    if (mine[r].rows > 0) {
      const Slice& slice = slices[r];
      const auto of = [&](std::span<const float> values, int64_t each) {
        out.push_back({r, std::as_bytes(values.subspan(slice.begin * each, slice.rows * each))});
      };
      out.push_back({r, std::as_bytes(std::span(slice.offsets))});
      of(ask->rows->rows, width);
      if (ask->kind == kBackward) {
        out.push_back({r, std::as_bytes(std::span(slice.parts))});
        of(ask->rows->dout, width);
        of(ask->rows->weights, 1);
      }
    }
    if (theirs[r].rows > 0) {
      const Header& header = theirs[r];
      Inbox& inbox = inboxes_[r];
      const auto room = [&](auto& values, int64_t n) {
        values.resize(static_cast<size_t>(n));
        in.push_back({r, std::as_writable_bytes(std::span(values))});
      };
      room(inbox.offsets, header.experts + 1);
      room(inbox.rows, header.floats);
      if (header.kind == kBackward) {
        room(inbox.parts, header.experts * header.parts_each);
        room(inbox.dout, header.floats);
        room(inbox.weights, header.rows);
      }
    }
  }
  team_.serve_exchange(out, in);

  for (int r = 0; r < size; ++r) {
    if (r != me && (theirs[r].kind == kBranch || theirs[r].rows + theirs[r].floats > 0))
      answer(theirs[r], r, inboxes_[r]);
  }
  if (by_row && slices[me].rows > 0) {
    const Slice& slice = slices[me];
    const auto of = [&](auto values, int64_t each) {
      return values.empty() ? values : values.subspan(slice.begin * each, slice.rows * each);
    };
    const auto weights = weights_of(mine[me], me);
    const ExpertRows rows{ask->rows->layer, slice.offsets, of(ask->rows->rows, width)};
    if (ask->kind == kForward) {
      server_.forward(*weights, rows, of(ask->out, width));
    } else {
      server_.backward(*weights,
                       {rows, of(ask->rows->dout, width), of(ask->rows->weights, 1), slice.parts},
                       ask->grads, of(ask->out, width), of(ask->dweights, 1));
    }
  }

  // What comes back.
  out.clear();
  in.clear();
  for (int r = 0; r < size; ++r) {
    if (r == me) continue;
    if (theirs[r].floats > 0) {
      out.push_back({r, std::as_bytes(std::span(inboxes_[r].out))});
      if (theirs[r].kind == kBackward)
        out.push_back({r, std::as_bytes(std::span(inboxes_[r].dweights))});
    }
    if (mine[r].floats > 0) {
      const auto part = [&](std::span<float> values, int64_t each) {
        in.push_back({r, std::as_writable_bytes(
                             by_row ? values.subspan(slices[r].begin * each, slices[r].rows * each)
                                    : values)});
      };
      part(ask->out, width);
      if (ask->kind == kBackward) part(ask->dweights, 1);
    }
  }
  team_.serve_exchange(out, in);
  return true;
}

}  // namespace zeroth
