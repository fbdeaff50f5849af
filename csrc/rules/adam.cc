// ApplyAdam (Kingma and Ba, "Adam: a method for stochastic optimization", 2014):
//
//   alpha = lr * sqrt(1 - beta2_power) / (1 - beta1_power)
//   m    += (g - m) * (1 - beta1)
//   v    += (g^2 - v) * (1 - beta2)
//   var  -= m * alpha / (sqrt(v) + epsilon)              or, with use_nesterov,
//   var  -= (g * (1 - beta1) + beta1 * m) * alpha / (sqrt(v) + epsilon)
//
// ApplyAdamWithAmsgrad (Reddi et al., "On the convergence of Adam and beyond", 2018):
//
//   vhat  = max(vhat, v)
//   var  -= m * alpha / (sqrt(vhat) + epsilon)
//
// ApplyAdaMax (the infinity-norm variant in the Adam paper):
//
//   m    += (g - m) * (1 - beta1)
//   v     = max(beta2 * v, |g|)
//   var  -= lr / (1 - beta1_power) * m / (v + epsilon)
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/adam.cc"
#include "hwy/foreach_target.h"
#include "rules/moments-inl.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class T>
struct AdamCoefficients {
  template <class R>
  explicit AdamCoefficients(const Arguments<R, T>& args) {
    const T beta1_power = args.hypers[0], beta2_power = args.hypers[1];
    alpha = ScalarQuotient(args.hypers[2] * std::sqrt(1 - beta2_power), 1 - beta1_power);
    beta1 = args.hypers[3];
    one_minus_beta1 = args.complements[3];
    one_minus_beta2 = args.complements[4];
    epsilon = args.hypers[5];
  }

  T alpha, beta1, one_minus_beta1, one_minus_beta2, epsilon;
};

struct Adam : Rule<Adam> {
  static constexpr RuleSpec kSpec = {"Adam",
                                     {"m", "v"},
                                     "grad",
                                     {{"beta1_power"},
                                      {"beta2_power", Range::kAtMostOne},
                                      {"lr"},
                                      {"beta1"},
                                      {"beta2"},
                                      {"epsilon"}},
                                     {"use_nesterov"}};

  template <class T>
  struct Coefficients : AdamCoefficients<T> {
    explicit Coefficients(const Arguments<Adam, T>& args)
        : AdamCoefficients<T>(args), use_nesterov(args.attrs[0]) {}

    bool use_nesterov;
  };

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& m, V& v) {
    UpdateMoments(c, g, m, v);
    const V direction = c.use_nesterov ? g * c.one_minus_beta1 + c.beta1 * m : m;
    var = var - QuotientOfRoot(direction * c.alpha, Sqrt(v), c.epsilon);
  }
};

struct AdamWithAmsgrad : Rule<AdamWithAmsgrad> {
  static constexpr RuleSpec kSpec = {"AdamWithAmsgrad",
                                     {"m", "v", "vhat"},
                                     "grad",
                                     {{"beta1_power"},
                                      {"beta2_power", Range::kAtMostOne},
                                      {"lr"},
                                      {"beta1"},
                                      {"beta2"},
                                      {"epsilon"}},
                                     {}};

  template <class T>
  using Coefficients = AdamCoefficients<T>;

  template <class T, class V>
  static HWY_INLINE void Step(const AdamCoefficients<T>& c, V g, V& var, V& m, V& v, V& vhat) {
    UpdateMoments(c, g, m, v);
    vhat = FirstMax(vhat, v);
    var = var - QuotientOfRoot(m * c.alpha, Sqrt(vhat), c.epsilon);
  }
};

struct AdaMax : Rule<AdaMax> {
  static constexpr RuleSpec kSpec = {"AdaMax",
                                     {"m", "v"},
                                     "grad",
                                     {{"beta1_power"}, {"lr"}, {"beta1"}, {"beta2"}, {"epsilon"}},
                                     {}};

  template <class T>
  struct Coefficients {
    explicit Coefficients(const Arguments<AdaMax, T>& args) {
      alpha = ScalarQuotient(args.hypers[1], 1 - args.hypers[0]);
      one_minus_beta1 = args.complements[2];
      beta2 = args.hypers[3];
      epsilon = args.hypers[4];
    }

    T alpha, one_minus_beta1, beta2, epsilon;
  };

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& m, V& v) {
    m = m + (g - m) * c.one_minus_beta1;
    v = FirstMax(c.beta2 * v, Abs(g));
    var = var - c.alpha * Quotient(m, v + c.epsilon);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(Adam);
SLOTWISE_DEFINE_RULE(AdamWithAmsgrad);
SLOTWISE_DEFINE_RULE(AdaMax);
}  // namespace slotwise
#endif
