// What a node of an expression tree can be.
#pragma once

#include <cstdint>

namespace zeroth::math {

using Ref = int32_t;
constexpr Ref kNoRef = -1;

enum class Op : uint8_t {
  kNumber,  // data: index of the rational; flag: kDecimalFlag when written with a decimal point
  kSymbol,  // data: name
  kPi,
  kEuler,
  kImaginary,
  kInfinity,
  kAdd,  // n-ary
  kMul,  // n-ary
  kDiv,
  kPow,       // roots are powers with exponent 1/n
  kFunction,  // data: Function
  kCall,      // data: name of an unknown function
  kSum,       // body, bound symbol, from, to; likewise kProduct
  kProduct,
  kOpaque,  // data: name (integral, limit, ...); equal only by structure
  kPercent,
  kDegree,
  kPlusMinus,  // one child; the sign is open
  kMinusPlus,
  kText,   // data: normalised words
  kBase,   // data: digits; flag: base
  kRatio,  // a : b : ...
  kList,   // comma list without brackets; flag: kJoinedByAnd | kJoinedByOr
  kTuple,
  kInterval,  // two ends; flag: kOpenLeft | kOpenRight
  kSet,
  kSetBuilder,  // element, condition...; flag as of kList
  kUnion,
  kIntersection,
  kDifference,
  kSpecialSet,  // data: name (R, Z, N, Q, C, empty)
  kRelation,    // terms; data: name made of one relation code per sign, see RelationCode
  kMatrix,      // row-major; data: columns
};

// Relation codes inside the name of a kRelation.
enum RelationCode : char {
  kEq = '=',
  kNe = '!',
  kLt = '<',
  kGt = '>',
  kLe = 'l',
  kGe = 'g',
  kApprox = '~',
  kIn = 'i',
  kNotIn = 'n',
  kSubset = 's',
  kCongruent = 'c',
  kModulo = 'm'  // behind kCongruent; the term after it is the modulus
};

constexpr uint8_t kDecimalFlag = 1;
constexpr uint8_t kOpenLeft = 1, kOpenRight = 2;
constexpr uint8_t kCasesFlag = 7;                     // kOpaque: pairs of a value and its condition
constexpr uint8_t kJoinedByAnd = 1, kJoinedByOr = 2;  // the conjunctions between members

enum class Function : int32_t {
  kSin,
  kCos,
  kTan,
  kCot,
  kSec,
  kCsc,
  kArcsin,
  kArccos,
  kArctan,
  kArccot,
  kArcsec,
  kArccsc,
  kSinh,
  kCosh,
  kTanh,
  kCoth,
  kSech,
  kCsch,
  kArsinh,
  kArcosh,
  kArtanh,
  kLog,  // of argument, to base
  kAbs,
  kFloor,
  kCeil,
  kFactorial,
  kBinomial,
  kGcd,
  kLcm,
  kMax,
  kMin,
  kMod,
  kGamma,
  kRe,
  kIm,
  kConj,
  kDet,
  kTranspose
};

// Sets of points of the real line.
inline bool is_region_op(Op op) {
  return op == Op::kInterval || op == Op::kUnion || op == Op::kIntersection ||
         op == Op::kDifference || op == Op::kSetBuilder || op == Op::kSpecialSet;
}

struct Node {
  Op op;
  uint8_t flag = 0;
  int32_t first = 0;
  int32_t count = 0;
  int32_t data = 0;
  int32_t height = 0;
  int32_t size = 1;  // nodes of the tree below, shared ones counted each time
};

constexpr int kMaxHeight = 600;  // bounds every recursion over trees

}  // namespace zeroth::math
