// SPDX-License-Identifier: Apache-2.0
// ApplyTorchRMSProp and ApplyTorchCenteredRMSProp: RMSProp (Hinton, Srivastava and Swersky, "Neural
// networks for machine learning", lecture 6e) as PyTorch computes it with momentum. The learning
// rate is outside of the decayed sum:
//
//   ms   = ms * rho + g^2 * (1 - rho)
//   mg  += (g - mg) * (1 - rho)                          Centered only
//   d    = ms, or ms - mg^2 if Centered
//   mom  = mom * momentum + g / (sqrt(d) + epsilon)
//   var -= mom * lr
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/torch_rms_prop.cc"
#include "hwy/foreach_target.h"
#include "rules/rms_prop-inl.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class T>
struct TorchRMSPropCoefficients {
  T lr, rho, one_minus_rho, momentum, epsilon;
};

template <class R>
struct TorchRMSPropRule : Rule<R> {
  template <class T>
  using Coefficients = TorchRMSPropCoefficients<T>;

  template <class T>
  static HWY_INLINE TorchRMSPropCoefficients<T> Make(const Arguments<R, T>& args) {
    const auto& [lr, rho, momentum, epsilon] = args.hypers;
    return {lr, rho, rho.one_minus(), momentum, epsilon};
  }
};

struct TorchRMSProp : TorchRMSPropRule<TorchRMSProp> {
  static constexpr RuleSpec kSpec = {
      "TorchRMSProp", {"ms", "mom"}, "grad", {{"lr"}, {"rho"}, {"momentum"}, {"epsilon"}}, {}};

  template <class T, class V>
  static HWY_INLINE void Step(const TorchRMSPropCoefficients<T>& c, V g, V& var, V& ms, V& mom) {
    ms = ms * c.rho + (g * g) * c.one_minus_rho;
    mom = mom * c.momentum + QuotientOfRoot(g, Sqrt(ms), c.epsilon);
    var = var - mom * c.lr;
  }
};

struct TorchCenteredRMSProp : TorchRMSPropRule<TorchCenteredRMSProp> {
  static constexpr RuleSpec kSpec = {"TorchCenteredRMSProp",
                                     {"mg", "ms", "mom"},
                                     "grad",
                                     {{"lr"}, {"rho"}, {"momentum"}, {"epsilon"}},
                                     {}};

  template <class T, class V>
  static HWY_INLINE void Step(const TorchRMSPropCoefficients<T>& c, V g, V& var, V& mg, V& ms,
                              V& mom) {
    ms = ms * c.rho + (g * g) * c.one_minus_rho;
    mg = mg + (g - mg) * c.one_minus_rho;
    const V variance = ms - mg * mg;
    const V scaled = QuotientOfRoot(g, Sqrt(variance), c.epsilon);
    mom = mom * c.momentum + StepIfScaled(variance, mg, scaled);
    var = var - mom * c.lr;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(TorchRMSProp);
SLOTWISE_DEFINE_RULE(TorchCenteredRMSProp);
}  // namespace slotwise
#endif
