// SPDX-License-Identifier: Apache-2.0
#include "core/clock.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <stdexcept>

#include "core/denormals.h"

namespace slotwise {
namespace {

constexpr size_t kMostSteps = size_t{1} << 18, kFewestSteps = size_t{1} << 12;
constexpr size_t kMostBytes = size_t{16} << 20;  // of tables by step
constexpr size_t kMostAge = size_t{1} << 15;
constexpr double kPi = 3.14159265358979323846;

// The cosine of an angle in [0, pi / 2], by its series.
double Cosine(double angle) {
  double sum = 1, term = 1;
  for (int n = 2; n <= 28; n += 2) {
    term = -term * angle * angle / (n * (n - 1));
    sum += term;
  }
  return sum;
}

std::vector<double> PowersOf(double base, size_t count) {
  std::vector<double> powers(count, 1);
  for (size_t i = 1; i < count; ++i) powers[i] = powers[i - 1] * base;
  return powers;
}

// The zeros of the Chebyshev polynomial of this degree, in descending order.
std::vector<double> Nodes(size_t count) {
  std::vector<double> nodes(count);
  for (size_t i = 0; i < (count + 1) / 2; ++i) {
    const double angle = static_cast<double>(2 * i + 1) * kPi / static_cast<double>(2 * count);
    const bool is_middle = 2 * i + 1 == count;
    nodes[i] = is_middle ? 0 : Cosine(angle);
    nodes[count - 1 - i] = -nodes[i];
  }
  return nodes;
}

// For each node, the coefficients in powers of y = x / 2 of the polynomial that is 1 there and 0 at
// the others: of 1 / count * (1 + 2 * sum over 0 < j < count of T_j(node) * T_j(x)).
std::vector<double> Interpolants(const std::vector<double>& nodes) {
  const size_t count = nodes.size();
  std::vector<double> coefficients(count * count);
  for (size_t n = 0; n < count; ++n) {
    double* const to = &coefficients[n * count];
    std::vector<double> before(count, 0), at(count, 0), next(count);  // T_(j-1), T_j in powers of y
    double value_before = 1, value = nodes[n];
    to[0] = 1;
    before[0] = 1;
    if (count > 1) at[1] = 2;
    for (size_t j = 1; j < count; ++j) {
      for (size_t k = 0; k < count; ++k) to[k] += 2 * value * at[k];
      for (size_t k = 0; k < count; ++k) next[k] = (k > 0 ? 4 * at[k - 1] : 0) - before[k];
      const double value_next = 2 * nodes[n] * value - value_before;
      before = at, at = next;
      value_before = value, value = value_next;
    }
    for (size_t k = 0; k < count; ++k) to[k] /= static_cast<double>(count);
  }
  return coefficients;
}

// By how much the interpolant with `terms` nodes may be off for a term whose e^u is `growth`, of
// itself: 2 * tanh(|u| / 4)^terms. This is the tanh.
double Distance(double growth) {
  if (!(growth < 1e300)) return 1;
  const double root = std::sqrt(growth);
  return std::abs(root - 1) / (root + 1);
}

Lessening Lessen(double kept) {
  if (kept > 0.5) return {1, 1 - kept};
  return {kept, 0};
}

bool IsEqual(const Motion& a, const Motion& b) {
  return a.kept == b.kept && a.ratio == b.ratio && a.shrink == b.shrink &&
         a.sign_kept == b.sign_kept;
}

}  // namespace

void Clock::Powers::Start(double base, size_t most) {
  low_ = PowersOf(base, kBlock);
  high_ = PowersOf(low_.back() * base, most / kBlock + 1);
}

Clock::Clock(const Movement& movement, size_t slots, DType dtype, bool has_average, size_t bytes)
    : movement_(movement),
      slots_(slots),
      is_double_(dtype == DType::kF64),
      has_average_(has_average),
      bytes_(bytes) {}

// ----- whether steps can be put off --------------------------------------------------------------

Clock::Plan Clock::PlanFor(const Motion& motion, bool epsilon_varies, std::string* refusal) const {
  Plan plan;
  if (movement_.drift != Drift::kFading || IsSteady(motion)) return plan;
  std::ostringstream why;
  const double r = motion.ratio, q = motion.shrink;
  if (!(r >= 0 && r < 1)) {
    why << "a row without a gradient moves ever farther: the first moment (or the momentum) fades "
           "by "
        << r << " a step, of the root beside it";
    *refusal = why.str();
    return plan;
  }
  const double tail = is_double_ ? 0x1p-64 : 0x1p-40;
  double power = r;
  for (plan.age = 1; power > tail && plan.age <= kMostAge; ++plan.age) power *= r;
  if (plan.age > kMostAge) {
    why << "a gradient moves a row for more than " << kMostAge << " steps (a ratio of " << r << ")";
    *refusal = why.str();
    return plan;
  }
  const bool has_epsilon = motion.epsilon > 0 && (q < 1 || epsilon_varies);
  if (!has_epsilon || r == 0) {
    plan.terms = 1;
    return plan;
  }
  // The least number of terms, and the age at which u is best 0, so that the error of equal rates
  // is below the tolerance for every z.
  constexpr double kZ[] = {0, 0.1, 0.3, 0.6, 1};
  constexpr size_t kCentres = 60;
  const std::vector<double> fading = PowersOf(r, plan.age + 1);
  size_t fewest = kMaxTerms + 1;
  double least = std::numeric_limits<double>::infinity();
  const auto farthest = static_cast<size_t>(std::min(8 / (1 - r), 4.0 * kMostAge));
  size_t last_centre = 0;
  for (size_t c = 0; c < kCentres; ++c) {
    const size_t centre = 1 + (std::max<size_t>(farthest, 1) - 1) * c / (kCentres - 1);
    if (centre == last_centre) continue;
    last_centre = centre;
    const std::vector<double> up = PowersOf(1 / q, plan.age + 1), down = PowersOf(q, centre + 1);
    std::vector<double> distance(plan.age), error(plan.age, 2);
    std::vector<std::array<double, 5>> weight(plan.age);
    std::array<double, 5> sum{};
    for (size_t i = 0; i < plan.age; ++i) {
      const size_t age = i + 1;
      const double growth = age >= centre ? up[age - centre] : down[centre - age];
      distance[i] = Distance(growth);
      for (size_t z = 0; z < 5; ++z) {
        weight[i][z] = fading[age] / (1 + kZ[z] * (growth - 1));
        sum[z] += weight[i][z];
      }
    }
    for (size_t terms = 1; terms <= std::min(fewest, kMaxTerms); ++terms) {
      std::array<double, 5> off{};
      for (size_t i = 0; i < plan.age; ++i) {
        error[i] *= distance[i];
        for (size_t z = 0; z < 5; ++z) off[z] += weight[i][z] * error[i];
      }
      double bound = 0;
      for (size_t z = 0; z < 5; ++z) bound = std::max(bound, off[z] / sum[z]);
      if (!(bound <= Tolerance())) continue;
      if (terms < fewest || bound < least) {
        fewest = terms, least = bound;
        plan.terms = terms, plan.centre = centre;
      }
      break;
    }
  }
  if (fewest > kMaxTerms) {
    why << "the first moment fades nearly as fast as the root of the second (a ratio of " << r
        << "): that takes more than " << kMaxTerms << " terms";
    *refusal = why.str();
  }
  if (epsilon_varies) plan.terms = std::min(std::max<size_t>(plan.terms + 1, 6), kMaxTerms);
  return plan;
}

std::string Clock::Refusal(const Motion& motion) const {
  const FlushDenormals flush;
  std::string refusal;
  if (has_begun_ && IsEqual(motion, first_)) return refusal;
  PlanFor(motion, Varies(motion), &refusal);
  return refusal;
}

bool Clock::EndsAt(const Motion& motion, const Around& around) const {
  if (!has_begun_) return false;
  const size_t t = Index(now_);
  return t >= capacity_ || is_inexact_ || (has_average_ && around.momentum != kept_) ||
         !(gamma_[t] > 0x1p-900 && gamma_[t] < 0x1p900) || filtered_[t] > 0x1p20 ||
         !IsEqual(motion, first_) || (!epsilon_varies_ && motion.epsilon != first_.epsilon);
}

bool Clock::IsCoarse(const Motion& motion) const {
  return Varies(motion) && !(std::abs(motion.epsilon / latest_.epsilon - 1) <= 0x1p-7);
}

// ----- steps -------------------------------------------------------------------------------------

size_t Clock::BytesOfStep() const {
  const size_t numbers =
      terms_ * (has_average_ ? 2 : 1) + 2 + (is_summed_ ? 2 : 0) + (epsilon_varies_ ? 3 : 0);
  return numbers * sizeof(double);
}

void Clock::Begin(const Motion& motion, double kept, bool epsilon_varies, const Plan& plan) {
  first_ = motion;
  epsilon_varies_ = epsilon_varies;
  kept_ = kept;
  age_ = plan.age, terms_ = plan.terms, centre_ = plan.centre;
  is_summed_ =
      movement_.drift == Drift::kLasting || (movement_.drift == Drift::kFading && IsSteady(motion));
  const size_t of_table = std::max(bytes_ / 16 / BytesOfStep(), kFewestSteps);
  capacity_ = std::min({kMostSteps, kMostBytes / BytesOfStep(), of_table});
  for (size_t i = 0; i < slots_; ++i) powers_[i].Start(motion.kept[i], capacity_);
  powers_of_average_.Start(kept_, capacity_);
  fading_ = PowersOf(motion.ratio, age_ + 1);
  growing_ = PowersOf(1 / motion.shrink, std::max(age_, centre_) + 1);
  const std::vector<double> nodes = Nodes(terms_);
  of_nodes_ = Interpolants(nodes);
  nodes_.resize(terms_);
  for (size_t n = 0; n < terms_; ++n) nodes_[n] = (1 + nodes[n]) / 2;
  by_age_.resize(age_ * terms_);
  if (!epsilon_varies_) FillTerms(motion.epsilon, 0, age_, by_age_.data());
  for (std::vector<double>* const table : {&of_var_, &of_average_, &sum_var_, &sum_average_,
                                           &filtered_, &e0_, &error_, &size_, &gamma_}) {
    table->clear();
  }
  gamma_.push_back(1);
  filtered_.push_back(0);
  if (is_summed_) sum_var_.push_back(0), sum_average_.push_back(0);
  now_ = 0, replaced_at_ = 0;
  is_inexact_ = false;
  has_begun_ = true;
}

// What a step with a rate of 1 and this epsilon adds to rows of age `count`, ..., 1, which stand at
// steps `from` on.
void Clock::FillTerms(double epsilon, size_t from, size_t count, double* terms) {
  std::array<double, kMaxTerms> h;
  for (size_t i = 0; i < count; ++i) {
    const size_t age = count - i;
    double growth = 1;  // e^u
    if (terms_ > 1) {
      const double e0 = epsilon_varies_ ? e0_[from + i] : epsilon * growing_[centre_];
      growth = epsilon * growing_[age] / e0;
    }
    for (size_t n = 0; n < terms_; ++n) h[n] = fading_[age] / (1 + nodes_[n] * (growth - 1));
    for (size_t k = 0; k < terms_; ++k) {
      double sum = 0;
      for (size_t n = 0; n < terms_; ++n) sum += h[n] * of_nodes_[n * terms_ + k];
      terms[i * terms_ + k] = sum;
    }
    if (epsilon_varies_ && terms_ > 1) {
      double error = 2;
      const double distance = Distance(growth);
      for (size_t n = 0; n < terms_; ++n) error *= distance;
      error_[from + i] += fading_[age] * error;
      size_[from + i] += fading_[age];
      is_inexact_ = is_inexact_ || error_[from + i] > Tolerance() * size_[from + i];
    }
  }
}

void Clock::Reserve(const Motion& motion, const Around& around, size_t steps) {
  const FlushDenormals flush;
  if (!has_begun_) {
    std::string refusal;
    const Plan plan = PlanFor(motion, Varies(motion), &refusal);
    if (!refusal.empty()) throw std::invalid_argument(refusal);
    Begin(motion, around.momentum, Varies(motion), plan);
  }
  const auto room = [&](std::vector<double>& table, size_t numbers) {
    const size_t size = (Index(now_) + 1 + steps) * numbers;
    if (table.capacity() < size) table.reserve(std::max(2 * size, size_t{1024}));
  };
  room(of_var_, terms_), room(gamma_, 1), room(filtered_, 1);
  if (has_average_) room(of_average_, terms_);
  if (is_summed_) room(sum_var_, 1), room(sum_average_, 1);
  if (epsilon_varies_) room(e0_, 1), room(error_, 1), room(size_, 1);
}

void Clock::Tick(const Motion& motion, const Around& around) {
  const FlushDenormals flush;
  const double gamma = 1 - around.decay, added = 1 - kept_;
  ++now_;
  gamma_.push_back(gamma_.back() * gamma);
  filtered_.push_back(filtered_.back() * (kept_ / gamma) + added);
  if (movement_.drift == Drift::kReplaced && !motion.is_idle) replaced_at_ = now_;
  if (is_summed_) {
    sum_var_.push_back(sum_var_.back() * gamma + motion.rate);
    sum_average_.push_back(sum_average_.back() * kept_ + added * sum_var_.back());
  }
  if (age_ > 0) AddTerms(motion, gamma);
  latest_ = motion, has_latest_ = true;
}

void Clock::AddTerms(const Motion& motion, double gamma) {
  const size_t t = Index(now_), count = std::min(t, age_), from = t - count;
  of_var_.resize(t * terms_, 0);  // that of step t - 1 begins
  if (has_average_) of_average_.resize(t * terms_, 0);
  const double* terms = by_age_.data() + (age_ - count) * terms_;
  if (epsilon_varies_) {
    e0_.push_back(motion.epsilon * growing_[centre_]);
    error_.push_back(0), size_.push_back(0);
    FillTerms(motion.epsilon, from, count, by_age_.data());
    terms = by_age_.data();
  }
  double* const of_var = of_var_.data() + from * terms_;
  const size_t numbers = count * terms_;
  for (size_t i = 0; i < numbers; ++i) of_var[i] = of_var[i] * gamma + motion.rate * terms[i];
  if (has_average_) {
    double* const of_average = of_average_.data() + from * terms_;
    for (size_t i = 0; i < numbers; ++i) {
      of_average[i] = of_average[i] * kept_ + (1 - kept_) * of_var[i];
    }
  }
}

void Clock::Reset(const Motion* motion) {
  has_begun_ = false;
  now_ = 0, replaced_at_ = 0;
  if (motion != nullptr) latest_ = *motion, has_latest_ = true;
}

namespace {

void Keep(Record& record, Motion* motion) {
  for (double& kept : motion->kept) record.Number(&kept);
  for (double* const x :
       {&motion->rate, &motion->ratio, &motion->epsilon, &motion->shrink, &motion->sign_kept}) {
    record.Number(x);
  }
  record.Flag(&motion->is_idle);
}

}  // namespace

void Clock::Keep(Record& record) {
  const FlushDenormals flush;
  Motion first = first_;
  double kept = kept_;
  bool has_begun = has_begun_, epsilon_varies = epsilon_varies_;
  record.Flag(&has_latest_), slotwise::Keep(record, &latest_);
  record.Flag(&has_begun);
  if (!has_begun) {
    if (record.is_read()) Reset(nullptr);
    return;
  }
  record.Flag(&epsilon_varies), record.Number(&kept), slotwise::Keep(record, &first);
  if (record.is_read()) {
    std::string refusal;
    const Plan plan = PlanFor(first, epsilon_varies, &refusal);
    if (!refusal.empty()) throw std::invalid_argument(refusal);
    Begin(first, kept, epsilon_varies, plan);
  }
  record.Count(&now_, static_cast<int32_t>(capacity_));
  record.Count(&replaced_at_, now_);
  record.Flag(&is_inexact_);
  const size_t t = Index(now_), of_steps = age_ > 0 ? t : 0;
  record.Numbers(&gamma_, t + 1), record.Numbers(&filtered_, t + 1);
  record.Numbers(&of_var_, of_steps * terms_);
  record.Numbers(&of_average_, has_average_ ? of_steps * terms_ : 0);
  for (std::vector<double>* const table : {&sum_var_, &sum_average_}) {
    record.Numbers(table, is_summed_ ? t + 1 : 0);
  }
  for (std::vector<double>* const table : {&e0_, &error_, &size_}) {
    record.Numbers(table, epsilon_varies_ ? of_steps : 0);
  }
}

// ----- what a row has missed ---------------------------------------------------------------------

double Clock::VarInAverage(int32_t s, int32_t t) const {
  if (t <= s) return 0;
  return Decay(s, t) * filtered_[Index(t)] - powers_of_average_(t - s) * filtered_[Index(s)];
}

void Clock::For(int32_t s, Missed* missed) const {
  const int32_t k = now_ - s;
  for (size_t i = 0; i < slots_; ++i) missed->slots[i] = Lessen(powers_[i](k));
  missed->var = Lessen(Decay(s, now_));
  if (has_average_) {
    const double kept = powers_of_average_(k), of_var = VarInAverage(s, now_);
    missed->average = Lessen(kept);
    missed->rest = kept > 0.5 ? of_var - (1 - kept) : of_var;
  }
  if (age_ == 0) return;
  missed->e0 = epsilon_varies_ ? e0_[Index(s)] : first_.epsilon * growing_[centre_];
  const auto complete = static_cast<int32_t>(std::min(Index(s) + age_, Index(now_)));
  const double later = Decay(complete, now_);
  const double* const of_var = &of_var_[Index(s) * terms_];
  for (size_t i = 0; i < terms_; ++i) missed->of_var[i] = of_var[i] * later;
  if (!has_average_) return;
  const double kept = powers_of_average_(now_ - complete), more = VarInAverage(complete, now_);
  const double* const of_average = &of_average_[Index(s) * terms_];
  for (size_t i = 0; i < terms_; ++i) {
    missed->of_average[i] = of_average[i] * kept + of_var[i] * more;
  }
}

void Clock::Lasting(int32_t s, int32_t until, double* of_var, double* of_average) const {
  const double var = sum_var_[Index(until)] - Decay(s, until) * sum_var_[Index(s)];
  *of_var = Decay(until, now_) * var;
  *of_average = 0;
  if (!has_average_) return;
  const double average = sum_average_[Index(until)] -
                         powers_of_average_(until - s) * sum_average_[Index(s)] -
                         VarInAverage(s, until) * sum_var_[Index(s)];
  *of_average = powers_of_average_(now_ - until) * average + VarInAverage(until, now_) * var;
}

bool Clock::LastsAll(double size, int32_t count) const {
  return size * first_.sign_kept * powers_[movement_.slot](count - 1) >= Tiny();
}

double Clock::LastingSize(int32_t count) const {
  return Tiny() / (first_.sign_kept * powers_[movement_.slot](count - 1));
}

int32_t Clock::MovingSteps(double size, int32_t count) const {
  int32_t none = 0, all = count + 1;  // the sizes at `none` are enough, those at `all` are not
  while (all - none > 1) {
    const int32_t middle = none + (all - none) / 2;
    (LastsAll(size, middle) ? none : all) = middle;
  }
  return none;
}

}  // namespace slotwise
