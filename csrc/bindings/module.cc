// SPDX-License-Identifier: Apache-2.0
#include "bindings/module.h"

#include "bindings/arrays.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "Compiled kernels of slotwise.";
  slotwise::ImportNumpy();
  slotwise::BindRules(module);
  slotwise::BindPlacement(module);
  slotwise::BindRowPlan(module);
  slotwise::BindDenseOps(module);
  slotwise::BindSparseOps(module);
  slotwise::BindScatter(module);
  slotwise::BindExactTerms(module);
  slotwise::BindGather(module);
  slotwise::BindBags(module);
  slotwise::BindCoalesce(module);
  slotwise::BindMemory(module);
  slotwise::BindDecayAverage(module);
  slotwise::BindDeferral(module);
  slotwise::BindUpdatePlan(module);
  slotwise::BindClip(module);
  slotwise::BindRuntime(module);
}
