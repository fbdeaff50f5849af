// What a rule file includes: the drivers, the words to write a formula in, and the macro that makes
// the rule's registry entry out of all targets.
//
// A rule derives from Rule<itself> and has
//   static constexpr RuleSpec kSpec;                      its names
//   template <class T> struct Coefficients;               made of the hyperparameters, once a call
//   static void Step(coefficients, g, var, slots...);     the formula, on vectors

#if defined(SLOTWISE_SIMD_RULE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_RULE_INL_H_
#undef SLOTWISE_SIMD_RULE_INL_H_
#else
#define SLOTWISE_SIMD_RULE_INL_H_
#endif

#include "simd/dense-inl.h"
#include "simd/ops-inl.h"
#include "simd/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class R>
struct Rule {
  static void ApplyDense(const DenseCall& call) {
    switch (call.dtype) {
      case DType::kF16:
        return Dense<R, F16Codec>(call).Run(call.count);
      case DType::kBF16:
        return Dense<R, BF16Codec>(call).Run(call.count);
      case DType::kF32:
        return Dense<R, F32Codec>(call).Run(call.count);
      case DType::kF64:
        return Dense<R, F64Codec>(call).Run(call.count);
    }
  }

  static void ApplySparse(const SparseCall& call) {
    switch (call.dtype) {
      case DType::kF16:
        return Rows<R, F16Codec>(call).Run();
      case DType::kBF16:
        return Rows<R, BF16Codec>(call).Run();
      case DType::kF32:
        return Rows<R, F32Codec>(call).Run();
      case DType::kF64:
        return Rows<R, F64Codec>(call).Run();
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

// One function per target, indexed by TargetIndex().
#undef SLOTWISE_TABLE
#define SLOTWISE_TABLE(function) \
  {nullptr, HWY_CHOOSE_TARGET_LIST(function), HWY_CHOOSE_FALLBACK(function)}

#undef SLOTWISE_DEFINE_RULE
#define SLOTWISE_DEFINE_RULE(rule)                                                       \
  static constexpr DenseFunction k##rule##Dense[] = SLOTWISE_TABLE(rule::ApplyDense);    \
  static constexpr SparseFunction k##rule##Sparse[] = SLOTWISE_TABLE(rule::ApplySparse); \
  extern const RuleEntry k##rule {                                                       \
    HWY_STATIC_DISPATCH(rule)::kSpec, k##rule##Dense, k##rule##Sparse                    \
  }

// The same for a rule that has a sparse op only.
#undef SLOTWISE_DEFINE_SPARSE_RULE
#define SLOTWISE_DEFINE_SPARSE_RULE(rule)                                                \
  static constexpr SparseFunction k##rule##Sparse[] = SLOTWISE_TABLE(rule::ApplySparse); \
  extern const RuleEntry k##rule { HWY_STATIC_DISPATCH(rule)::kSpec, nullptr, k##rule##Sparse }

#endif
