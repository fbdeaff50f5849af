// SPDX-License-Identifier: Apache-2.0
// What the module is made of: one Bind function per concept.
#pragma once

#include <pybind11/pybind11.h>

namespace slotwise {

void BindBags(pybind11::module_& module);
void BindClip(pybind11::module_& module);
void BindCoalesce(pybind11::module_& module);
void BindDecayAverage(pybind11::module_& module);
void BindDeferral(pybind11::module_& module);
void BindDenseOps(pybind11::module_& module);
void BindExactTerms(pybind11::module_& module);
void BindGather(pybind11::module_& module);
void BindMemory(pybind11::module_& module);
void BindPlacement(pybind11::module_& module);
void BindRowPlan(pybind11::module_& module);
void BindRules(pybind11::module_& module);
void BindRuntime(pybind11::module_& module);
void BindSparseOps(pybind11::module_& module);
void BindScatter(pybind11::module_& module);
void BindUpdatePlan(pybind11::module_& module);

}  // namespace slotwise
