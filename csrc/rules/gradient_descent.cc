// SPDX-License-Identifier: Apache-2.0
// ApplyGradientDescent:
//
//   var -= delta * alpha
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/gradient_descent.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct GradientDescent : Rule<GradientDescent> {
  static constexpr RuleSpec kSpec = {"GradientDescent", {}, "delta", {{"alpha"}}, {}};

  template <class T>
  struct Coefficients {
    T alpha;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<GradientDescent, T>& args) {
    const auto& [alpha] = args.hypers;
    return {alpha};
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var) {
    var = var - g * c.alpha;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(GradientDescent);
}  // namespace slotwise
#endif
