#include "bindings/module.h"

#include "bindings/arrays.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "Compiled kernels of slotwise.";
  slotwise::ImportNumpy();
  slotwise::BindRowPlan(module);
  slotwise::BindDenseOps(module);
  slotwise::BindSparseOps(module);
  slotwise::BindTables(module);
  slotwise::BindUpdatePlan(module);
  slotwise::BindClip(module);
  slotwise::BindRuntime(module);
}
