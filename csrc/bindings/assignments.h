// SPDX-License-Identifier: Apache-2.0
// Numbers that change with an update: the count of steps, say. They are checked before it and
// written right after it, so that no exception comes between.
#pragma once

#include <cstdint>
#include <vector>

#include "bindings/arrays.h"

namespace slotwise {

class Assignments {
 public:
  // `list` has tuples of an array (int64, float32 or float64), or a list of arrays, and the number
  // that all elements get.
  Assignments(const char* op, const pybind11::object& list);

  void Write() const;

 private:
  void Add(const char* op, pybind11::handle target, pybind11::handle number);

  struct Assignment {
    pybind11::object array;
    int64_t integer;
    double real;
  };

  std::vector<Assignment> assignments_;
};

}  // namespace slotwise
