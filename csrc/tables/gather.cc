// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <cstring>

#include "tables/tables.h"
#include "core/targets.h"
#include "core/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tables/gather.cc"
#include "hwy/foreach_target.h"
#include "simd/dispatch.h"
#include "simd/compat-inl.h"
#include "simd/row.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// Copies a row by vectors: a call of memcpy takes longer than a short row.
HWY_INLINE void CopyRow(const uint8_t* from, size_t bytes, uint8_t* to) {
  const hn::ScalableTag<uint8_t> d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= bytes; i += hn::Lanes(d))
    hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  if (i < bytes) std::memcpy(to + i, from + i, bytes - i);
}

struct Gathered {
  const GatherCall& call;
  mutable std::atomic<bool> is_whole{true};

  template <class Id>
  static void Range(const void* context, size_t begin, size_t end) {
    const auto& self = *static_cast<const Gathered*>(context);
    const GatherCall& call = self.call;
    const auto* table = static_cast<const uint8_t*>(call.table);
    const auto* ids = static_cast<const Id*>(call.ids.data);
    const size_t bytes = call.row_bytes;
    auto* out = static_cast<uint8_t*>(call.out) + begin * bytes;
    bool all_inside = true;
    for (size_t i = begin; i < end; ++i, out += bytes) {
      if (i + kRowsAhead < end) {
        PrefetchRow(table + static_cast<size_t>(ids[i + kRowsAhead]) * bytes, bytes);
      }
      const auto row = static_cast<size_t>(ReadOnce(&ids[i]));
      if (row < call.rows) {
        CopyRow(table + row * bytes, bytes, out);
      } else {
        all_inside = false;
      }
    }
    if (!all_inside) self.is_whole = false;
  }

  static bool Apply(const GatherCall& call) {
    const Gathered self{call};
    const size_t min_rows = std::max(size_t{1}, kMinBytesPerThread / call.row_bytes);
    ParallelFor({call.ids.count, min_rows, 0, 1},
                call.ids.is_int64 ? &Range<int64_t> : &Range<int32_t>, &self);
    return self.is_whole;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {

bool Gather(const GatherCall& call) {
  static constexpr bool (*kTable[])(const GatherCall&) = SLOTWISE_TABLE(Gathered::Apply);
  return call.ids.count == 0 || call.row_bytes == 0 || kTable[TargetIndex()](call);
}

}  // namespace slotwise
#endif
