// SPDX-License-Identifier: Apache-2.0
// ApplyAdagrad and ApplyAdagradV2 (Duchi, Hazan and Singer, "Adaptive subgradient methods for
// online learning and stochastic optimization", 2011):
//
//   accum += g^2                                         if update_slots
//   var   -= g * lr / sqrt(accum)                        Adagrad
//   var   -= g * lr / (sqrt(accum) + epsilon)            AdagradV2
//
// ApplyKerasAdagrad, as Keras's current API computes it:
//
//   accum += g^2
//   var   -= g * lr / sqrt(accum + epsilon)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/adagrad.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct Adagrad : Rule<Adagrad> {
  static constexpr RuleSpec kSpec = {"Adagrad", {"accum"}, "grad", {{"lr"}}, {"update_slots"}};

  template <class T>
  struct Coefficients {
    T lr;
    bool update_slots;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<Adagrad, T>& args) {
    const auto& [lr] = args.hypers;
    const auto& [update_slots] = args.attrs;
    return {lr, update_slots};
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& accum) {
    if (c.update_slots) accum = accum + g * g;
    const V step = g * c.lr;
    var = var - IfThenZeroElse(BothZero(step, accum), step * Rsqrt(accum));
  }
};

struct AdagradV2 : Rule<AdagradV2> {
  static constexpr RuleSpec kSpec = {
      "AdagradV2", {"accum"}, "grad", {{"lr"}, {"epsilon"}}, {"update_slots"}};

  template <class T>
  struct Coefficients {
    T lr, epsilon;
    bool update_slots;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<AdagradV2, T>& args) {
    const auto& [lr, epsilon] = args.hypers;
    const auto& [update_slots] = args.attrs;
    return {lr, epsilon, update_slots};
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& accum) {
    if (c.update_slots) accum = accum + g * g;
    var = var - QuotientOfRoot(g * c.lr, Sqrt(accum), c.epsilon);
  }
};

struct KerasAdagrad : Rule<KerasAdagrad> {
  static constexpr RuleSpec kSpec = {"KerasAdagrad", {"accum"}, "grad", {{"lr"}, {"epsilon"}}, {}};

  template <class T>
  struct Coefficients {
    T lr, epsilon;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<KerasAdagrad, T>& args) {
    const auto& [lr, epsilon] = args.hypers;
    return {lr, epsilon};
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& accum) {
    accum = accum + g * g;
    var = var - Quotient(g * c.lr, Sqrt(accum + c.epsilon));
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(Adagrad);
SLOTWISE_DEFINE_RULE(AdagradV2);
SLOTWISE_DEFINE_RULE(KerasAdagrad);
}  // namespace slotwise
#endif
