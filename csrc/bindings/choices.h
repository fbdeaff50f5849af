// Arguments that are one of a few strings.
#pragma once

#include <string>

#include "bindings/errors.h"

namespace slotwise {

// The index of `object` among `choices`, two or more strings that errors list, with `separator`
// between all except the last two. An enum in the order of the choices is a cast away.
template <size_t kCount>
size_t ParseChoice(const char* op, const char* name, pybind11::handle object,
                   const char* const (&choices)[kCount], const char* separator = " or ") {
  const bool is_text = PyUnicode_Check(object.ptr()) != 0;
  for (size_t i = 0; is_text && i < kCount; ++i) {
    if (PyUnicode_CompareWithASCIIString(object.ptr(), choices[i]) == 0) return i;
  }
  std::string expected;
  for (size_t i = 0; i < kCount; ++i) {
    expected += i == 0 ? "" : i + 1 < kCount ? separator : " or ";
    expected += std::string("'") + choices[i] + "'";
  }
  Fail(is_text ? PyExc_ValueError : PyExc_TypeError, op, name, expected,
       pybind11::repr(object).cast<std::string>());
}

}  // namespace slotwise
