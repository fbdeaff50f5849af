// SPDX-License-Identifier: Apache-2.0
// ApplyAddSign and ApplyPowerSign (Bello et al., "Neural optimizer search with reinforcement
// learning", 2017):
//
//   m    = m * beta + g * (1 - beta)
//   var -= lr * (alpha + sign_decay * sign(g) * sign(m)) * g           AddSign
//   var -= lr * exp(logbase * sign_decay * sign(g) * sign(m)) * g      PowerSign
//
// ApplyRprop (Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning:
// the RPROP algorithm", 1993), as PyTorch computes it. By the sign of g * prev, whose product may
// underflow here:
//
//   step_size *= etaplus, or etaminus if it is negative, or 1 if it is zero
//   step_size  = min(max(step_size, step_size_min), step_size_max)
//   prev       = g, or 0 if it is negative
//   var       -= sign(prev) * step_size
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/sign.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"
#include "simd/pow-inl.h"

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

// A number by the sign of a product: whether its factors agree, one is zero, or they differ. NaN
// stays NaN.
template <class V>
HWY_INLINE V BySign(V sign, Lane<V> agree, Lane<V> zero, Lane<V> differ) {
  V found = IfThenElse(sign < 0, Fill<V>(differ), Fill<V>(zero));
  found = IfThenElse(sign > 0, Fill<V>(agree), found);
  return IfThenElse(IsNaN(sign), sign, found);
}

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
    const auto exp = [](T x) { return static_cast<T>(Exp(x)); };
    return {lr * exp(exponent), lr * exp(exponent * 0), lr * exp(-exponent), beta,
            beta.one_minus()};
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& m) {
    m = m * c.beta + g * c.one_minus_beta;
    var = var - BySign(Sign(g) * Sign(m), c.agree, c.zero, c.differ) * g;
  }
};

struct Rprop : Rule<Rprop> {
  static constexpr RuleSpec kSpec = {
      "Rprop",
      {"prev", "step_size"},
      "grad",
      {{"etaminus"}, {"etaplus"}, {"step_size_min"}, {"step_size_max"}},
      {}};

  template <class T>
  struct Coefficients {
    T etaminus, etaplus, step_size_min, step_size_max;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<Rprop, T>& args) {
    const auto& [etaminus, etaplus, step_size_min, step_size_max] = args.hypers;
    return {etaminus, etaplus, step_size_min, step_size_max};
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& prev, V& step_size) {
    const V sign = Sign(g) * Sign(prev);
    step_size = step_size * BySign<V>(sign, c.etaplus, 1, c.etaminus);
    step_size = FirstMax(step_size, Fill<V>(c.step_size_min));
    step_size = FirstMin(step_size, Fill<V>(c.step_size_max));
    prev = IfThenZeroElse(sign < 0, g);
    var = var - Sign(prev) * step_size;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(AddSign);
SLOTWISE_DEFINE_RULE(PowerSign);
SLOTWISE_DEFINE_RULE(Rprop);
}  // namespace slotwise
#endif
