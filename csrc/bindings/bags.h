// SPDX-License-Identifier: Apache-2.0
// Bags of ids as an argument: a tuple of offsets, weights (or None), mode and include_last_offset.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bindings/arrays.h"
#include "core/bags.h"
#include "core/row_groups.h"

namespace slotwise {

class BagsArgument {
 public:
  // Of `ids` ids, in a call whose arrays have this dtype. Errors call the arguments offsets and
  // weights, and after that `where`: which of several tables they are for.
  BagsArgument(const char* op, const std::string& where, pybind11::handle object, size_t ids,
               DType dtype);

  size_t count() const { return offsets_.size() - 1; }
  size_t ids() const { return static_cast<size_t>(offsets_[count()]); }
  // Where bags begin, and the number of ids; nobody else can change them.
  const int64_t* offsets() const { return offsets_.begin(); }
  bool has_one_id_each() const { return kind_ == OffsetsAre::kOneIdEach; }
  const void* weights() const { return weights_ ? weights_->data() : nullptr; }
  // The weights as an array, in the type that is computed in; none if all are 1.
  std::optional<ArrayArgument>& weights_array() { return weights_; }
  Pooling mode() const { return mode_; }
  DType dtype() const { return dtype_; }

  // Raises if `grads` is not a row of `table` for each bag.
  void RequireGradients(const NamedArray& grads, const NamedArray& table) const;

  // The bags as gradients need them, while the arrays live.
  Bags ForGradients(const std::vector<bool>& left_out) const {
    return {dtype_, mode_, offsets(), count(), weights(), left_out};
  }

 private:
  BagsArgument(const char* op, const std::string& where, const pybind11::tuple& fields, size_t ids,
               DType dtype);

  DType dtype_;
  Pooling mode_;
  std::string weights_name_;
  OffsetsAre kind_ = OffsetsAre::kWrong;
  ScratchArray<int64_t> offsets_;  // the end appended
  std::optional<ArrayArgument> weights_;
};

// A new array of the gradients of ids that gradients of bags stand for.
pybind11::object Expanded(const ArrayArgument& grads, const BagsArgument& bags,
                          const std::vector<bool>& left_out = {});

// Gradients of the rows of grouped ids, as an argument `grads`: one for each id; or, with bags, one
// for each of these. What bags stand for is formed where it is needed, except in 16 bits, to which
// it is rounded: there it is formed here.
class GradientsArgument {
 public:
  GradientsArgument(const char* op, pybind11::handle grads, const RowGroups& groups,
                    pybind11::handle bags);

  const ArrayArgument& array() const { return array_; }
  RowGradients view() const {
    return {array_.data(), array_.RowStride(), pooled_ ? &pooled_->view() : nullptr};
  }

 private:
  ArrayArgument array_;
  std::optional<BagsArgument> bags_;
  std::optional<Bags> pooled_;  // made of them
};

}  // namespace slotwise
