// SPDX-License-Identifier: Apache-2.0
// Splits a range of elements among threads.
#pragma once

#include <cstddef>

namespace slotwise {

// How many threads a call may use: the number set here, else what OpenMP was told (OMP_NUM_THREADS,
// threadpoolctl), else one for each core that the process may use. Always 1 in a forked child,
// whose copy of the workers has no threads.
//
// OpenMP is asked for the number only. Its own threads wait actively however many others want the
// cores, and a call waits for each of them.
int NumThreads();
void SetNumThreads(int threads);  // 0 returns the choice to OpenMP

// Into how many parts work is split, of which no more than `useful` are worth a thread each. Work
// for one thread asks nobody.
size_t PartsFor(size_t useful);

// Less memory than this per thread is done sooner by one (measured, see bench/).
inline constexpr size_t kMinBytesPerThread = 64 << 10;

using RangeFunction = void (*)(const void* context, size_t begin, size_t end);

struct Partition {
  size_t count;           // elements in all
  size_t min_per_thread;  // fewer than this are not worth another thread
  size_t phase;           // elements before the first cache line boundary
  size_t line;            // elements in a cache line
};

// Calls `function` on contiguous parts that cover [0, count), with denormals flushed. What a part
// throws is thrown once all have ended.
void ParallelFor(const Partition& partition, RangeFunction function, const void* context);

}  // namespace slotwise
