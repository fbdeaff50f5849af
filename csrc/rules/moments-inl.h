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

template <class T>
struct CorrectedMoments {
  // Of hyperparameters beta1_power, beta2_power, lr, beta1, beta2, epsilon; `factor` is what the
  // quotient is multiplied by.
  template <class Args>
  CorrectedMoments(const Args& args, T factor) {
    const T root = std::sqrt(1 - args.hypers[1]);
    alpha = ScalarQuotient(factor * root, 1 - args.hypers[0]);
    one_minus_beta1 = args.complements[3];
    one_minus_beta2 = args.complements[4];
    epsilon = args.hypers[5];
    scaled_epsilon = epsilon * root;
  }

  T alpha, one_minus_beta1, one_minus_beta2, epsilon, scaled_epsilon;
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
