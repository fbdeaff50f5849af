// SPDX-License-Identifier: Apache-2.0
// ApplyKerasRMSProp and ApplyKerasCenteredRMSProp: RMSProp (Hinton, Srivastava and Swersky, "Neural
// networks for machine learning", lecture 6e) as Keras computes it without momentum:
//
//   rms  = rms * rho + g^2 * (1 - rho)
//   mg   = mg * rho + g * (1 - rho)                      Centered only
//   d    = rms, or rms - mg^2 if Centered
//   var -= g * lr / (sqrt(d) + epsilon)                  or, with epsilon_in_root,
//   var -= g * lr / sqrt(d + epsilon)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/keras_rms_prop.cc"
#include "hwy/foreach_target.h"
#include "rules/rms_prop-inl.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class T>
struct KerasRMSPropCoefficients {
  T lr, rho, one_minus_rho, epsilon;
  bool epsilon_in_root;
};

template <class R>
struct KerasRMSPropRule : Rule<R> {
  static constexpr bool kSlotsAlone = true;
  static constexpr Movement kMovement = {Drift::kNone};

  template <class T>
  using Coefficients = KerasRMSPropCoefficients<T>;

  template <class T>
  static HWY_INLINE KerasRMSPropCoefficients<T> Make(const Arguments<R, T>& args) {
    const auto& [lr, rho, epsilon] = args.hypers;
    const auto& [epsilon_in_root] = args.attrs;
    return {lr, rho, rho.one_minus(), epsilon, epsilon_in_root};
  }

  template <class T>
  static Motion Moves(const KerasRMSPropCoefficients<T>& c) {
    Motion motion;
    motion.kept = {c.rho, c.rho, 1};
    return motion;
  }
};

template <class T, class V>
HWY_INLINE V KerasRMSPropStep(const KerasRMSPropCoefficients<T>& c, V g, V mean_square) {
  const V step = g * c.lr;
  return c.epsilon_in_root ? Quotient(step, Sqrt(mean_square + c.epsilon))
                           : QuotientOfRoot(step, Sqrt(mean_square), c.epsilon);
}

struct KerasRMSProp : KerasRMSPropRule<KerasRMSProp> {
  static constexpr RuleSpec kSpec = {
      "KerasRMSProp", {"rms"}, "grad", {{"lr"}, {"rho"}, {"epsilon"}}, {"epsilon_in_root"}};

  template <class T, class V>
  static HWY_INLINE void Step(const KerasRMSPropCoefficients<T>& c, V g, V& var, V& rms) {
    rms = rms * c.rho + (g * g) * c.one_minus_rho;
    var = var - KerasRMSPropStep(c, g, rms);
  }
};

struct KerasCenteredRMSProp : KerasRMSPropRule<KerasCenteredRMSProp> {
  static constexpr RuleSpec kSpec = {"KerasCenteredRMSProp",
                                     {"rms", "mg"},
                                     "grad",
                                     {{"lr"}, {"rho"}, {"epsilon"}},
                                     {"epsilon_in_root"}};

  template <class T, class V>
  static HWY_INLINE void Step(const KerasRMSPropCoefficients<T>& c, V g, V& var, V& rms, V& mg) {
    rms = rms * c.rho + (g * g) * c.one_minus_rho;
    mg = mg * c.rho + g * c.one_minus_rho;
    const V variance = rms - mg * mg;
    const V root_of = c.epsilon_in_root ? variance + c.epsilon : variance;
    var = var - StepIfScaled(root_of, mg, KerasRMSPropStep(c, g, variance));
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(KerasRMSProp);
SLOTWISE_DEFINE_RULE(KerasCenteredRMSProp);
}  // namespace slotwise
#endif
