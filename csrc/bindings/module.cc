#include "bindings/module.h"

#include "bindings/arrays.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "Compiled kernels of slotwise.";
  slotwise::ImportNumpy();
  slotwise::BindRules(module);
  slotwise::BindRuntime(module);
}
