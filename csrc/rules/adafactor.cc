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
//
// ApplyTorchAdafactor, as PyTorch computes it, has no epsilon in `square` and updates means by
// r += (mean - r) * one_minus_beta2. It has instead
//
//   v      = r / max(epsilon_1, mean(r, last axis)) * c
//   x      = g / sqrt(max(epsilon_1^2, v))
//
// and keeps the v of a variable of rank 0 or 1 only. It measures var before weight decay.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/adafactor.cc"
#include "hwy/foreach_target.h"
#include "drivers/factored-inl.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class T>
struct AdafactorCoefficients {
  T lr, beta2, one_minus_beta2, epsilon_1, epsilon_2, clip_threshold;
};

template <class R>
struct AdafactorRule {
  template <class T, class V>
  static HWY_INLINE V Stepped(T alpha, T denominator, V var, V direction) {
    return var - alpha * (direction / denominator);
  }

  static void ApplyDense(const DenseCall& call) {
    RunFactored(
        WithCodec(call.dtype, [](auto codec) { return Factored<R, decltype(codec)>::Kernel(); }),
        call);
  }
};

struct Adafactor : AdafactorRule<Adafactor> {
  static constexpr bool kDecaysFirst = true;  // before a variable is measured
  static constexpr RuleSpec kSpec = {
      "Adafactor",
      {{"r", Layout::kWithoutLast}, {"c", Layout::kWithoutNextToLast}, "v"},
      "grad",
      {{"lr"}, {"beta2"}, {"epsilon_1"}, {"epsilon_2"}, {"clip_threshold"}},
      {}};

  template <class T>
  using Coefficients = AdafactorCoefficients<T>;

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<Adafactor, T>& args) {
    const auto& [lr, beta2, epsilon_1, epsilon_2, clip_threshold] = args.hypers;
    return {lr, beta2, beta2.one_minus(), epsilon_1, epsilon_2, clip_threshold};
  }

  // NaN stays NaN.
  template <class T>
  static T LargerOf(T bound, T x) {
    return x < bound ? bound : x;
  }

  template <class T, class V>
  static HWY_INLINE V Square(const Coefficients<T>& c, V g) {
    return g * g + c.epsilon_1;
  }

  // A running mean, of vectors or numbers.
  template <class T, class X>
  static HWY_INLINE X Average(const Coefficients<T>& c, X old, X now) {
    return c.beta2 * old + c.one_minus_beta2 * now;
  }

  template <class T>
  static T Divisor(const Coefficients<T>&, T mean) {
    return mean;
  }

  template <class T, class V>
  static HWY_INLINE V Direction(const Coefficients<T>&, V g, V v) {
    return Quotient(g, Sqrt(v));
  }
};

struct TorchAdafactor : AdafactorRule<TorchAdafactor> {
  static constexpr bool kDecaysFirst = false;
  static constexpr RuleSpec kSpec = {
      "TorchAdafactor",
      {{"r", Layout::kWithoutLast},
       {"c", Layout::kWithoutNextToLast},
       {"v", Layout::kUnlessMatrix}},
      "grad",
      {{"lr"}, {"one_minus_beta2"}, {"epsilon_1"}, {"epsilon_2"}, {"clip_threshold"}},
      {}};

  template <class T>
  struct Coefficients : AdafactorCoefficients<T> {
    T least_moment;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<TorchAdafactor, T>& args) {
    const auto& [lr, one_minus_beta2, epsilon_1, epsilon_2, clip_threshold] = args.hypers;
    return {
        {lr, one_minus_beta2.one_minus(), one_minus_beta2, epsilon_1, epsilon_2, clip_threshold},
        static_cast<T>(epsilon_1.number * epsilon_1.number)};
  }

  // NaN counts as small: that of an element is not to spread.
  template <class T>
  static T LargerOf(T bound, T x) {
    return x > bound ? x : bound;
  }

  template <class T, class V>
  static HWY_INLINE V Square(const Coefficients<T>&, V g) {
    return g * g;
  }

  // Of the lesser weight, which loses less. At a weight of 1, nothing is left of what was.
  template <class T, class X>
  static HWY_INLINE X Average(const Coefficients<T>& c, X old, X now) {
    return c.beta2 < c.one_minus_beta2 ? now + (old - now) * c.beta2
                                       : old + (now - old) * c.one_minus_beta2;
  }

  template <class T>
  static T Divisor(const Coefficients<T>& c, T mean) {
    return mean < c.epsilon_1 ? c.epsilon_1 : mean;
  }

  template <class T, class V>
  static HWY_INLINE V Direction(const Coefficients<T>& c, V g, V v) {
    return Quotient(g, Sqrt(FirstMax(v, Fill<V>(c.least_moment))));
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_DENSE_RULE(Adafactor);
SLOTWISE_DEFINE_DENSE_RULE(TorchAdafactor);
}  // namespace slotwise
#endif
