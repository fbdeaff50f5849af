// SPDX-License-Identifier: Apache-2.0
// ApplyLamb (You et al., "Large batch optimization for deep learning: training BERT in 76 minutes",
// 2020, algorithm 2), with Adam's bias corrections in the coefficients:
//
//   m        += (g - m) * (1 - beta1)
//   v        += (g^2 - v) * (1 - beta2)
//   direction = m / (1 - beta1_power) / (sqrt(v / (1 - beta2_power)) + epsilon)
//               + weight_decay * var
//   var      -= lr * |var| / |direction| * direction
//
// |x| is the norm of the whole variable; where one of the two is 0, their quotient counts as 1.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/lamb.cc"
#include "hwy/foreach_target.h"
#include "rules/moments-inl.h"
#include "drivers/rule-inl.h"
#include "drivers/scaled-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct Lamb : ScaledRule<Lamb> {
  static constexpr RuleSpec kSpec = {
      "Lamb",
      {"m", "v"},
      "grad",
      {kBeta1Power, kBeta2Power, kLr, kBeta1, kBeta2, kEpsilon, {"weight_decay"}},
      {}};

  template <class T>
  struct Coefficients {
    CorrectedMoments<T> moments;
    T rate, weight_decay;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<Lamb, T>& args) {
    const auto& [beta1_power, beta2_power, lr, beta1, beta2, epsilon, weight_decay] = args.hypers;
    return {Correct<T>(1, beta1_power, beta2_power, beta1, beta2, epsilon), lr, weight_decay};
  }

  template <class T, class V>
  static HWY_INLINE V Direction(const Coefficients<T>& c, V g, V var, V& m, V& v) {
    UpdateMoments(c.moments, g, m, v);
    return QuotientOfRoot(m * c.moments.alpha, Sqrt(v), c.moments.scaled_epsilon) +
           c.weight_decay * var;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_DENSE_RULE(Lamb);
}  // namespace slotwise
#endif
