// What a rule file includes: the drivers, the words to write a formula in, and the macro that makes
// the rule's registry entry out of all targets.

#include "simd/dense-inl.h"
#include "simd/ops-inl.h"

// One function per target, indexed by TargetIndex().
#undef SLOTWISE_DEFINE_RULE
#define SLOTWISE_DEFINE_RULE(rule)                                                               \
  static constexpr DenseFunction k##rule##Dense[] = {                                            \
      nullptr, HWY_CHOOSE_TARGET_LIST(rule::ApplyDense), HWY_CHOOSE_FALLBACK(rule::ApplyDense)}; \
  extern const RuleEntry k##rule { HWY_STATIC_DISPATCH(rule)::kSpec, k##rule##Dense }
