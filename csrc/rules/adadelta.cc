// SPDX-License-Identifier: Apache-2.0
// ApplyAdadelta (Zeiler, "ADADELTA: an adaptive learning rate method", 2012):
//
//   accum         = accum * rho + g^2 * (1 - rho)
//   update        = sqrt(accum_update + epsilon) / sqrt(accum + epsilon) * g
//   var          -= update * lr
//   accum_update  = accum_update * rho + update^2 * (1 - rho)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/adadelta.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct Adadelta : Rule<Adadelta> {
  static constexpr bool kSlotsAlone = true;
  static constexpr Movement kMovement = {Drift::kNone};
  static constexpr RuleSpec kSpec = {
      "Adadelta", {"accum", "accum_update"}, "grad", {{"lr"}, {"rho"}, {"epsilon"}}, {}};

  template <class T>
  struct Coefficients {
    T lr, rho, one_minus_rho, epsilon;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<Adadelta, T>& args) {
    const auto& [lr, rho, epsilon] = args.hypers;
    return {lr, rho, rho.one_minus(), epsilon};
  }

  template <class T>
  static Motion Moves(const Coefficients<T>& c) {
    Motion motion;
    motion.kept = {c.rho, c.rho, 1};
    return motion;
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& accum, V& accum_update) {
    accum = accum * c.rho + (g * g) * c.one_minus_rho;
    const V numerator = Sqrt(accum_update + c.epsilon);
    const V denominator = accum + c.epsilon;
    const V update =
        IfThenZeroElse(BothZero(numerator * g, denominator), (numerator * Rsqrt(denominator)) * g);
    var = var - update * c.lr;
    accum_update = accum_update * c.rho + (update * update) * c.one_minus_rho;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(Adadelta);
}  // namespace slotwise
#endif
