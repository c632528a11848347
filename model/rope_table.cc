#include "model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace zeroth {
namespace {

constexpr double kPi = std::numbers::pi;

float llama3_frequency(const RopeConfig& c, double frequency) {
  const double wavelength = 2 * kPi / frequency;
  const double low = c.original_max_position / c.low_freq_factor;
  const double high = c.original_max_position / c.high_freq_factor;
  if (wavelength > low) return static_cast<float>(frequency / c.factor);
  if (wavelength < high) return static_cast<float>(frequency);
  const double smooth = (c.original_max_position / wavelength - c.low_freq_factor) /
                        (c.high_freq_factor - c.low_freq_factor);
  return static_cast<float>((1 - smooth) * frequency / c.factor + smooth * frequency);
}

// The dimension whose pair turns `rotations` times over the pre-training length.
double yarn_dimension(const RopeConfig& c, double rotations, int dim) {
  return dim * std::log(c.original_max_position / (rotations * 2 * kPi)) / (2 * std::log(c.theta));
}

void scale_yarn(const RopeConfig& c, int dim, std::vector<float>& frequencies) {
  double low = yarn_dimension(c, c.beta_fast, dim);
  double high = yarn_dimension(c, c.beta_slow, dim);
  if (c.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1.0);
  if (low == high) high += 0.001;
  for (int i = 0; i < dim / 2; ++i) {
    const double ramp = std::clamp((i - low) / (high - low), 0.0, 1.0);
    const double f = frequencies[i];
    frequencies[i] = static_cast<float>(f / c.factor * ramp + f * (1 - ramp));
  }
}

}  // namespace

std::vector<float> rope_frequencies(const RopeConfig& c, int dim) {
  std::vector<float> out(dim / 2);
  for (int i = 0; i < dim / 2; ++i) {
    out[i] = static_cast<float>(1.0 / std::pow(c.theta, 2.0 * i / dim));
  }
  switch (c.type) {
    case RopeType::kDefault:
      break;
    case RopeType::kLinear:
      for (float& f : out) f = static_cast<float>(f / c.factor);
      break;
    case RopeType::kLlama3:
      for (float& f : out) f = llama3_frequency(c, f);
      break;
    case RopeType::kYarn:
      scale_yarn(c, dim, out);
      break;
    case RopeType::kLongrope:
      for (int i = 0; i < dim / 2; ++i) {
        out[i] = static_cast<float>(1.0 / (c.short_factors[i] * std::pow(c.theta, 2.0 * i / dim)));
      }
      break;
  }
  return out;
}

void cos_sin(double angle, float& cosine, float& sine) {
  // pi/2 in two parts: products of the first (33 significant bits) with a quadrant number below
  // 2^20 are exact.
  constexpr double kHigh = 0x1.921fb544p+0;
  constexpr double kLow = 0x1.0b4611a626331p-34;
  const double quadrant = std::nearbyint(angle * (2 / kPi));
  const double r = (angle - quadrant * kHigh) - quadrant * kLow;
  const double r2 = r * r;
  // Taylor series on |r| <= pi/4; the next terms are below 2^-60 and 2^-57.
  double s = 0, c = 0;
  for (int n = 17; n >= 3; n -= 2) s = (1 + s) * (-r2 / (n * (n - 1)));
  for (int n = 16; n >= 2; n -= 2) c = (1 + c) * (-r2 / (n * (n - 1)));
  const double sin_r = r * (1 + s), cos_r = 1 + c;
  const int64_t turn = static_cast<int64_t>(quadrant) & 3;
  const double sin_a = turn == 0 ? sin_r : turn == 1 ? cos_r : turn == 2 ? -sin_r : -cos_r;
  const double cos_a = turn == 0 ? cos_r : turn == 1 ? -sin_r : turn == 2 ? -cos_r : sin_r;
  sine = static_cast<float>(sin_a);
  cosine = static_cast<float>(cos_a);
}

RopeTable::RopeTable(const RopeConfig& config, int dim, int max_position)
    : frequencies_(rope_frequencies(config, dim)),
      scale_(config.cos_sin_scale),
      max_position_(max_position),
      rows_(std::make_shared<Rows>()) {}

std::shared_ptr<const RopeTable::Rows> RopeTable::rows(int64_t positions) const {
  std::lock_guard lock(mutex_);
  if (rows_->positions >= positions) return rows_;
  auto grown = std::make_shared<Rows>(*rows_);
  grown->positions =
      std::min(max_position_, std::max<int64_t>({positions, 2 * rows_->positions, 1024}));
  const size_t half = frequencies_.size();
  grown->cos.resize(grown->positions * half);
  grown->sin.resize(grown->positions * half);
  for (int64_t p = rows_->positions; p < grown->positions; ++p) {
    for (size_t i = 0; i < half; ++i) {
      float& cosine = grown->cos[p * half + i];
      float& sine = grown->sin[p * half + i];
      // The angle is a float product, as in the reference implementations.
      cos_sin(static_cast<float>(p) * frequencies_[i], cosine, sine);
      cosine = static_cast<float>(cosine * scale_);
      sine = static_cast<float>(sine * scale_);
    }
  }
  rows_ = grown;
  return rows_;
}

}  // namespace zeroth
