// SPDX-License-Identifier: Apache-2.0
// Numbers of an object in a list, to be saved: one function of the object's writes them down, and
// reads them back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace slotwise {

class Record {
 public:
  Record() = default;                          // to be written
  Record(const double* numbers, size_t count)  // to be read
      : numbers_(numbers, numbers + count), is_read_(true) {}

  bool is_read() const { return is_read_; }
  const std::vector<double>& numbers() const { return numbers_; }

  void Number(double* x) {
    if (is_read_) {
      *x = Next();
    } else {
      numbers_.push_back(*x);
    }
  }
  void Flag(bool* x) {
    int32_t value = *x ? 1 : 0;
    Count(&value, 1);
    *x = value != 0;
  }
  // From 0 to `most`.
  void Count(int32_t* x, int32_t most) {
    double value = *x;
    Number(&value);
    if (!(value >= 0 && value <= most) || value != static_cast<int32_t>(value)) Refuse();
    *x = static_cast<int32_t>(value);
  }
  // A table of so many.
  void Numbers(std::vector<double>* table, size_t count) {
    if (is_read_) {
      if (numbers_.size() - at_ < count) Refuse();
      const auto begin = numbers_.begin() + static_cast<std::ptrdiff_t>(at_);
      table->assign(begin, begin + static_cast<std::ptrdiff_t>(count));
      at_ += count;
    } else {
      numbers_.insert(numbers_.end(), table->begin(), table->end());
    }
  }
  // All was read.
  void RequireEnd() const {
    if (at_ != numbers_.size()) Refuse();
  }
  [[noreturn]] static void Refuse() { throw std::invalid_argument("other numbers"); }

 private:
  double Next() {
    if (at_ == numbers_.size()) Refuse();
    return numbers_[at_++];
  }

  std::vector<double> numbers_;
  size_t at_ = 0;
  bool is_read_ = false;
};

}  // namespace slotwise
