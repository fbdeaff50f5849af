// SPDX-License-Identifier: Apache-2.0
// Rules with running means of gradients and of their squares:
//
//   m += (g - m) * (1 - beta1)
//   v += (g^2 - v) * (1 - beta2)
//
// and the coefficients of those with bias corrections:
//
//   mean / (1 - beta1_power) / (sqrt(square / (1 - beta2_power)) + epsilon)
//     = mean * alpha / (sqrt(square) + scaled_epsilon)

#if defined(SLOTWISE_RULES_MOMENTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_RULES_MOMENTS_INL_H_
#undef SLOTWISE_RULES_MOMENTS_INL_H_
#else
#define SLOTWISE_RULES_MOMENTS_INL_H_
#endif

#include <cmath>

#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class C, class V>
HWY_INLINE void UpdateMoments(const C& c, V g, V& m, V& v) {
  m = m + (g - m) * c.one_minus_beta1;
  v = v + (g * g - v) * c.one_minus_beta2;
}

// How a row without a gradient moves whose var loses rate * m / (sqrt(v) + epsilon) in a step.
template <class C>
Motion MomentsMove(const C& c, double rate, double epsilon) {
  Motion motion;
  motion.kept = {1 - double{c.one_minus_beta1}, 1 - double{c.one_minus_beta2}, 1};
  motion.rate = rate;
  motion.epsilon = epsilon;
  motion.shrink = std::sqrt(motion.kept[1]);
  motion.ratio = motion.kept[0] / motion.shrink;
  return motion;
}

constexpr Hyper kBeta1Power = {"beta1_power"};
constexpr Hyper kBeta2Power = {"beta2_power", Range::kAtMostOne};
constexpr Hyper kLr = {"lr"};
constexpr Hyper kBeta1 = {"beta1"};
constexpr Hyper kBeta2 = {"beta2"};
constexpr Hyper kEpsilon = {"epsilon"};

template <class T>
struct CorrectedMoments {
  T alpha, one_minus_beta1, one_minus_beta2, epsilon, scaled_epsilon;
};

// `factor` is what the quotient is multiplied by.
template <class T>
HWY_INLINE CorrectedMoments<T> Correct(T factor, Number<T> beta1_power, Number<T> beta2_power,
                                       Number<T> beta1, Number<T> beta2, T epsilon) {
  const T root = std::sqrt(beta2_power.one_minus());
  return {ScalarQuotient(factor * root, beta1_power.one_minus()), beta1.one_minus(),
          beta2.one_minus(), epsilon, epsilon * root};
}

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
