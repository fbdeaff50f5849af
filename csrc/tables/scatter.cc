// SPDX-License-Identifier: Apache-2.0
// The scatter ops on floating-point rows: rules without slots or coefficients.

#include "tables/tables.h"
#include "core/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tables/scatter.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class R>
struct ScatterRule : Rule<R> {
  static constexpr RuleSpec kSpec = {};

  template <class T>
  struct Coefficients {};

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<R, T>&) {
    return {};
  }
};

struct ScatterAdd : ScatterRule<ScatterAdd> {
  template <class C, class V>
  static HWY_INLINE void Step(const C&, V update, V& var) {
    var = var + update;
  }
};

struct ScatterSub : ScatterRule<ScatterSub> {
  template <class C, class V>
  static HWY_INLINE void Step(const C&, V update, V& var) {
    var = var - update;
  }
};

struct ScatterMul : ScatterRule<ScatterMul> {
  template <class C, class V>
  static HWY_INLINE void Step(const C&, V update, V& var) {
    var = var * update;
  }
};

struct ScatterDiv : ScatterRule<ScatterDiv> {
  template <class C, class V>
  static HWY_INLINE void Step(const C&, V update, V& var) {
    var = var / update;
  }
};

struct ScatterMin : ScatterRule<ScatterMin> {
  template <class C, class V>
  static HWY_INLINE void Step(const C&, V update, V& var) {
    var = FirstMin(var, update);
  }
};

struct ScatterMax : ScatterRule<ScatterMax> {
  template <class C, class V>
  static HWY_INLINE void Step(const C&, V update, V& var) {
    var = FirstMax(var, update);
  }
};

struct Scattered {
  static void Apply(Scatter op, const SparseCall& call) {
    switch (op) {
      case Scatter::kAdd:
        return ScatterAdd::ApplySparse(call);
      case Scatter::kSub:
        return ScatterSub::ApplySparse(call);
      case Scatter::kMul:
        return ScatterMul::ApplySparse(call);
      case Scatter::kDiv:
        return ScatterDiv::ApplySparse(call);
      case Scatter::kMin:
        return ScatterMin::ApplySparse(call);
      case Scatter::kMax:
        return ScatterMax::ApplySparse(call);
      case Scatter::kUpdate:
        return;  // ScatterCopy's
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {

void ScatterFloats(Scatter op, const SparseCall& call) {
  static constexpr void (*kTable[])(Scatter, const SparseCall&) = SLOTWISE_TABLE(Scattered::Apply);
  kTable[TargetIndex()](op, call);
}

}  // namespace slotwise
#endif
