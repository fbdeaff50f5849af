// SPDX-License-Identifier: Apache-2.0
// ApplyRMSProp (Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture
// 6e):
//
//   ms  += (g^2 - ms) * (1 - rho)                       unless ms is infinite
//   mom  = mom * momentum + g * lr / sqrt(ms + epsilon)
//   var -= mom
//
// ApplyCenteredRMSProp (Graves, "Generating sequences with recurrent neural networks", 2013):
//
//   ms  += (g^2 - ms) * (1 - rho)
//   mg  += (g - mg) * (1 - rho)
//   mom  = mom * momentum + g * lr / sqrt(ms - mg^2 + epsilon)
//   var -= mom
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/rms_prop.cc"
#include "hwy/foreach_target.h"
#include "rules/rms_prop-inl.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class T>
struct RMSPropCoefficients {
  T lr, one_minus_rho, momentum, epsilon;
};

template <class R>
struct RMSPropRule : Rule<R> {
  template <class T>
  using Coefficients = RMSPropCoefficients<T>;

  template <class T>
  static HWY_INLINE RMSPropCoefficients<T> Make(const Arguments<R, T>& args) {
    const auto& [lr, rho, momentum, epsilon] = args.hypers;
    return {lr, rho.one_minus(), momentum, epsilon};
  }

  // Means, then the momentum, which the rate is in.
  template <class T>
  static Motion Moves(const RMSPropCoefficients<T>& c) {
    Motion motion;
    motion.kept.fill(1 - double{c.one_minus_rho});
    motion.kept[R::kMovement.slot] = motion.ratio = c.momentum;
    motion.rate = 1;
    return motion;
  }
};

// ms + (g^2 - ms) * (1 - rho). A mean that has overflowed stays infinite, which makes the
// gradient's term 0; inf - inf would make NaN of the weight for good.
template <class T, class V>
HWY_INLINE V MeanSquare(const RMSPropCoefficients<T>& c, V g, V ms) {
  return ms + AtLeast(g * g - ms, std::numeric_limits<T>::lowest()) * c.one_minus_rho;
}

struct RMSProp : RMSPropRule<RMSProp> {
  static constexpr Movement kMovement = {Drift::kFading, Base::kSlot, 1};
  static constexpr RuleSpec kSpec = {
      "RMSProp", {"ms", "mom"}, "grad", {{"lr"}, {"rho"}, {"momentum"}, {"epsilon"}}, {}};

  template <class T, class V>
  static HWY_INLINE void Step(const RMSPropCoefficients<T>& c, V g, V& var, V& ms, V& mom) {
    ms = MeanSquare(c, g, ms);
    mom = mom * c.momentum + Quotient(g * c.lr, Sqrt(ms + c.epsilon));
    var = var - mom;
  }
};

struct CenteredRMSProp : RMSPropRule<CenteredRMSProp> {
  static constexpr Movement kMovement = {Drift::kFading, Base::kSlot, 2};
  static constexpr RuleSpec kSpec = {"CenteredRMSProp",
                                     {"mg", "ms", "mom"},
                                     "grad",
                                     {{"lr"}, {"rho"}, {"momentum"}, {"epsilon"}},
                                     {}};

  template <class T, class V>
  static HWY_INLINE void Step(const RMSPropCoefficients<T>& c, V g, V& var, V& mg, V& ms, V& mom) {
    ms = MeanSquare(c, g, ms);
    mg = mg + (g - mg) * c.one_minus_rho;
    const V variance = (ms - mg * mg) + c.epsilon;
    mom = mom * c.momentum + StepIfScaled(variance, mg, Quotient(g * c.lr, Sqrt(variance)));
    var = var - mom;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(RMSProp);
SLOTWISE_DEFINE_RULE(CenteredRMSProp);
}  // namespace slotwise
#endif
