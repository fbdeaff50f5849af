// SPDX-License-Identifier: Apache-2.0
#include "core/strided.h"

#include <algorithm>
#include <cstring>

namespace slotwise {
namespace {

template <size_t kSize>
void Copy(const StridedArray& a, size_t begin, size_t count, unsigned char* out) {
  const unsigned char* row = static_cast<const unsigned char*>(a.data);
  int64_t index[kMaxRank] = {};
  size_t rest = begin;
  for (int d = a.rank - 1; d >= 0; --d) {
    const size_t extent = static_cast<size_t>(a.shape[d]);
    index[d] = static_cast<int64_t>(rest % extent);
    rest /= extent;
    row += index[d] * a.strides[d];
  }
  const int last = a.rank - 1;
  while (count > 0) {
    const size_t run = std::min(count, static_cast<size_t>(a.shape[last] - index[last]));
    const int64_t step = a.strides[last];
    for (size_t i = 0; i < run; ++i) {
      std::memcpy(out + i * kSize, row + static_cast<int64_t>(i) * step, kSize);
    }
    out += run * kSize;
    count -= run;
    index[last] += static_cast<int64_t>(run);
    row += static_cast<int64_t>(run) * step;
    for (int d = last; d > 0 && index[d] == a.shape[d]; --d) {  // carry
      row += a.strides[d - 1] - a.shape[d] * a.strides[d];
      index[d] = 0;
      ++index[d - 1];
    }
  }
}

}  // namespace

void CopyStrided(const StridedArray& array, size_t element_size, size_t begin, size_t count,
                 void* out) {
  auto* bytes = static_cast<unsigned char*>(out);
  switch (element_size) {
    case 2:
      return Copy<2>(array, begin, count, bytes);
    case 4:
      return Copy<4>(array, begin, count, bytes);
    default:
      return Copy<8>(array, begin, count, bytes);
  }
}

}  // namespace slotwise
