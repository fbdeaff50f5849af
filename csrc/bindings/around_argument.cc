#include "bindings/around_argument.h"

#include "bindings/errors.h"
#include "bindings/scalars.h"

namespace py = pybind11;

namespace slotwise {

AroundArgument::AroundArgument(const char* op, const py::object& decay, const py::object& average)
    : decays_(!decay.is_none()), averages_(!average.is_none()) {
  static constexpr Hyper kDecay[] = {{"weight_decay"}, {"learning_rate"}, {}};
  if (decays_) decay_ = NumbersByType(op, "decay", kDecay, /*is_scaled=*/false, decay);
  if (!averages_) return;
  RequireTuple(op, "average", 2, average);
  momentum_ = ParseHyper(op, "momentum of the average", Range::kAny, false, DType::kF64,
                         PyTuple_GET_ITEM(average.ptr(), 0));
  overwrites_ = ParseAttr(op, "overwrite", PyTuple_GET_ITEM(average.ptr(), 1));
}

Around AroundArgument::For(DType dtype, bool decays, void* average) const {
  Around around;
  if (decays_ && decays) {
    decay_.Require(dtype);
    around.decays = true;
    around.decay = decay_.Of(dtype)[0];
    around.rate = decay_.Of(dtype)[1];
  }
  if (averages_) {
    around.average = average;
    around.overwrites = overwrites_;
    around.kept = momentum_;
    around.added = 1 - momentum_;
  }
  return around;
}

}  // namespace slotwise
