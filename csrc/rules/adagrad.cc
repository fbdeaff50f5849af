// ApplyAdagrad and ApplyAdagradV2 (Duchi, Hazan and Singer, "Adaptive subgradient methods for
// online learning and stochastic optimization", 2011):
//
//   accum += g^2                                         if update_slots
//   var   -= g * lr / sqrt(accum)                        Adagrad
//   var   -= g * lr / (sqrt(accum) + epsilon)            AdagradV2
//
// ApplyKerasAdagrad, as Keras's current API computes it:
//
//   accum += g^2
//   var   -= g * lr / sqrt(accum + epsilon)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/adagrad.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct Adagrad : Rule<Adagrad> {
  static constexpr RuleSpec kSpec = {"Adagrad", {"accum"}, "grad", {{"lr"}}, {"update_slots"}};

  template <class T>
  struct Coefficients {
    explicit Coefficients(const Arguments<Adagrad, T>& args)
        : lr(args.hypers[0]), update_slots(args.attrs[0]) {}

    T lr;
    bool update_slots;
  };

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& accum) {
    if (c.update_slots) accum = accum + g * g;
    const V step = g * c.lr;
    var = var - IfThenZeroElse(BothZero(step, accum), step * Rsqrt(accum));
  }
};

template <class T>
struct AdagradCoefficients {
  template <class R>
  explicit AdagradCoefficients(const Arguments<R, T>& args)
      : lr(args.hypers[0]), epsilon(args.hypers[1]) {}

  T lr, epsilon;
};

struct AdagradV2 : Rule<AdagradV2> {
  static constexpr RuleSpec kSpec = {
      "AdagradV2", {"accum"}, "grad", {{"lr"}, {"epsilon"}}, {"update_slots"}};

  template <class T>
  struct Coefficients : AdagradCoefficients<T> {
    explicit Coefficients(const Arguments<AdagradV2, T>& args)
        : AdagradCoefficients<T>(args), update_slots(args.attrs[0]) {}

    bool update_slots;
  };

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& accum) {
    if (c.update_slots) accum = accum + g * g;
    var = var - QuotientOfRoot(g * c.lr, Sqrt(accum), c.epsilon);
  }
};

struct KerasAdagrad : Rule<KerasAdagrad> {
  static constexpr RuleSpec kSpec = {"KerasAdagrad", {"accum"}, "grad", {{"lr"}, {"epsilon"}}, {}};

  template <class T>
  using Coefficients = AdagradCoefficients<T>;

  template <class T, class V>
  static HWY_INLINE void Step(const AdagradCoefficients<T>& c, V g, V& var, V& accum) {
    accum = accum + g * g;
    var = var - Quotient(g * c.lr, Sqrt(accum + c.epsilon));
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(Adagrad);
SLOTWISE_DEFINE_RULE(AdagradV2);
SLOTWISE_DEFINE_RULE(KerasAdagrad);
}  // namespace slotwise
#endif
