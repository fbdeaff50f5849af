// SPDX-License-Identifier: Apache-2.0
// ApplyFtrl and ApplyFtrlV2 (McMahan et al., "Ad click prediction: a view from the trenches",
// 2013), with P(x) = x^-lr_power:
//
//   g'      = g                                          Ftrl
//   g'      = g + 2 * l2_shrinkage * var                 FtrlV2
//   n       = accum + g^2
//   linear += g' - (P(n) - P(accum)) / lr * var
//   var     = (l1 * sign(linear) - linear) / (P(n) / lr + 2 * l2)   if |linear| > l1, else 0
//   accum   = n
//
// With multiply_linear_by_lr, `linear` is stored times lr:
//
//   linear += g' * lr - (P(n) - P(accum)) * var
//   var     = (l1 * lr * sign(linear) - linear) / (P(n) + 2 * l2 * lr)   if |linear| > l1 * lr
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/ftrl.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"
#include "simd/pow-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class T>
struct FtrlCoefficients {
  FtrlCoefficients(T rate, T l1, T l2, T l2_shrinkage, T lr_power, bool by_lr)
      : lr(rate),
        two_l2_shrinkage(2 * l2_shrinkage),
        power(-lr_power),
        is_sqrt(lr_power == T(-0.5)),
        multiply_linear_by_lr(by_lr),
        is_idle(lr == 0 && !by_lr),
        bound(by_lr ? l1 * lr : l1),
        two_l2(by_lr ? 2 * l2 * lr : 2 * l2) {}

  T lr, two_l2_shrinkage;
  Exponent<T> power;
  bool is_sqrt, multiply_linear_by_lr;
  bool is_idle;  // every term over lr would be 0 / 0
  T bound, two_l2;
};

// `g` is the gradient itself, `shrunk_g` the one with the shrinkage term.
template <class T, class V>
HWY_INLINE void FtrlStep(const FtrlCoefficients<T>& c, V g, V shrunk_g, V& var, V& accum,
                         V& linear) {
  if (c.is_idle) return;
  const V n = accum + g * g;
  V root, root_change;  // P(n), P(n) - P(accum)
  if (c.is_sqrt) {
    root = Sqrt(n);
    root_change = root - Sqrt(accum);
  } else {
    root = Pow(n, c.power);
    // Of 0 to a negative power, inf, the change would have no value.
    root_change = IfThenZeroElse(BothZero(n, accum), root - Pow(accum, c.power));
  }
  V denominator;
  if (c.multiply_linear_by_lr) {
    linear = linear + (shrunk_g * c.lr - root_change * var);
    denominator = root + c.two_l2;
  } else {
    linear = linear + (shrunk_g - (root_change / c.lr) * var);
    denominator = root / c.lr + c.two_l2;
  }
  var =
      IfThenElseZero(Abs(linear) > c.bound, Quotient(c.bound * Sign(linear) - linear, denominator));
  accum = n;
}

constexpr Hyper kLr = {"lr", Range::kAny, Range::kPositiveOrScaled};
constexpr Hyper kL1 = {"l1", Range::kAny, Range::kNonNegative};
constexpr Hyper kL2 = {"l2", Range::kAny, Range::kNonNegative};
constexpr Hyper kL2Shrinkage = {"l2_shrinkage", Range::kAny, Range::kNonNegative};
constexpr Hyper kLrPower = {"lr_power", Range::kFinite, Range::kNotPositive};

struct Ftrl : Rule<Ftrl> {
  // (With l2_shrinkage, every step moves `linear` by var.)
  static constexpr Movement kMovement = {Drift::kReplaced};
  static constexpr RuleSpec kSpec = {
      "Ftrl", {"accum", "linear"}, "grad", {kLr, kL1, kL2, kLrPower}, {"multiply_linear_by_lr"}};

  template <class T>
  using Coefficients = FtrlCoefficients<T>;

  template <class T>
  static HWY_INLINE FtrlCoefficients<T> Make(const Arguments<Ftrl, T>& args) {
    const auto& [lr, l1, l2, lr_power] = args.hypers;
    const auto& [multiply_linear_by_lr] = args.attrs;
    return {lr, l1, l2, 0, lr_power, multiply_linear_by_lr};
  }

  template <class T>
  static Motion Moves(const FtrlCoefficients<T>& c) {
    Motion motion;
    motion.is_idle = c.is_idle;
    return motion;
  }

  template <class T, class V>
  static HWY_INLINE void Step(const FtrlCoefficients<T>& c, V g, V& var, V& accum, V& linear) {
    FtrlStep(c, g, g, var, accum, linear);
  }
};

struct FtrlV2 : Rule<FtrlV2> {
  static constexpr RuleSpec kSpec = {"FtrlV2",
                                     {"accum", "linear"},
                                     "grad",
                                     {kLr, kL1, kL2, kL2Shrinkage, kLrPower},
                                     {"multiply_linear_by_lr"}};

  template <class T>
  using Coefficients = FtrlCoefficients<T>;

  template <class T>
  static HWY_INLINE FtrlCoefficients<T> Make(const Arguments<FtrlV2, T>& args) {
    const auto& [lr, l1, l2, l2_shrinkage, lr_power] = args.hypers;
    const auto& [multiply_linear_by_lr] = args.attrs;
    return {lr, l1, l2, l2_shrinkage, lr_power, multiply_linear_by_lr};
  }

  template <class T, class V>
  static HWY_INLINE void Step(const FtrlCoefficients<T>& c, V g, V& var, V& accum, V& linear) {
    FtrlStep(c, g, g + c.two_l2_shrinkage * var, var, accum, linear);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(Ftrl);
SLOTWISE_DEFINE_RULE(FtrlV2);
}  // namespace slotwise
#endif
