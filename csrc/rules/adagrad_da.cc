// SPDX-License-Identifier: Apache-2.0
// ApplyAdagradDA, dual averaging (Duchi, Hazan and Singer, 2011; Xiao, "Dual averaging methods for
// regularized stochastic learning and online optimization", 2010):
//
//   gradient_accumulator         += g
//   gradient_squared_accumulator += g^2
//   var = -lr * sign(ga) * max(|ga| - global_step * l1, 0)
//         / (l2 * global_step * lr + sqrt(gradient_squared_accumulator))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/adagrad_da.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct AdagradDA : Rule<AdagradDA> {
  static constexpr RuleSpec kSpec = {"AdagradDA",
                                     {"gradient_accumulator", "gradient_squared_accumulator"},
                                     "grad",
                                     {{"lr"}, {"l1"}, {"l2"}, {"global_step", Range::kInteger}},
                                     {}};

  template <class T>
  struct Coefficients {
    T lr, step_l1, l2_step_lr;
    bool has_l1;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<AdagradDA, T>& args) {
    const auto& [lr, l1, l2, global_step] = args.hypers;
    const T step = static_cast<float>(global_step);  // float32 for every dtype, as TensorFlow
    return {lr, step * l1, l2 * (step * lr), l1 > 0};
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& gradient_accumulator,
                              V& gradient_squared_accumulator) {
    V& ga = gradient_accumulator;
    V& da = gradient_squared_accumulator;
    ga = ga + g;
    da = da + g * g;
    const V denominator = c.l2_step_lr + Sqrt(da);
    const V numerator = c.has_l1 ? (-c.lr * Sign(ga)) * FirstMax(Abs(ga) - c.step_l1, Fill<V>(0))
                                 : (c.lr * ga) * T{-1};
    var = IfThenElse(BothZero(numerator, denominator), var, numerator / denominator);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(AdagradDA);
}  // namespace slotwise
#endif
