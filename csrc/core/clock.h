// SPDX-License-Identifier: Apache-2.0
// The steps of a table whose rows are not written unless a gradient names them: all that a row
// needs to know to make up, in a bounded number of operations, for any number of steps that it
// missed.
//
// A row stands at step s if it holds what it has after step s. From s until now, at t,
//
//   slot_t = slot_s * kept^(t - s)
//   var_t  = Gamma(s, t) * var_s - base * P(z)
//
// where Gamma is the product of the factors 1 - decay of steps s < j <= t, and
//
//   P(z) = sum over j of Gamma(j, t) * rate_j * ratio^i / (1 + z * (e^u_i - 1)),   i = j - s
//
// with base = m / (root + e0), z = e0 / (root + e0) and e^u_i = epsilon_j * shrink^-i / e0 of the
// row's elements. P is approximated, to the last bit of a float, by its interpolant at the
// Chebyshev nodes of [0, 1]: a polynomial for each s, in powers of z - 1/2, which each step adds
// its term to.
//
// All is plain arithmetic in double, in an order that nothing changes: no function of the C library
// whose last bit differs between machines.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/motion.h"
#include "core/record.h"

namespace slotwise {

constexpr size_t kMaxTerms = 16;

// How x becomes less: x * factor - x * lost. Near 1, a factor would be rounded the same way each
// time, and the errors would add up.
struct Lessening {
  double factor = 1, lost = 0;
};

// What a row has to make up for.
struct Missed {
  std::array<Lessening, kMaxSlots> slots;
  Lessening var, average;
  double rest = 0;  // of the average: + var * rest
  double e0 = 0;    // beside the root
  std::array<double, kMaxTerms> of_var, of_average;
};

class Clock {
 public:
  // What is done in a step, but for the rule: by weight_decay * rate, which is below 1, and by the
  // momentum of the average.
  struct Around {
    double decay = 0, momentum = 0;
  };

  // `has_average`: beside the variable. `bytes`: of the variable, beside which the tables stay
  // small.
  Clock(const Movement& movement, size_t slots, DType dtype, bool has_average, size_t bytes);

  int32_t now() const { return now_; }
  const Motion& first() const { return first_; }  // the numbers of the first step
  size_t terms() const { return terms_; }         // coefficients of a polynomial
  size_t age() const { return age_; }             // after so many steps a row moves no longer
  bool is_summed() const { return is_summed_; }

  // Why steps of such numbers cannot be put off; empty if they can.
  std::string Refusal(const Motion& motion) const;
  // Whether all rows have to catch up before this step, since slots decay otherwise than before or
  // the tables end.
  bool EndsAt(const Motion& motion, const Around& around) const;
  // Whether epsilon changes so much from step to step that all rows had better take this step.
  bool IsCoarse(const Motion& motion) const;

  // Takes the memory of so many more steps.
  void Reserve(const Motion& motion, const Around& around, size_t steps);
  // A step that was reserved.
  void Tick(const Motion& motion, const Around& around);
  // All rows stand at now, which is step 0 from here on. `motion`: of the latest step, or null.
  void Reset(const Motion* motion);
  // Writes down all of it, or is as it was written down, by a clock made of the same. Throws
  // std::invalid_argument if that is no clock; this one is not to be used then.
  void Keep(Record& record);

  // What a row that stands at s < now() has missed.
  void For(int32_t s, Missed* missed) const;
  // kLasting: what var and average lose for each 1 of the base, if the row moves in the steps
  // s < j <= until only.
  void Lasting(int32_t s, int32_t until, double* of_var, double* of_average) const;
  // kLasting: in how many of `count` missed steps a row moves whose slot is of this size.
  int32_t MovingSteps(double size, int32_t count) const;
  bool LastsAll(double size, int32_t count) const;
  // About the least size of a slot by which a row moves in all of them.
  double LastingSize(int32_t count) const;
  // kReplaced: the step whose numbers count, 0 if there is none.
  int32_t replaced_at() const { return replaced_at_; }

 private:
  // base^n for any n >= 0 that a clock comes to, by two short tables.
  class Powers {
   public:
    void Start(double base, size_t most);
    double operator()(int32_t n) const {
      return high_[static_cast<size_t>(n) / kBlock] * low_[static_cast<size_t>(n) % kBlock];
    }

   private:
    static constexpr size_t kBlock = 1024;
    std::vector<double> low_, high_;
  };
  struct Plan {
    size_t age = 0, terms = 0, centre = 0;
  };

  Plan PlanFor(const Motion& motion, bool epsilon_varies, std::string* refusal) const;
  void Begin(const Motion& motion, double kept, bool epsilon_varies, const Plan& plan);
  // Whether a row moves by the same in each step: its slot stays, and nothing stands beside it.
  bool IsSteady(const Motion& motion) const {
    return motion.ratio == 1 && movement_.base == Base::kSlot;
  }
  bool Varies(const Motion& motion) const {
    return has_latest_ && latest_.epsilon != motion.epsilon;
  }
  void AddTerms(const Motion& motion, double gamma);
  void FillTerms(double epsilon, size_t from, size_t count, double* terms);
  double Decay(int32_t s, int32_t t) const { return gamma_[Index(t)] / gamma_[Index(s)]; }
  double VarInAverage(int32_t s, int32_t t) const;
  static size_t Index(int32_t s) { return static_cast<size_t>(s); }
  size_t BytesOfStep() const;
  // The smallest number that is not flushed to 0.
  double Tiny() const {
    return is_double_ ? std::numeric_limits<double>::min() : std::numeric_limits<float>::min();
  }
  double Tolerance() const { return is_double_ ? 0x1p-44 : 0x1p-25; }

  Movement movement_;
  size_t slots_;
  bool is_double_, has_average_;
  size_t bytes_;

  int32_t now_ = 0, replaced_at_ = 0;
  bool has_begun_ = false, is_inexact_ = false, has_latest_ = false;
  Motion first_, latest_;
  double kept_ = 0;              // by the average
  bool epsilon_varies_ = false;  // from step to step
  bool is_summed_ = false;
  size_t age_ = 0, terms_ = 0, centre_ = 0, capacity_ = 0;
  std::array<Powers, kMaxSlots> powers_;
  Powers powers_of_average_;
  std::vector<double> fading_, growing_, nodes_, of_nodes_;
  std::vector<double> by_age_;  // what a rate of 1 adds to rows of an age, the oldest first

  // By step s, from 0 to now.
  std::vector<double> of_var_, of_average_;  // `terms_` coefficients each
  std::vector<double> gamma_;                // Gamma(0, s)
  std::vector<double> filtered_;  // sum over j <= s of added * kept^(s - j) / Gamma(j, s)
  std::vector<double> sum_var_, sum_average_;
  std::vector<double> e0_, error_, size_;
};

}  // namespace slotwise
