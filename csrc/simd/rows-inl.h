// The sparse driver: walks rows of one update, each row by one thread, with its occurrences in
// order.

#if defined(SLOTWISE_SIMD_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_ROWS_INL_H_
#undef SLOTWISE_SIMD_ROWS_INL_H_
#else
#define SLOTWISE_SIMD_ROWS_INL_H_
#endif

#include <algorithm>

#include "core/group_tasks.h"
#include "simd/step-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class T>
HWY_INLINE void PrefetchRow(const T* row, size_t width) {
  const auto* bytes = reinterpret_cast<const char*>(row);
  const size_t size = std::min(width * sizeof(T), size_t{512});  // the hardware follows long rows
  for (size_t i = 0; i < size; i += 64) __builtin_prefetch(bytes + i);
  __builtin_prefetch(bytes + size - 1);
}

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

  HWY_INLINE Occurrences Some(size_t from, size_t how_many) const {
    return {grad, stride, positions + from, how_many};
  }

  // Their sum, in order of appearance, from element i on.
  template <class D>
  HWY_INLINE hn::VFromD<D> Sum(D d, size_t i) const {
    auto sum = Codec::Load(d, (*this)[0] + i);
    for (size_t k = 1; k < count; ++k) sum = hn::Add(sum, Codec::Load(d, (*this)[k] + i));
    return sum;
  }

  // Fetches the rows that come kAhead occurrences after these, of `remaining` in all from here on:
  // those of the following groups lie behind these in `positions`.
  HWY_INLINE void PrefetchAhead(size_t remaining, size_t width) const {
    constexpr size_t kAhead = 16;
    for (size_t k = kAhead; k < std::min(kAhead + std::min(count, kAhead), remaining); ++k) {
      PrefetchRow((*this)[k], width);
    }
  }
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
      const size_t first = groups.offsets[g];
      const size_t count = groups.offsets[g + 1] - first;
      const Occurrences<Codec> all{arrays_.grad, call_.grad_stride, groups.positions + first,
                                   count};
      all.PrefetchAhead(groups.offsets[end] - first, call_.width);
      const Arrays<Stored> row = arrays_.template From<kSlots>(RowStart(groups.rows[g]), nullptr);
      const size_t at_once = call_.sum ? count : 1;
      for (size_t k = 0; k < count; k += at_once) {
        WalkAll<Compute>(Summed{c, row, all.Some(k, at_once)}, call_.width);
      }
    }
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  using U = Update<R, Codec>;
  static constexpr size_t kSlots = U::kSlots;
  static constexpr size_t kRowsAhead = 8;

  // The body of a walk along one row, by the sum of its gradients, which is never stored.
  struct Summed {
    const typename U::Coefficients& c;
    const Arrays<Stored>& row;
    Occurrences<Codec> occurrences;

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
  }

  const SparseCall& call_;
  typename U::Coefficients coefficients_;
  Arrays<Stored> arrays_;
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
