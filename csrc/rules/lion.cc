// SPDX-License-Identifier: Apache-2.0
// ApplyLion (Chen et al., "Symbolic discovery of optimization algorithms", 2023):
//
//   var -= lr * sign(m * beta1 + g * (1 - beta1))
//   m    = m * beta2 + g * (1 - beta2)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/lion.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct Lion : Rule<Lion> {
  static constexpr Movement kMovement = {Drift::kLasting, Base::kSign};
  static constexpr RuleSpec kSpec = {"Lion", {"m"}, "grad", {{"lr"}, {"beta1"}, {"beta2"}}, {}};

  template <class T>
  struct Coefficients {
    T lr, beta1, one_minus_beta1, beta2, one_minus_beta2;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<Lion, T>& args) {
    const auto& [lr, beta1, beta2] = args.hypers;
    return {lr, beta1, beta1.one_minus(), beta2, beta2.one_minus()};
  }

  template <class T>
  static Motion Moves(const Coefficients<T>& c) {
    Motion motion;
    motion.kept[0] = c.beta2;
    motion.rate = c.lr;
    motion.ratio = 1;
    motion.sign_kept = c.beta1;
    return motion;
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& m) {
    var = var - c.lr * Sign(m * c.beta1 + g * c.one_minus_beta1);
    m = m * c.beta2 + g * c.one_minus_beta2;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(Lion);
}  // namespace slotwise
#endif
