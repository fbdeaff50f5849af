// SPDX-License-Identifier: Apache-2.0
#include "bindings/clipping.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/errors.h"
#include "bindings/module.h"
#include "bindings/scalars.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// Keras's formulas, in the type that gradients are computed in.
template <class T>
void SetNorm(T norm, T limit, GradTransform& transform) {
  transform.normalizes = true;
  transform.numerator = limit;
  transform.denominator = norm < limit ? limit : norm;  // NaN stays NaN
}
template <class T>
void SetScale(T norm, T limit, GradTransform& transform) {
  transform.scales = true;
  transform.scale = limit * std::min(1 / norm, 1 / limit) + (norm - norm);
}

std::vector<ArrayArgument> ArraysOf(const char* op, const char* name, const py::list& list) {
  std::vector<ArrayArgument> arrays;
  for (const py::handle each : list) arrays.emplace_back(op, name, each);
  return arrays;
}

std::vector<Measured> MeasuredOf(const std::vector<ArrayArgument>& arrays) {
  std::vector<Measured> measured;
  for (const ArrayArgument& array : arrays) {
    measured.push_back({array.dtype(), array.count(), array.strided(), nullptr});
  }
  return measured;
}

// Returns new arrays: the gradients, clipped as UpdatePlan.apply does it. `sums` are the sums of
// their squares, if these are not to be measured here: of one kind of norm.
py::list ClipGradients(const py::list& gradients, const py::object& clipvalue,
                       const py::object& clipnorm, const py::object& global_clipnorm,
                       const std::optional<std::vector<double>>& sums) {
  constexpr const char* kOp = "clip";
  const std::vector<ArrayArgument> arrays = ArraysOf(kOp, "gradient", gradients);
  const std::vector<Measured> measured = MeasuredOf(arrays);
  if (sums && sums->size() != arrays.size()) {
    Fail(PyExc_ValueError, kOp, "sums", std::to_string(arrays.size()) + ", one for each gradient",
         std::to_string(sums->size()));
  }
  const auto transforms =
      Clip(kOp, {clipvalue, clipnorm, global_clipnorm}, measured, sums ? &*sums : nullptr);
  py::list clipped;
  for (size_t i = 0; i < arrays.size(); ++i) {
    ArrayArgument out = arrays[i];
    out.Copy();
    ReadGradient(out.dtype(), arrays[i].strided(), &transforms[i], 0, out.count(), out.data());
    clipped.append(py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(out.array())));
  }
  return clipped;
}

std::vector<double> SquaresOf(const py::list& list) {
  const std::vector<ArrayArgument> arrays = ArraysOf("sums_of_squares", "arrays", list);
  const std::vector<Measured> measured = MeasuredOf(arrays);
  const py::gil_scoped_release release;
  return SumsOfSquares(measured);
}

}  // namespace

std::vector<GradTransform> Clip(const char* op, const Clipping& clipping,
                                std::vector<Measured> gradients,
                                const std::vector<double>* squares) {
  std::vector<GradTransform> transforms(gradients.size());
  const auto number = [&](const char* name, const py::object& value) {
    return ParseHyper(op, name, Range::kAny, false, DType::kF64, value);
  };
  const bool by_norm = !clipping.norm.is_none(), by_global = !clipping.global_norm.is_none();
  const double norm_limit = by_norm ? std::max(0.0, number("clipnorm", clipping.norm)) : 0;
  const double global_limit = by_global ? number("global_clipnorm", clipping.global_norm) : 0;
  if (!clipping.value.is_none()) {
    const double limit = number("clipvalue", clipping.value);
    for (GradTransform& transform : transforms) {
      transform.clamps = true;
      transform.limit = limit;
    }
  }
  if (!by_norm && !by_global) return transforms;
  const py::gil_scoped_release release;
  const auto measure = [&] {
    if (squares != nullptr) return *squares;
    for (size_t i = 0; i < gradients.size(); ++i) {
      gradients[i].transform = transforms[i].any() ? &transforms[i] : nullptr;
    }
    return SumsOfSquares(gradients);
  };
  if (by_norm) {
    const std::vector<double> sums = measure();
    for (size_t i = 0; i < sums.size(); ++i) {
      const double norm = std::sqrt(sums[i]);
      if (gradients[i].dtype == DType::kF64) {
        SetNorm<double>(norm, norm_limit, transforms[i]);
      } else {
        SetNorm<float>(static_cast<float>(norm), static_cast<float>(norm_limit), transforms[i]);
      }
    }
  }
  if (by_global) {
    double sum = 0;
    for (const double part : measure()) sum += part;
    const double norm = std::sqrt(sum);
    for (size_t i = 0; i < transforms.size(); ++i) {
      if (gradients[i].dtype == DType::kF64) {
        SetScale<double>(norm, global_limit, transforms[i]);
      } else {
        SetScale<float>(static_cast<float>(norm), static_cast<float>(global_limit), transforms[i]);
      }
    }
  }
  return transforms;
}

void BindClip(py::module_& module) {
  module.def("clip", &ClipGradients, py::arg("gradients"), py::arg("clipvalue"),
             py::arg("clipnorm"), py::arg("global_clipnorm"), py::arg("sums") = py::none());
  module.def("sums_of_squares", &SquaresOf);
}

}  // namespace slotwise
