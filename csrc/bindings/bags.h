// SPDX-License-Identifier: Apache-2.0
// Bags of ids as an argument: a tuple of offsets with the end appended, weights and a mode, as
// Python makes it (slotwise._bags).
#pragma once

#include <optional>
#include <vector>

#include "bindings/arrays.h"
#include "core/bags.h"

namespace slotwise {

class BagsArgument {
 public:
  // Of a call whose arrays have this dtype.
  BagsArgument(const char* op, pybind11::handle object, DType dtype);

  size_t count() const { return offsets_.count() - 1; }
  size_t ids() const { return static_cast<size_t>(offsets()[count()]); }
  const int64_t* offsets() const { return static_cast<const int64_t*>(offsets_.data()); }
  const void* weights() const { return weights_ ? weights_->data() : nullptr; }
  // The weights as an array; none if all are 1.
  std::optional<ArrayArgument>& weights_array() { return weights_; }
  Pooling mode() const { return mode_; }
  DType dtype() const { return dtype_; }

  // Raises if the bags do not have so many ids.
  void RequireIds(size_t count) const;
  // Raises if `grads` is not a row of `table` for each bag.
  void RequireGradients(const NamedArray& grads, const NamedArray& table) const;

  // The bags as gradients need them, while the arrays live.
  Bags ForGradients(const std::vector<bool>& left_out) const {
    return {dtype_, mode_, offsets(), count(), weights(), left_out};
  }

 private:
  BagsArgument(const char* op, const pybind11::tuple& fields, DType dtype);

  const char* op_;
  DType dtype_;
  Pooling mode_;
  IntegerArray offsets_;
  std::optional<ArrayArgument> weights_;
};

// A new array of the gradients of ids that gradients of bags stand for.
pybind11::object Expanded(const ArrayArgument& grads, const BagsArgument& bags);

}  // namespace slotwise
