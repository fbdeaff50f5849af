// SPDX-License-Identifier: Apache-2.0
// ApplyRAdam (Liu et al., "On the variance of the adaptive learning rate and beyond", 2019). `sma`
// is the length of the average that v is: rho_inf - 2 * t * beta2^t / (1 - beta2^t) at step t, with
// rho_inf = 2 / (1 - beta2) - 1; `r` is the paper's, with that put in.
//
//   m   += (g - m) * (1 - beta1)
//   v   += (g^2 - v) * (1 - beta2)
//   r    = sqrt((sma - 4) * (sma - 2) / sma * (1 + beta2) * (1 - beta2)
//               / ((5 * beta2 - 3) * (3 * beta2 - 1)))
//   var -= m * (lr * r * sqrt(1 - beta2_power) / (1 - beta1_power)) / (sqrt(v) + epsilon)
//                                          if sma >= sma_threshold, and r has a value; otherwise
//   var -= m * (lr / (1 - beta1_power))
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/radam.cc"
#include "hwy/foreach_target.h"
#include "rules/moments-inl.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct RAdam : Rule<RAdam> {
  static constexpr bool kSlotsAlone = true;
  static constexpr RuleSpec kSpec = {"RAdam",
                                     {"m", "v"},
                                     "grad",
                                     {kBeta1Power,
                                      kBeta2Power,
                                      kLr,
                                      kBeta1,
                                      kBeta2,
                                      kEpsilon,
                                      {"sma"},
                                      {"sma_threshold", Range::kPositive}},
                                     {}};

  template <class T>
  struct Coefficients {
    CorrectedMoments<T> moments;
    bool is_adaptive;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<RAdam, T>& args) {
    const auto& [beta1_power, beta2_power, lr, beta1, beta2, epsilon, sma, sma_threshold] =
        args.hypers;
    const double length = sma.number, decay = beta2.number;
    const bool is_adaptive = length >= sma_threshold.number && length > 4 && 5 * beta2 > 3;
    // In double, since differences leave few bits. It may have no value where a step is not
    // adaptive.
    const double r = std::sqrt((length - 4) * (length - 2) / length * (1 + decay) * (1 - decay) /
                               ((5 * decay - 3) * (3 * decay - 1)));
    auto moments =
        Correct<T>(lr * static_cast<T>(r), beta1_power, beta2_power, beta1, beta2, epsilon);
    if (!is_adaptive) moments.alpha = ScalarQuotient<T>(lr, beta1_power.one_minus());
    return {moments, is_adaptive};
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& m, V& v) {
    UpdateMoments(c.moments, g, m, v);
    const V step = m * c.moments.alpha;
    var = var - (c.is_adaptive ? QuotientOfRoot(step, Sqrt(v), c.moments.epsilon) : step);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(RAdam);
}  // namespace slotwise
#endif
