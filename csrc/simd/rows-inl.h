// The sparse driver: walks rows of one update, each row by one thread, with its occurrences in
// order.

#if defined(SLOTWISE_SIMD_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_ROWS_INL_H_
#undef SLOTWISE_SIMD_ROWS_INL_H_
#else
#define SLOTWISE_SIMD_ROWS_INL_H_
#endif

#include <algorithm>
#include <utility>

#include "core/around.h"
#include "core/group_tasks.h"
#include "simd/step-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

inline constexpr size_t kMaxFetched = 512;  // bytes of a row: the hardware follows long ones

template <class T>
HWY_INLINE void PrefetchRow(const T* row, size_t width) {
  const auto* bytes = reinterpret_cast<const char*>(row);
  const size_t size = std::min(width * sizeof(T), kMaxFetched);
  for (size_t i = 0; i < size; i += 64) __builtin_prefetch(bytes + i);
  __builtin_prefetch(bytes + size - 1);
}

// The gradients of one row, in order of appearance.
template <class Codec>
class Occurrences {
 public:
  using Stored = typename Codec::Stored;

  // Those of group g; what comes after it, up to group `end`, is fetched on the way.
  template <class Call>
  Occurrences(const Call& call, size_t g, size_t end)
      : grad_(static_cast<const Stored*>(call.grad)),
        stride_(call.grad_stride),
        positions_(call.groups.positions + call.groups.offsets[g]),
        count_(call.groups.offsets[g + 1] - call.groups.offsets[g]),
        last_(call.groups.offsets[end] - call.groups.offsets[g] - 1) {}

  // From now on they are the first one alone; `Next` goes on to the one after it. Returns how many
  // there are.
  HWY_INLINE size_t Single() { return std::exchange(count_, 1); }
  HWY_INLINE void Next() {
    ++positions_;
    --last_;
  }

  // From element i of occurrence k on.
  template <class D>
  HWY_INLINE hn::VFromD<D> Load(D d, size_t k, size_t i) const {
    if (i * sizeof(Stored) < kMaxFetched) __builtin_prefetch(Row(std::min(k + kAhead, last_)) + i);
    return Codec::Load(d, Row(k) + i);
  }

  template <class D>
  HWY_INLINE hn::VFromD<D> Sum(D d, size_t i) const {
    auto sum = Load(d, 0, i);
    for (size_t k = 1; k < count_; ++k) sum = hn::Add(sum, Load(d, k, i));
    return sum;
  }

 private:
  static constexpr size_t kAhead = 16;

  HWY_INLINE const Stored* Row(size_t k) const {
    return grad_ + static_cast<int64_t>(positions_[k]) * stride_;
  }

  const Stored* grad_;
  int64_t stride_;
  const uint32_t* positions_;
  size_t count_, last_;
};

template <class R, class Codec>
class Rows {
 public:
  explicit Rows(const SparseCall& call)
      : call_(call), coefficients_(Arguments<R, typename Codec::Compute>(call.hypers, call.attrs)) {
    arrays_.var = static_cast<Stored*>(call.var);
    for (size_t i = 0; i < kMaxSlots; ++i) arrays_.slots[i] = static_cast<Stored*>(call.slots[i]);
    arrays_.grad = static_cast<const Stored*>(call.grad);
  }

  void Run() const {
    GroupTasks<Rows>(*this, call_.groups, 2 * (1 + kSlots), call_.width * sizeof(Stored));
  }

  // All rows of groups [begin, end).
  void operator()(size_t begin, size_t end) const {
    const typename U::Coefficients c = coefficients_;  // a copy that stores cannot alias
    const RowGroupsView& groups = call_.groups;
    for (size_t g = begin; g < end; ++g) {
      PrefetchRows(g + kRowsAhead, end);
      const size_t start = RowStart(groups.rows[g]);
      const Arrays<Stored> row = arrays_.template From<kSlots>(start, nullptr);
      BeforeUpdate(call_.dtype, call_.around, start, call_.width, call_.var);
      Occurrences<Codec> occurrences(call_, g, end);
      // One place where the rule is compiled, whether they are summed or applied one by one.
      size_t steps = call_.sum ? 1 : occurrences.Single();
      for (; steps > 0; --steps, occurrences.Next()) {
        WalkAll<Compute>(Body{c, row, occurrences}, call_.width);
      }
      AfterUpdate(call_.dtype, call_.around, start, call_.width, call_.var);
    }
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  using U = Update<R, Codec>;
  static constexpr size_t kSlots = U::kSlots;
  static constexpr size_t kRowsAhead = 16;

  // The body of a walk along one row. The sum of its gradients is never stored.
  struct Body {
    const typename U::Coefficients& c;
    const Arrays<Stored>& row;
    const Occurrences<Codec>& occurrences;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      U::StepAt(d, c, row, i, occurrences.Sum(d, i));
    }
  };

  size_t RowStart(int64_t row) const { return static_cast<size_t>(row) * call_.width; }

  HWY_INLINE void PrefetchRows(size_t g, size_t end) const {
    if (g >= end) return;
    const size_t start = RowStart(call_.groups.rows[g]);
    PrefetchRow(arrays_.var + start, call_.width);
    for (size_t i = 0; i < kSlots; ++i) PrefetchRow(arrays_.slots[i] + start, call_.width);
    if (call_.around != nullptr && call_.around->average != nullptr) {
      PrefetchRow(static_cast<const Stored*>(call_.around->average) + start, call_.width);
    }
  }

  const SparseCall& call_;
  typename U::Coefficients coefficients_;
  Arrays<Stored> arrays_;
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
