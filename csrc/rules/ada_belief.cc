// SPDX-License-Identifier: Apache-2.0
// ApplyAdaBelief (Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed
// gradients", 2020), with its bias corrections in the coefficients:
//
//   m   += (g - m) * (1 - beta1)
//   s   += ((g - m)^2 - s) * (1 - beta2) + epsilon
//   var -= lr * m / (1 - beta1_power) / (sqrt(s / (1 - beta2_power)) + epsilon)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/ada_belief.cc"
#include "hwy/foreach_target.h"
#include "rules/moments-inl.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct AdaBelief : Rule<AdaBelief> {
  static constexpr RuleSpec kSpec = {"AdaBelief",
                                     {"m", "s"},
                                     "grad",
                                     {kBeta1Power, kBeta2Power, kLr, kBeta1, kBeta2, kEpsilon},
                                     {}};

  template <class T>
  using Coefficients = CorrectedMoments<T>;

  template <class T>
  static HWY_INLINE CorrectedMoments<T> Make(const Arguments<AdaBelief, T>& args) {
    const auto& [beta1_power, beta2_power, lr, beta1, beta2, epsilon] = args.hypers;
    return Correct<T>(lr, beta1_power, beta2_power, beta1, beta2, epsilon);
  }

  template <class T, class V>
  static HWY_INLINE void Step(const CorrectedMoments<T>& c, V g, V& var, V& m, V& s) {
    m = m + (g - m) * c.one_minus_beta1;
    const V surprise = g - m;
    s = s + (surprise * surprise - s) * c.one_minus_beta2 + c.epsilon;
    var = var - QuotientOfRoot(m * c.alpha, Sqrt(s), c.scaled_epsilon);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(AdaBelief);
}  // namespace slotwise
#endif
