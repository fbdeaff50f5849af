// What a rule file includes: the drivers, the words to write a formula in, and the macro that makes
// the rule's registry entry out of all targets.
//
// A rule derives from Rule<itself> and has
//   static constexpr RuleSpec kSpec;                      its names
//   template <class T> struct Coefficients;               made of the hyperparameters, once a call
//   static void Step(coefficients, g, var, slots...);     the formula, on vectors
// and, if an optimizer has its slots decay in rows that it leaves alone,
//   static constexpr bool kSlotsAlone = true;

#if defined(SLOTWISE_SIMD_RULE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_RULE_INL_H_
#undef SLOTWISE_SIMD_RULE_INL_H_
#else
#define SLOTWISE_SIMD_RULE_INL_H_
#endif

#include "simd/dense-inl.h"
#include "simd/ops-inl.h"
#include "simd/rows-inl.h"
#include "simd/sweep-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <template <class, class> class Driver, class R, class Call>
void RunDriver(const Call& call) {
  WithCodec(call.dtype, [&](auto codec) HWY_ATTR { Driver<R, decltype(codec)>(call).Run(); });
}

template <class R>
struct Rule {
  // Whether slots may be swept without var: no slot depends on it, and an optimizer asks for it.
  static constexpr bool kSlotsAlone = false;

  static void ApplyDense(const DenseCall& call) { RunDriver<Dense, R>(call); }
  static void ApplySparse(const SparseCall& call) { RunDriver<Rows, R>(call); }
  static void ApplySweep(const SweepCall& call) { RunDriver<Sweep, R>(call); }
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
  static constexpr SweepFunction k##rule##Sweep[] = SLOTWISE_TABLE(rule::ApplySweep);    \
  extern const RuleEntry k##rule {                                                       \
    HWY_STATIC_DISPATCH(rule)::kSpec, k##rule##Dense, k##rule##Sparse, k##rule##Sweep,   \
        HWY_STATIC_DISPATCH(rule)::kSlotsAlone                                           \
  }

// The same for a rule that has a dense op only, since an update depends on all of var.
#undef SLOTWISE_DEFINE_DENSE_RULE
#define SLOTWISE_DEFINE_DENSE_RULE(rule)                                              \
  static constexpr DenseFunction k##rule##Dense[] = SLOTWISE_TABLE(rule::ApplyDense); \
  extern const RuleEntry k##rule {                                                    \
    HWY_STATIC_DISPATCH(rule)::kSpec, k##rule##Dense, nullptr, nullptr, false         \
  }

// The same for a rule that has a sparse op only.
#undef SLOTWISE_DEFINE_SPARSE_RULE
#define SLOTWISE_DEFINE_SPARSE_RULE(rule)                                                \
  static constexpr SparseFunction k##rule##Sparse[] = SLOTWISE_TABLE(rule::ApplySparse); \
  extern const RuleEntry k##rule {                                                       \
    HWY_STATIC_DISPATCH(rule)::kSpec, nullptr, k##rule##Sparse, nullptr, false           \
  }

#endif
