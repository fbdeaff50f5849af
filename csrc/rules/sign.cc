// SPDX-License-Identifier: Apache-2.0
// ApplyAddSign and ApplyPowerSign (Bello et al., "Neural optimizer search with reinforcement
// learning", 2017):
//
//   m    = m * beta + g * (1 - beta)
//   var -= lr * (alpha + sign_decay * sign(g) * sign(m)) * g           AddSign
//   var -= lr * exp(logbase * sign_decay * sign(g) * sign(m)) * g      PowerSign
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/sign.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct AddSign : Rule<AddSign> {
  static constexpr RuleSpec kSpec = {
      "AddSign", {"m"}, "grad", {{"lr"}, {"alpha"}, {"sign_decay"}, {"beta"}}, {}};

  template <class T>
  struct Coefficients {
    T lr, alpha, sign_decay, beta, one_minus_beta;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<AddSign, T>& args) {
    const auto& [lr, alpha, sign_decay, beta] = args.hypers;
    return {lr, alpha, sign_decay, beta, beta.one_minus()};
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& m) {
    m = m * c.beta + g * c.one_minus_beta;
    var = var - (c.lr * (c.alpha + c.sign_decay * (Sign(g) * Sign(m)))) * g;
  }
};

struct PowerSign : Rule<PowerSign> {
  static constexpr RuleSpec kSpec = {
      "PowerSign", {"m"}, "grad", {{"lr"}, {"logbase"}, {"sign_decay"}, {"beta"}}, {}};

  // The exponential takes three values only, one for each sign of g * m.
  template <class T>
  struct Coefficients {
    T agree, zero, differ, beta, one_minus_beta;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<PowerSign, T>& args) {
    const auto& [lr, logbase, sign_decay, beta] = args.hypers;
    const T exponent = logbase * sign_decay;
    const auto exp = [](T x) { return static_cast<T>(std::exp(static_cast<double>(x))); };
    return {lr * exp(exponent), lr * exp(exponent * 0), lr * exp(-exponent), beta,
            beta.one_minus()};
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& m) {
    m = m * c.beta + g * c.one_minus_beta;
    const V signs = Sign(g) * Sign(m);
    V scale = IfThenElse(signs < 0, Fill<V>(c.differ), Fill<V>(c.zero));
    scale = IfThenElse(signs > 0, Fill<V>(c.agree), scale);
    var = var - IfThenElse(IsNaN(signs), signs, scale) * g;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(AddSign);
SLOTWISE_DEFINE_RULE(PowerSign);
}  // namespace slotwise
#endif
