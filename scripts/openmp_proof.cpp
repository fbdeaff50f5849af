// Proof that the TSan set-up neither misses a race nor invents one: the same loop, correct with
// `correct` as the argument, racy with `racy`. OpenMP's barriers and fork/join order are what
// TSan does not see on its own; LLVM's Archer tool tells it.
#include <cstdio>
#include <cstring>
#include <vector>

int main(int argc, char** argv) {
  const bool racy = argc > 1 && std::strcmp(argv[1], "racy") == 0;
  constexpr int kCount = 10000;
  std::vector<float> values(kCount, 1.0f);
  float total = 0.0f;
  for (int round = 0; round < 20; ++round) {
    // Thread k writes elements that another thread wrote in the loop before: fine, as that loop
    // ended in a barrier.
#pragma omp parallel for num_threads(4) schedule(static)
    for (int i = 0; i < kCount; ++i) values[i] += 1.0f;
#pragma omp parallel for num_threads(4) schedule(static)
    for (int i = 0; i < kCount; ++i) values[kCount - 1 - i] *= 0.5f;
    if (racy) {
#pragma omp parallel for num_threads(4) schedule(static)
      for (int i = 0; i < kCount; ++i) total += values[i];  // no reduction clause
    }
  }
  std::printf("%g %g\n", static_cast<double>(values[0]), static_cast<double>(total));
  return 0;
}
