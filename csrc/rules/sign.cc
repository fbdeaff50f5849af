// ApplyAddSign and ApplyPowerSign (Bello et al., "Neural optimizer search with reinforcement
// learning", 2017):
//
//   m    = m * beta + g * (1 - beta)
//   var -= lr * (alpha + sign_decay * sign(g) * sign(m)) * g           AddSign
//   var -= lr * exp(logbase * sign_decay * sign(g) * sign(m)) * g      PowerSign
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/sign.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct AddSign : Rule<AddSign> {
  static constexpr RuleSpec kSpec = {
      "AddSign", {"m"}, "grad", {{"lr"}, {"alpha"}, {"sign_decay"}, {"beta"}}, {}};

  template <class T>
  struct Coefficients {
    explicit Coefficients(const Arguments<AddSign, T>& args)
        : lr(args.hypers[0]),
          alpha(args.hypers[1]),
          sign_decay(args.hypers[2]),
          beta(args.hypers[3]),
          one_minus_beta(args.complements[3]) {}

    T lr, alpha, sign_decay, beta, one_minus_beta;
  };

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& m) {
    m = m * c.beta + g * c.one_minus_beta;
    var = var - (c.lr * (c.alpha + c.sign_decay * (Sign(g) * Sign(m)))) * g;
  }
};

struct PowerSign : Rule<PowerSign> {
  static constexpr RuleSpec kSpec = {
      "PowerSign", {"m"}, "grad", {{"lr"}, {"logbase"}, {"sign_decay"}, {"beta"}}, {}};

  // The exponential takes three values only, one for each sign of g * m.
  template <class T>
  struct Coefficients {
    explicit Coefficients(const Arguments<PowerSign, T>& args) {
      const auto& [lr, logbase, sign_decay, decay] = args.hypers;
      const T exponent = logbase * sign_decay;
      agree = lr * Exp(exponent);
      zero = lr * Exp(exponent * 0);
      differ = lr * Exp(-exponent);
      beta = decay;
      one_minus_beta = args.complements[3];
    }

    static T Exp(T x) { return static_cast<T>(std::exp(static_cast<double>(x))); }

    T agree, zero, differ, beta, one_minus_beta;
  };

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& m) {
    m = m * c.beta + g * c.one_minus_beta;
    const V signs = Sign(g) * Sign(m);
    V scale = IfThenElse(signs < 0, Fill<V>(c.differ), Fill<V>(c.zero));
    scale = IfThenElse(signs > 0, Fill<V>(c.agree), scale);
    var = var - IfThenElse(IsNaN(signs), signs, scale) * g;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(AddSign);
SLOTWISE_DEFINE_RULE(PowerSign);
}  // namespace slotwise
#endif
