// Exact rationals (FLINT's fmpq) as a value type.
#pragma once

#include <flint/fmpq.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

namespace zeroth::math {

class Rational {
 public:
  Rational() { fmpq_init(q_); }
  explicit Rational(int64_t n) {
    fmpq_init(q_);
    fmpz_set_si(fmpq_numref(q_), n);
  }
  Rational(int64_t n, int64_t d) {
    fmpq_init(q_);
    fmpq_set_si(q_, n, static_cast<ulong>(d));
  }
  Rational(const Rational& other) {
    fmpq_init(q_);
    fmpq_set(q_, other.q_);
  }
  Rational(Rational&& other) noexcept {
    fmpq_init(q_);
    fmpq_swap(q_, other.q_);
  }
  Rational& operator=(Rational other) noexcept {
    fmpq_swap(q_, other.q_);
    return *this;
  }
  ~Rational() { fmpq_clear(q_); }

  fmpq* get() { return q_; }
  const fmpq* get() const { return q_; }
  const fmpz* num() const { return fmpq_numref(q_); }
  const fmpz* den() const { return fmpq_denref(q_); }

  bool is_zero() const { return fmpq_is_zero(q_); }
  bool is_one() const { return fmpq_is_one(q_); }
  bool is_integer() const { return fmpz_is_one(den()); }
  int sign() const { return fmpq_sgn(q_); }
  // Bits of the larger of numerator and denominator.
  int64_t bits() const {
    return static_cast<int64_t>(std::max(fmpz_bits(num()), fmpz_bits(den())));
  }
  // True when an integer that fits; then *out is it.
  bool to_int(int64_t* out) const {
    if (!is_integer() || !fmpz_fits_si(num())) return false;
    *out = fmpz_get_si(num());
    return true;
  }
  std::string to_string() const {
    char* text = fmpq_get_str(nullptr, 10, q_);
    std::string result(text);
    flint_free(text);
    return result;
  }
  friend bool operator==(const Rational& a, const Rational& b) { return fmpq_equal(a.q_, b.q_); }
  friend bool operator<(const Rational& a, const Rational& b) { return fmpq_cmp(a.q_, b.q_) < 0; }

 private:
  fmpq_t q_;
};

}  // namespace zeroth::math
