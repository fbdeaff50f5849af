// SPDX-License-Identifier: Apache-2.0
// ApplyNadam (Dozat, "Incorporating Nesterov momentum into Adam", 2016), as in Keras: `momentum`
// and `momentum_next` are the scheduled first decays of this step and the next, `momentum_product`
// the product of those up to this step.
//
//   m   += (g - m) * (1 - beta1)
//   v   += (g^2 - v) * (1 - beta2)
//   bar  = g * (1 - momentum) / (1 - momentum_product)
//          + m * momentum_next / (1 - momentum_product * momentum_next)
//   var -= bar * lr / (sqrt(v / (1 - beta2_power)) + epsilon)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/nadam.cc"
#include "hwy/foreach_target.h"
#include "rules/moments-inl.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct Nadam : Rule<Nadam> {
  static constexpr Movement kMovement = {Drift::kFading, Base::kOverRoot, 0, 1, 1, {true, true}};
  static constexpr bool kSlotsAlone = true;
  static constexpr RuleSpec kSpec = {"Nadam",
                                     {"m", "v"},
                                     "grad",
                                     {{"beta2_power"},
                                      kLr,
                                      kBeta1,
                                      kBeta2,
                                      kEpsilon,
                                      {"momentum"},
                                      {"momentum_next"},
                                      {"momentum_product"}},
                                     {}};

  template <class T>
  struct Coefficients {
    T lr, one_minus_beta1, one_minus_beta2, one_minus_beta2_power, epsilon, of_grad, of_m;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<Nadam, T>& args) {
    const auto& [beta2_power, lr, beta1, beta2, epsilon, momentum, next, product] = args.hypers;
    return {lr,
            beta1.one_minus(),
            beta2.one_minus(),
            beta2_power.one_minus(),
            epsilon,
            ScalarQuotient(momentum.one_minus(), product.one_minus()),
            ScalarQuotient<T>(next, 1 - product * next)};
  }

  // Beside sqrt(v), the epsilon that is beside sqrt(v / (1 - beta2_power)) grows.
  template <class T>
  static Motion Moves(const Coefficients<T>& c) {
    const double root = std::sqrt(double{c.one_minus_beta2_power});
    return MomentsMove(c, double{c.lr} * double{c.of_m} * root, double{c.epsilon} * root);
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& m, V& v) {
    UpdateMoments(c, g, m, v);
    const V bar = g * c.of_grad + m * c.of_m;
    var = var - Quotient(bar * c.lr, Sqrt(v / c.one_minus_beta2_power) + c.epsilon);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(Nadam);
}  // namespace slotwise
#endif
