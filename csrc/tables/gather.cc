#include <algorithm>
#include <cstring>

#include "core/tables.h"
#include "core/threads.h"

namespace slotwise {
namespace {

constexpr size_t kRowsAhead = 16;
constexpr size_t kMinBytesPerThread = 64 << 10;

template <class Id>
void GatherRange(const void* context, size_t begin, size_t end) {
  const auto& call = *static_cast<const GatherCall*>(context);
  const auto* table = static_cast<const char*>(call.table);
  const auto* ids = static_cast<const Id*>(call.ids.data);
  const size_t bytes = call.row_bytes;
  const size_t fetched = std::min(bytes, size_t{512});  // the hardware follows long rows
  auto* out = static_cast<char*>(call.out) + begin * bytes;
  for (size_t i = begin; i < end; ++i, out += bytes) {
    if (i + kRowsAhead < end) {
      const char* next = table + static_cast<size_t>(ids[i + kRowsAhead]) * bytes;
      for (size_t at = 0; at < fetched; at += 64) __builtin_prefetch(next + at);
    }
    std::memcpy(out, table + static_cast<size_t>(ids[i]) * bytes, bytes);
  }
}

}  // namespace

void Gather(const GatherCall& call) {
  if (call.ids.count == 0 || call.row_bytes == 0) return;
  const size_t min_rows = std::max(size_t{1}, kMinBytesPerThread / call.row_bytes);
  ParallelFor({call.ids.count, min_rows, 0, 1},
              call.ids.is_int64 ? &GatherRange<int64_t> : &GatherRange<int32_t>, &call);
}

}  // namespace slotwise
