// SPDX-License-Identifier: Apache-2.0
// Tensors cut into blocks, which threads share: what is summed block by block has the same bits for
// any number of threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "core/threads.h"

namespace slotwise {

class Blocks {
 public:
  // One more tensor, of that many blocks.
  void Add(size_t blocks, size_t elements) {
    first_.push_back(first_.back() + blocks);
    elements_ += elements;
  }

  size_t count() const { return first_.back(); }

  // Calls body(tensor, block of it, block of all); a thread gets no fewer than about that many
  // elements.
  template <class Body>
  void ForEach(size_t min_elements, const Body& body) const {
    if (count() == 0) return;
    const size_t min_blocks = std::max(size_t{1}, count() * min_elements / (elements_ + 1));
    const Context<Body> context{*this, body};
    ParallelFor({count(), min_blocks, 0, 1}, &Context<Body>::Run, &context);
  }

  // The sum of each tensor's blocks, in order.
  std::vector<double> Totals(const std::vector<double>& of_blocks) const {
    std::vector<double> totals;
    for (size_t i = 0; i + 1 < first_.size(); ++i) {
      double total = 0;
      for (size_t b = first_[i]; b < first_[i + 1]; ++b) total += of_blocks[b];
      totals.push_back(total);
    }
    return totals;
  }

 private:
  template <class Body>
  struct Context {
    const Blocks& blocks;
    const Body& body;

    static void Run(const void* context, size_t begin, size_t end) {
      const Context& self = *static_cast<const Context*>(context);
      const std::vector<size_t>& first = self.blocks.first_;
      const auto after = std::upper_bound(first.begin(), first.end(), begin);
      for (auto i = static_cast<size_t>(after - first.begin()) - 1; begin < end; ++i) {
        for (; begin < std::min(end, first[i + 1]); ++begin) self.body(i, begin - first[i], begin);
      }
    }
  };

  std::vector<size_t> first_{0};  // block of each tensor; at last, how many there are
  size_t elements_ = 0;
};

}  // namespace slotwise
