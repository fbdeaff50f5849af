// SPDX-License-Identifier: Apache-2.0
// ApplyProximalGradientDescent:
//
//   var  = Shrink(var - delta * alpha, eta = alpha)
//
// ApplyProximalAdagrad:
//
//   accum += g^2
//   eta    = lr / sqrt(accum)
//   var    = Shrink(var - g * eta, eta)
//
// with the proximal operator of l1 |w| + l2/2 w^2 (Duchi and Singer, "Efficient online and batch
// learning using forward backward splitting", 2009):
//
//   Shrink(w, eta) = sign(w) * max(|w| - eta * l1, 0) / (1 + l2 * eta)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/proximal.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// A value that is shrunk to zero keeps its sign. `eta` is a vector or a scalar.
template <class T, class V, class Eta>
HWY_INLINE V Shrink(V w, Eta eta, T l1, T l2) {
  if (l1 > 0) w = Sign(w) * FirstMax(Abs(w) - eta * l1, Fill<V>(0));
  return Quotient(w, Fill<V>(1) + l2 * eta);
}

struct ProximalGradientDescent : Rule<ProximalGradientDescent> {
  static constexpr RuleSpec kSpec = {
      "ProximalGradientDescent", {}, "delta", {{"alpha"}, {"l1"}, {"l2"}}, {}};

  template <class T>
  struct Coefficients {
    T alpha, l1, l2;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<ProximalGradientDescent, T>& args) {
    const auto& [alpha, l1, l2] = args.hypers;
    return {alpha, l1, l2};
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var) {
    var = Shrink(var - g * c.alpha, c.alpha, c.l1, c.l2);
  }
};

struct ProximalAdagrad : Rule<ProximalAdagrad> {
  static constexpr RuleSpec kSpec = {
      "ProximalAdagrad",
      {"accum"},
      "grad",
      {{"lr", Range::kPositive}, {"l1", Range::kNonNegative}, {"l2", Range::kNonNegative}},
      {}};

  template <class T>
  struct Coefficients {
    T lr, l1, l2;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<ProximalAdagrad, T>& args) {
    const auto& [lr, l1, l2] = args.hypers;
    return {lr, l1, l2};
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& accum) {
    accum = accum + g * g;
    const V eta = c.lr * Rsqrt(accum);
    // Without any gradient yet there is no step size (0 * inf): no update.
    var = IfThenElse(BothZero(accum, g), var, Shrink(var - g * eta, eta, c.l1, c.l2));
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(ProximalGradientDescent);
SLOTWISE_DEFINE_RULE(ProximalAdagrad);
}  // namespace slotwise
#endif
