// ApplyKerasRMSProp and ApplyKerasCenteredRMSProp: RMSProp (Hinton, Srivastava and Swersky, "Neural
// networks for machine learning", lecture 6e) as Keras computes it without momentum:
//
//   rms  = rms * rho + g^2 * (1 - rho)
//   mg   = mg * rho + g * (1 - rho)                      Centered only
//   d    = rms, or rms - mg^2 if Centered
//   var -= g * lr / (sqrt(d) + epsilon)                  or, with epsilon_in_root,
//   var -= g * lr / sqrt(d + epsilon)
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/keras_rms_prop.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class T>
struct KerasRMSPropCoefficients {
  template <class R>
  explicit KerasRMSPropCoefficients(const Arguments<R, T>& args)
      : lr(args.hypers[0]),
        rho(args.hypers[1]),
        one_minus_rho(args.complements[1]),
        epsilon(args.hypers[2]),
        epsilon_in_root(args.attrs[0]) {}

  T lr, rho, one_minus_rho, epsilon;
  bool epsilon_in_root;
};

template <class T, class V>
HWY_INLINE V KerasRMSPropStep(const KerasRMSPropCoefficients<T>& c, V g, V mean_square) {
  const V step = g * c.lr;
  return c.epsilon_in_root ? Quotient(step, Sqrt(mean_square + c.epsilon))
                           : QuotientOfRoot(step, Sqrt(mean_square), c.epsilon);
}

struct KerasRMSProp : Rule<KerasRMSProp> {
  static constexpr bool kSlotsAlone = true;
  static constexpr RuleSpec kSpec = {
      "KerasRMSProp", {"rms"}, "grad", {{"lr"}, {"rho"}, {"epsilon"}}, {"epsilon_in_root"}};

  template <class T>
  using Coefficients = KerasRMSPropCoefficients<T>;

  template <class T, class V>
  static HWY_INLINE void Step(const KerasRMSPropCoefficients<T>& c, V g, V& var, V& rms) {
    rms = rms * c.rho + (g * g) * c.one_minus_rho;
    var = var - KerasRMSPropStep(c, g, rms);
  }
};

struct KerasCenteredRMSProp : Rule<KerasCenteredRMSProp> {
  static constexpr bool kSlotsAlone = true;
  static constexpr RuleSpec kSpec = {"KerasCenteredRMSProp",
                                     {"rms", "mg"},
                                     "grad",
                                     {{"lr"}, {"rho"}, {"epsilon"}},
                                     {"epsilon_in_root"}};

  template <class T>
  using Coefficients = KerasRMSPropCoefficients<T>;

  template <class T, class V>
  static HWY_INLINE void Step(const KerasRMSPropCoefficients<T>& c, V g, V& var, V& rms, V& mg) {
    rms = rms * c.rho + (g * g) * c.one_minus_rho;
    mg = mg * c.rho + g * c.one_minus_rho;
    const V variance = rms - mg * mg;
    // Rounding can make the variance negative; such a gradient has no scale: no update.
    const V root_of = c.epsilon_in_root ? variance + c.epsilon : variance;
    const auto is_rounded = And(root_of < 0, Abs(mg) < std::numeric_limits<T>::infinity());
    var = var - IfThenZeroElse(is_rounded, KerasRMSPropStep(c, g, variance));
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
