#include "rewards/math/arith.h"

namespace zeroth::math {

namespace {

int rows_of(const Pool& pool, Ref m) {
  return pool[m].data == 0 ? 0 : pool[m].count / pool[m].data;
}

Ref matrix_product(Pool& pool, Ref a, Ref b) {
  int rows = rows_of(pool, a), inner = pool[a].data, cols = pool[b].data;
  if (inner != rows_of(pool, b) || static_cast<int64_t>(rows) * inner * cols > 500) return kNoRef;
  std::vector<Ref> left = pool.copy_children(a), right = pool.copy_children(b), out;
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < cols; ++j) {
      Ref sum = pool.integer(0);
      for (int k = 0; k < inner; ++k) {
        sum = pool.add(sum, pool.mul(left[static_cast<size_t>(i * inner + k)],
                                     right[static_cast<size_t>(k * cols + j)]));
      }
      out.push_back(sum);
    }
  }
  return pool.make(Op::kMatrix, out, cols);
}

// Without row `row` and column `column`.
Ref minor_of(Pool& pool, const std::vector<Ref>& cells, int n, int row, int column) {
  std::vector<Ref> minor;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      if (i != row && j != column) minor.push_back(cells[static_cast<size_t>(i * n + j)]);
    }
  }
  return pool.make(Op::kMatrix, minor, n - 1);
}

// The adjugate over the determinant; up to 3 x 3.
Ref matrix_inverse(Pool& pool, Ref matrix) {
  int n = pool[matrix].data;
  if (rows_of(pool, matrix) != n || n < 2 || n > 3) return kNoRef;
  Ref det = determinant(pool, matrix);
  if (det == kNoRef || (pool.is_number(det) && pool.value(det).is_zero())) return kNoRef;
  std::vector<Ref> cells = pool.copy_children(matrix), out;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      Ref cofactor = determinant(pool, minor_of(pool, cells, n, j, i));
      if (cofactor == kNoRef) return kNoRef;
      out.push_back(pool.div((i + j) % 2 == 0 ? cofactor : pool.neg(cofactor), det));
    }
  }
  return pool.make(Op::kMatrix, out, n);
}

bool is_container(const Pool& pool, Ref ref) {
  switch (pool[ref].op) {
    case Op::kList:
    case Op::kSet:
    case Op::kInterval:
    case Op::kUnion:
    case Op::kRelation:
    case Op::kSetBuilder:
    case Op::kText:
    case Op::kIntersection:
    case Op::kDifference:
    case Op::kSpecialSet:
    case Op::kBase:
      return true;
    default:
      return false;
  }
}

// Elementwise over a vector written as a tuple: 2(1,3).
Ref scale_tuple(Pool& pool, Ref scalar, Ref tuple) {
  std::vector<Ref> kids = pool.copy_children(tuple);
  for (Ref& kid : kids) kid = pool.mul(scalar, kid);
  return pool.make(Op::kTuple, kids);
}

}  // namespace

Ref combine_add(Pool& pool, Ref a, Ref b) {
  if (pool.full() || is_container(pool, a) || is_container(pool, b)) return kNoRef;
  bool matrices = pool.is(a, Op::kMatrix) && pool.is(b, Op::kMatrix);
  bool tuples = pool.is(a, Op::kTuple) && pool.is(b, Op::kTuple);
  if (matrices || tuples) {
    if (pool[a].count != pool[b].count || pool[a].data != pool[b].data) return kNoRef;
    std::vector<Ref> left = pool.copy_children(a), right = pool.copy_children(b);
    for (size_t i = 0; i < left.size(); ++i) left[i] = pool.add(left[i], right[i]);
    return pool.make(pool[a].op, left, pool[a].data);
  }
  if (pool.is(a, Op::kMatrix) || pool.is(b, Op::kMatrix)) return pool.make(Op::kAdd, {a, b});
  return pool.add(a, b);
}

Ref combine_mul(Pool& pool, Ref a, Ref b) {
  if (pool.full() || is_container(pool, a) || is_container(pool, b)) return kNoRef;
  bool ma = pool.is(a, Op::kMatrix), mb = pool.is(b, Op::kMatrix);
  if (ma && mb) {
    Ref product = matrix_product(pool, a, b);
    return product != kNoRef ? product
                             : pool.make(Op::kOpaque, {a, b}, pool.intern("matrix product"));
  }
  if (ma || mb) {
    Ref scalar = ma ? b : a, matrix = ma ? a : b;
    if (pool.is(scalar, Op::kTuple)) return kNoRef;
    std::vector<Ref> kids = pool.copy_children(matrix);
    for (Ref& kid : kids) kid = pool.mul(scalar, kid);
    return pool.make(Op::kMatrix, kids, pool[matrix].data);
  }
  if (pool.is(a, Op::kTuple) != pool.is(b, Op::kTuple)) {
    return pool.is(a, Op::kTuple) ? scale_tuple(pool, b, a) : scale_tuple(pool, a, b);
  }
  if (pool.is(a, Op::kTuple)) return kNoRef;
  if (pool.is_number(a) && (pool.is(b, Op::kPercent) || pool.is(b, Op::kDegree))) {
    const Node node = pool[b];
    return pool.make(node.op, {pool.mul(a, pool.child(b, 0))});
  }
  return pool.mul(a, b);
}

Ref combine_pow(Pool& pool, Ref base, Ref exponent) {
  if (pool.full() || is_container(pool, base) || is_container(pool, exponent)) return kNoRef;
  if (pool.is(exponent, Op::kMatrix) || pool.is(base, Op::kTuple)) return kNoRef;
  if (!pool.is(base, Op::kMatrix)) return pool.pow(base, exponent);
  if (pool.is_number(exponent) && pool.value(exponent) == Rational(-1)) {
    Ref inverse = matrix_inverse(pool, base);
    if (inverse != kNoRef) return inverse;
  }
  int64_t n = 0;
  int size = pool[base].data;
  if (pool.is_number(exponent) && pool.value(exponent).to_int(&n) && n >= 1 && n <= 16 &&
      rows_of(pool, base) == size && size <= 4) {
    Ref power = base;
    for (int64_t i = 1; i < n; ++i) {
      power = matrix_product(pool, power, base);
      if (power == kNoRef || pool.full()) return kNoRef;
    }
    return power;
  }
  return pool.make(Op::kOpaque, {base, exponent}, pool.intern("matrix power"));
}

Ref transpose(Pool& pool, Ref matrix) {
  int cols = pool[matrix].data, rows = rows_of(pool, matrix);
  std::vector<Ref> kids = pool.copy_children(matrix), out;
  for (int j = 0; j < cols; ++j) {
    for (int i = 0; i < rows; ++i) out.push_back(kids[static_cast<size_t>(i * cols + j)]);
  }
  return pool.make(Op::kMatrix, out, rows);
}

// Laplace expansion.
Ref determinant(Pool& pool, Ref matrix) {
  int n = pool[matrix].data;
  if (rows_of(pool, matrix) != n || n > 4 || pool.full()) return kNoRef;
  std::vector<Ref> kids = pool.copy_children(matrix);
  if (n == 1) return kids[0];
  Ref sum = pool.integer(0);
  for (int skip = 0; skip < n; ++skip) {
    Ref sub = determinant(pool, minor_of(pool, kids, n, 0, skip));
    if (sub == kNoRef) return kNoRef;
    Ref part = pool.mul(kids[static_cast<size_t>(skip)], sub);
    sum = pool.add(sum, skip % 2 == 0 ? part : pool.neg(part));
  }
  return sum;
}

}  // namespace zeroth::math
