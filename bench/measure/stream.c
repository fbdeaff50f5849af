// SPDX-License-Identifier: Apache-2.0
/* The limit that the memory sets: a loop that reads `reads` arrays, writes `writes` of them back
   in place and does one addition per written element. Compiled at run time by limit.py. */

#include <omp.h>
#include <stddef.h>

typedef float* restrict array;

#define LOOP(body)                          \
  for (ptrdiff_t i = begin; i < end; ++i) { \
    body;                                   \
  }

static void pass(float* const* p, int reads, int writes, ptrdiff_t begin, ptrdiff_t end) {
  array a = p[0], b = p[1], c = p[2], d = p[3], e = p[4];
  switch (10 * reads + writes) {
    case 21: LOOP(a[i] += b[i]) break;
    case 31: LOOP(a[i] += b[i] + c[i]) break;
    case 32: LOOP(a[i] += c[i]; b[i] += c[i]) break;
    case 43: LOOP(a[i] += d[i]; b[i] += d[i]; c[i] += d[i]) break;
    case 54: LOOP(a[i] += e[i]; b[i] += e[i]; c[i] += e[i]; d[i] += e[i]) break;
  }
}

/* `repeat` passes over n floats; each thread keeps one contiguous share, cut at cache lines.
   Returns 0, or 1 if there is no loop for this number of reads and writes. */
int stream(float* const* p, int reads, int writes, ptrdiff_t n, int threads, int repeat) {
  const int shape = 10 * reads + writes;
  if (shape != 21 && shape != 31 && shape != 32 && shape != 43 && shape != 54) return 1;
  const ptrdiff_t share = (n / threads + 15) / 16 * 16;
  for (int r = 0; r < repeat; ++r) {
    if (threads == 1) {
      pass(p, reads, writes, 0, n);
    } else {
#pragma omp parallel num_threads(threads)
      {
        const ptrdiff_t begin = share * omp_get_thread_num();
        const ptrdiff_t end = omp_get_thread_num() == threads - 1 ? n : begin + share;
        pass(p, reads, writes, begin < n ? begin : n, end < n ? end : n);
      }
    }
    __asm__ volatile("" ::: "memory");
  }
  return 0;
}
