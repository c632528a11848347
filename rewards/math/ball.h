// A complex number known to lie in a box: Arb's acb_t as a scoped value (Johansson 2017).
#pragma once

#include <acb.h>

namespace zeroth::math {

class Ball {
 public:
  Ball() { acb_init(z_); }
  Ball(const Ball&) = delete;
  Ball& operator=(const Ball&) = delete;
  ~Ball() { acb_clear(z_); }
  acb_ptr get() { return z_; }
  acb_srcptr get() const { return z_; }
  arb_ptr real() { return acb_realref(z_); }
  arb_ptr imag() { return acb_imagref(z_); }

 private:
  acb_t z_;
};

// The imaginary part is exactly 0.
inline bool is_real(acb_srcptr z) { return arb_is_zero(acb_imagref(z)); }

}  // namespace zeroth::math
