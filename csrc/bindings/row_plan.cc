// SPDX-License-Identifier: Apache-2.0
#include "bindings/row_plan.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "bindings/choices.h"
#include "bindings/errors.h"
#include "bindings/module.h"
#include "core/threads.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// The groups of a RowPlan. Raises if its __init__ was not called: pybind11 hands out memory that
// nobody filled.
const RowGroups& GroupsOf(const char* op, const char* name, py::handle plan) {
  auto* const instance = reinterpret_cast<py::detail::instance*>(plan.ptr());
  if (!instance->get_value_and_holder().holder_constructed()) {
    Fail(PyExc_TypeError, op, name, "a RowPlan", "one whose __init__ was not called");
  }
  return plan.cast<const RowGroups&>();
}

// A property of RowPlan, or a method without arguments.
template <auto kFunction>
auto Of(py::handle plan) {
  return (kFunction)(GroupsOf("RowPlan", "self", plan));
}

// A new int64 array of NumPy's.
struct IntArray {
  explicit IntArray(size_t size) {
    npy_intp count = static_cast<npy_intp>(size);
    object = py::reinterpret_steal<py::object>(PyArray_SimpleNew(1, &count, NPY_INT64));
    if (!object) throw py::error_already_set();
    data = static_cast<int64_t*>(PyArray_DATA(reinterpret_cast<PyArrayObject*>(object.ptr())));
  }

  py::object object;
  int64_t* data;
};

int64_t NumRows(const RowGroups& groups) { return groups.num_rows(); }
size_t Skipped(const RowGroups& groups) { return groups.skipped(); }
size_t Length(const RowGroups& groups) { return groups.id_count(); }

py::object Unique(const RowGroups& groups) {
  return UniqueRows(groups, groups.InOrderOfAppearance());
}

py::object Counts(const RowGroups& groups) {
  const RowGroupsView& view = groups.view();
  const IntArray counts(view.groups);
  int64_t* to = counts.data;
  for (uint32_t g : groups.InOrderOfAppearance()) *to++ = view.offsets[g + 1] - view.offsets[g];
  return counts.object;
}

// The place of each id's row in `Unique`; -1 where the id was left out.
py::object Inverse(const RowGroups& groups) {
  const RowGroupsView& view = groups.view();
  const IntArray inverse(groups.id_count());
  std::fill_n(inverse.data, groups.id_count(), -1);
  int64_t place = 0;
  for (uint32_t g : groups.InOrderOfAppearance()) {
    for (uint32_t i = view.offsets[g]; i < view.offsets[g + 1]; ++i) {
      inverse.data[view.positions[i]] = place;
    }
    ++place;
  }
  return inverse.object;
}

}  // namespace

py::object UniqueRows(const RowGroups& groups, const ScratchArray<uint32_t>& order) {
  const IntArray rows(order.size());
  int64_t* to = rows.data;
  for (uint32_t g : order) *to++ = groups.view().rows[g];
  return rows.object;
}

Bounds ParseBounds(const char* op, py::handle object) {
  return static_cast<Bounds>(ParseChoice(op, "bounds", object, {"raise", "skip"}));
}

Duplicates ParseDuplicates(const char* op, py::handle object) {
  return static_cast<Duplicates>(
      ParseChoice(op, "duplicates", object, {"sequential", "sum", "error", "exact"}));
}

RowsArgument::RowsArgument(const char* op, const char* name, py::handle object, int64_t num_rows)
    : op_(op), name_(name), num_rows_(num_rows) {
  if (py::isinstance<RowGroups>(object)) {
    groups_ = &GroupsOf(op, name, object);
    if (groups_->num_rows() != num_rows) {
      Fail(PyExc_ValueError, op, name, "a RowPlan for " + std::to_string(num_rows) + " rows",
           "one for " + std::to_string(groups_->num_rows()));
    }
    return;
  }
  const IntegerArray& ids = ids_.emplace(op, name, object);
  if (ids.count() > std::numeric_limits<uint32_t>::max() - 1) {
    Fail(PyExc_ValueError, op, name, "fewer than 2^32 - 1 ids", std::to_string(ids.count()));
  }
}

RowsArgument::RowsArgument(const char* op, const char* name, py::handle object, int64_t num_rows,
                           Bounds bounds)
    : RowsArgument(op, name, object, num_rows) {
  if (ids_) {
    const py::gil_scoped_release release;
    Group();
  }
  if (bounds == Bounds::kRaise) RequireInside();
}

void RowsArgument::GroupAll(const std::vector<RowsArgument*>& all) {
  std::vector<RowsArgument*> few;  // so few ids that one thread groups them
  size_t ids = 0;
  {
    const py::gil_scoped_release release;
    for (RowsArgument* rows : all) {
      if (!rows->ids_) continue;
      if (rows->count() < RowGroups::kMinIdsForThreads && all.size() > 1) {
        few.push_back(rows);
        ids += rows->count();
      } else {
        rows->Group();
      }
    }
    const size_t min_few = few.size() * RowGroups::kMinIdsPerPart / std::max(size_t{1}, ids) + 1;
    ParallelFor(
        {few.size(), min_few, 0, 1},
        [](const void* context, size_t begin, size_t end) {
          const auto& part = *static_cast<const std::vector<RowsArgument*>*>(context);
          for (size_t i = begin; i < end; ++i) part[i]->Group();
        },
        &few);
  }
  for (const RowsArgument* rows : all) rows->RequireInside();
}

void RowsArgument::RequireInside() const {
  if (own_ && own_->first_outside()) ids_->FailOutside(*own_->first_outside(), num_rows_);
}

void RowsArgument::Group() { groups_ = &own_.emplace(ids_->ids(), num_rows_); }

void RowsArgument::RequireRowForEach(const NamedArray& rows, const NamedArray& table) const {
  rows.RequireShape(table.ShapeOfRows(count()), ", a row for each of indices");
}

void RowsArgument::RequireRankOne() const {
  if (ids_) ids_->RequireVector();
}

void RowsArgument::RequireNoneSkipped() const {
  if (groups_->skipped() == 0) return;
  Fail(PyExc_ValueError, op_, name_, "a RowPlan that skipped no ids (or bounds=\"skip\")",
       "one that skipped " + std::to_string(groups_->skipped()));
}

void RowsArgument::RequireDistinct() const {
  const auto repeat = groups_->first_repeat();
  if (!repeat) return;
  Fail(PyExc_ValueError, op_, name_, "distinct row ids",
       "the id at " + std::to_string(repeat->earlier) + " again at " +
           std::to_string(repeat->position));
}

void BindRowPlan(py::module_& module) {
  py::class_<RowGroups>(module, "RowPlan")
      .def(py::init([](py::handle ids, int64_t num_rows, py::handle bounds) {
             constexpr const char* kOp = "RowPlan";
             if (py::isinstance<RowGroups>(ids)) {
               Fail(PyExc_TypeError, kOp, "ids", "an array of ids", "a RowPlan");
             }
             RowsArgument rows(kOp, "ids", ids, num_rows, ParseBounds(kOp, bounds));
             rows.RequireRankOne();
             return std::make_unique<RowGroups>(rows.ReleaseGroups());
           }),
           py::arg("ids"), py::arg("num_rows"), py::arg("bounds"))
      .def_property_readonly("num_rows", &Of<&NumRows>)
      .def_property_readonly("skipped", &Of<&Skipped>)
      .def_property_readonly("unique", &Of<&Unique>)
      .def_property_readonly("counts", &Of<&Counts>)
      .def_property_readonly("inverse", &Of<&Inverse>)
      .def("__len__", &Of<&Length>);
}

}  // namespace slotwise
