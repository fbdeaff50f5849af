// SPDX-License-Identifier: Apache-2.0
// ApplyAdafactor (Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory
// cost", 2018), as in Keras. Of a variable of rank >= 2, a stack of matrices:
//
//   square = g^2 + epsilon_1
//   r      = beta2 * r + (1 - beta2) * mean(square, last axis)
//   c      = beta2 * c + (1 - beta2) * mean(square, axis before)
//   v      = r / mean(r, last axis) * c                 the outer product of each matrix's
//
// of one of rank 0 or 1, which has neither r nor c:
//
//   v      = beta2 * v + (1 - beta2) * square
//
// and of both, where rms(x) = sqrt(mean(x^2)) is that of the whole variable:
//
//   x      = g / sqrt(v)
//   x      = x / max(1, rms(x) / clip_threshold)
//   var   -= lr * max(epsilon_2, rms(var)) * x
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/adafactor.cc"
#include "hwy/foreach_target.h"
#include "drivers/factored-inl.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct Adafactor {
  static constexpr RuleSpec kSpec = {
      "Adafactor",
      {{"r", Layout::kWithoutLast}, {"c", Layout::kWithoutNextToLast}, "v"},
      "grad",
      {{"lr"}, {"beta2"}, {"epsilon_1"}, {"epsilon_2"}, {"clip_threshold"}},
      {}};

  template <class T>
  struct Coefficients {
    T lr, beta2, one_minus_beta2, epsilon_1, epsilon_2, clip_threshold;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<Adafactor, T>& args) {
    const auto& [lr, beta2, epsilon_1, epsilon_2, clip_threshold] = args.hypers;
    return {lr, beta2, beta2.one_minus(), epsilon_1, epsilon_2, clip_threshold};
  }

  // How long the step of a variable is.
  template <class T>
  struct Length {
    Length(const Coefficients<T>& c, T rms_of_var, T rms_of_direction) {
      const T excess = ScalarQuotient(rms_of_direction, c.clip_threshold);
      alpha = (rms_of_var < c.epsilon_2 ? c.epsilon_2 : rms_of_var) * c.lr;  // NaN stays NaN
      denominator = excess < 1 ? 1 : excess;
    }

    T alpha, denominator;
  };

  template <class T, class V>
  static HWY_INLINE V Square(const Coefficients<T>& c, V g) {
    return g * g + c.epsilon_1;
  }

  // A running mean, of vectors or numbers.
  template <class T, class X>
  static HWY_INLINE X Average(const Coefficients<T>& c, X old, X now) {
    return c.beta2 * old + c.one_minus_beta2 * now;
  }

  template <class V>
  static HWY_INLINE V Direction(V g, V v) {
    return Quotient(g, Sqrt(v));
  }

  template <class T, class V>
  static HWY_INLINE V Stepped(const Length<T>& length, V var, V direction) {
    return var - length.alpha * (direction / length.denominator);
  }

  static void ApplyDense(const DenseCall& call) { RunDriver<Factored, Adafactor>(call); }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_DENSE_RULE(Adafactor);
}  // namespace slotwise
#endif
