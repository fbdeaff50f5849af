// The sparse driver: walks rows of one update, each row by one thread, with its occurrences in
// order.

#if defined(SLOTWISE_SIMD_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_ROWS_INL_H_
#undef SLOTWISE_SIMD_ROWS_INL_H_
#else
#define SLOTWISE_SIMD_ROWS_INL_H_
#endif

#include <algorithm>

#include "core/threads.h"
#include "simd/step-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// The gradients of one row: where they lie, and how often the row occurs.
template <class Codec>
struct Occurrences {
  using Stored = typename Codec::Stored;

  const Stored* grad;
  int64_t stride;
  const uint32_t* positions;
  size_t count;

  HWY_INLINE const Stored* operator[](size_t k) const {
    return grad + static_cast<int64_t>(positions[k]) * stride;
  }

  // Their sum, in order of appearance, from element i on.
  template <class D>
  HWY_INLINE hn::VFromD<D> Sum(D d, size_t i) const {
    auto sum = Codec::Load(d, (*this)[0] + i);
    for (size_t k = 1; k < count; ++k) sum = hn::Add(sum, Codec::Load(d, (*this)[k] + i));
    return sum;
  }
};

template <class T>
HWY_INLINE void PrefetchRow(const T* row, size_t width) {
  const auto* bytes = reinterpret_cast<const char*>(row);
  const size_t size = std::min(width * sizeof(T), size_t{512});  // the hardware follows long rows
  for (size_t i = 0; i < size; i += 64) __builtin_prefetch(bytes + i);
  __builtin_prefetch(bytes + size - 1);
}

// Calls task(group) for groups of a partition by work: each occurrence costs one unit, each row as
// much as the rows of var and its slots that it touches.
template <class Task>
class GroupsInParallel {
 public:
  GroupsInParallel(const Task& task, const RowGroupsView& groups, size_t row_cost,
                   size_t bytes_per_unit)
      : task_(task), groups_(groups), row_cost_(row_cost) {
    const size_t units = UnitsBefore(groups.groups);
    ParallelFor({units, std::max(size_t{1}, kMinBytesPerThread / bytes_per_unit), 0, 1}, &Run,
                this);
  }

 private:
  static constexpr size_t kMinBytesPerThread = 64 << 10;

  size_t UnitsBefore(size_t group) const { return groups_.offsets[group] + group * row_cost_; }

  size_t FirstGroupFrom(size_t unit) const {
    size_t low = 0, high = groups_.groups;
    while (low < high) {
      const size_t middle = low + (high - low) / 2;
      if (UnitsBefore(middle) < unit) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  static void Run(const void* context, size_t begin, size_t end) {
    const auto& self = *static_cast<const GroupsInParallel*>(context);
    self.task_(self.FirstGroupFrom(begin), self.FirstGroupFrom(end));
  }

  const Task& task_;
  const RowGroupsView& groups_;
  size_t row_cost_;
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
    GroupsInParallel<Rows>(*this, call_.groups, 2 * (1 + kSlots), call_.width * sizeof(Stored));
  }

  // All rows of groups [begin, end).
  void operator()(size_t begin, size_t end) const {
    const typename U::Coefficients c = coefficients_;  // a copy that stores cannot alias
    const RowGroupsView& groups = call_.groups;
    for (size_t g = begin; g < end; ++g) {
      const size_t first = groups.offsets[g];
      const size_t count = groups.offsets[g + 1] - first;
      Prefetch(g, end);
      const Arrays<Stored> row = arrays_.template From<kSlots>(RowStart(groups.rows[g]), nullptr);
      const size_t at_once = call_.sum ? count : 1;
      for (size_t k = 0; k < count; k += at_once) {
        const Occurrences<Codec> occurrences{arrays_.grad, call_.grad_stride,
                                             groups.positions + first + k, at_once};
        WalkAll<Compute>(Summed{c, row, occurrences}, call_.width);
      }
    }
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  using U = Update<R, Codec>;
  static constexpr size_t kSlots = U::kSlots;
  static constexpr size_t kRowsAhead = 8;
  static constexpr size_t kOccurrencesAhead = 16;

  // The body of a walk along one row, by the sum of its gradients, which is never stored.
  struct Summed {
    const typename U::Coefficients& c;
    const Arrays<Stored>& row;
    const Occurrences<Codec>& occurrences;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      U::StepAt(d, c, row, i, occurrences.Sum(d, i));
    }
  };

  size_t RowStart(int64_t row) const { return static_cast<size_t>(row) * call_.width; }

  // The row that is updated kRowsAhead groups later, and the gradients of as many occurrences as
  // this group has, that far ahead of them.
  HWY_INLINE void Prefetch(size_t g, size_t end) const {
    const RowGroupsView& groups = call_.groups;
    if (g + kRowsAhead < end) {
      const size_t start = RowStart(groups.rows[g + kRowsAhead]);
      PrefetchRow(arrays_.var + start, call_.width);
      for (size_t i = 0; i < kSlots; ++i) PrefetchRow(arrays_.slots[i] + start, call_.width);
    }
    const size_t from = groups.offsets[g] + kOccurrencesAhead;
    const size_t to =
        std::min<size_t>(groups.offsets[g + 1] + kOccurrencesAhead, groups.offsets[end]);
    for (size_t i = from; i < std::min(to, from + kOccurrencesAhead); ++i) {
      PrefetchRow(arrays_.grad + static_cast<int64_t>(groups.positions[i]) * call_.grad_stride,
                  call_.width);
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
