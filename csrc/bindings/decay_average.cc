// SPDX-License-Identifier: Apache-2.0
#include "bindings/decay_average.h"

#include <algorithm>
#include <optional>

#include "bindings/errors.h"
#include "bindings/module.h"
#include "bindings/row_plan.h"
#include "bindings/scalars.h"
#include "core/threads.h"
#include "passes/decay_average.h"

namespace py = pybind11;

namespace slotwise {
namespace {

constexpr Hyper kDecay[] = {{"weight_decay"}, {"learning_rate"}, {}};

// A stage of a variable by itself, for optimizers whose update is written in Python.
class Alone {
 public:
  using Stage = void (*)(DType, const DecayAndAverage&, size_t, size_t, void*);

  // `rows` are ids, or None for all rows.
  Alone(const char* op, const ArrayArgument& var, const py::object& rows) : var_(var) {
    var.RequireUpdatable();
    if (rows.is_none()) return;
    var.RequireRows();
    rows_.emplace(op, "rows", rows, var.dim(0), Bounds::kRaise);
    width_ = var.width();
  }

  void Run(Stage stage, const DecayAndAverage& how) {
    stage_ = stage, how_ = &how;
    const py::gil_scoped_release release;
    const size_t min_elements = kMinBytesPerThread / SizeOf(var_.dtype());
    if (!rows_) return ParallelFor({var_.count(), min_elements, 0, 64}, &Span, this);
    const size_t min_rows = min_elements / std::max(width_, size_t{1}) + 1;
    ParallelFor({rows_->groups().view().groups, min_rows, 0, 1}, &Rows, this);
  }

 private:
  static void Span(const void* context, size_t begin, size_t end) {
    const Alone& self = *static_cast<const Alone*>(context);
    self.stage_(self.var_.dtype(), *self.how_, begin, end - begin, self.var_.data());
  }
  static void Rows(const void* context, size_t begin, size_t end) {
    const Alone& self = *static_cast<const Alone*>(context);
    const int64_t* const rows = self.rows_->groups().view().rows;
    for (size_t g = begin; g < end; ++g) {
      const size_t first = static_cast<size_t>(rows[g]) * self.width_;
      Span(context, first, first + self.width_);
    }
  }

  const ArrayArgument& var_;
  std::optional<RowsArgument> rows_;
  size_t width_ = 0;
  Stage stage_ = nullptr;
  const DecayAndAverage* how_ = nullptr;
};

void Decay(const std::string& op, py::handle var_object, const py::object& rows,
           const py::object& numbers) {
  const ArrayArgument var(op.c_str(), "var", var_object);
  RequireTuple(op.c_str(), "decay", 2, numbers);
  const auto values = ParseHypers(op.c_str(), kDecay, false, false, var.dtype(),
                                  PySequence_Fast_ITEMS(numbers.ptr()));
  DecayAndAverage how;
  how.decay = values[0], how.rate = values[1];
  Alone(op.c_str(), var, rows).Run(&DecayWeights, how);
}

void Average(const std::string& op, py::handle average_object, py::handle var_object,
             const py::object& rows, const py::object& settings) {
  const ArrayArgument var(op.c_str(), "var", var_object);
  const ArrayArgument average(op.c_str(), "average", average_object);
  average.RequireDTypeOf(var);
  average.RequireShapeOf(var);
  average.RequireUpdatable();
  average.RequireApartFrom(var);
  const DecayAverageArgument argument(op.c_str(), py::none(), settings);
  Alone(op.c_str(), var, rows)
      .Run(&AverageWeights, argument.For(var.dtype(), false, average.data()));
}

}  // namespace

DecayAverageArgument::DecayAverageArgument(const char* op, const py::object& decay,
                                           const py::object& average)
    : decays_(!decay.is_none()), averages_(!average.is_none()) {
  if (decays_) decay_ = NumbersByType(op, "decay", kDecay, /*is_scaled=*/false, decay);
  if (!averages_) return;
  RequireTuple(op, "average", 2, average);
  momentum_ = ParseHyper(op, "momentum of the average", Range::kAny, false, DType::kF64,
                         PyTuple_GET_ITEM(average.ptr(), 0));
  overwrites_ = ParseAttr(op, "overwrite", PyTuple_GET_ITEM(average.ptr(), 1));
}

DecayAndAverage DecayAverageArgument::For(DType dtype, bool decays, void* average) const {
  DecayAndAverage how;
  if (decays_ && decays) {
    decay_.Require(dtype);
    how.decays = true;
    how.decay = decay_.Of(dtype)[0];
    how.rate = decay_.Of(dtype)[1];
  }
  if (averages_) {
    how.average = average;
    how.overwrites = overwrites_;
    how.kept = momentum_;
    how.added = 1 - momentum_;
  }
  return how;
}

void BindDecayAverage(py::module_& module) {
  module.def("decay_weights", &Decay);
  module.def("average_weights", &Average);
}

}  // namespace slotwise
