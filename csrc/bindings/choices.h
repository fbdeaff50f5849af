// SPDX-License-Identifier: Apache-2.0
// Arguments that are one of a few strings.
#pragma once

#include <string>
#include <string_view>

#include "bindings/errors.h"

namespace slotwise {

// The index of `object` among `choices`, two or more strings that errors list, with `separator`
// between all except the last two. An enum in the order of the choices is a cast away.
template <size_t kCount>
size_t ParseChoice(const char* op, const char* name, pybind11::handle object,
                   const std::string_view (&choices)[kCount], const char* separator = " or ") {
  const bool is_text = PyUnicode_Check(object.ptr()) != 0;
  Py_ssize_t size = 0;
  const char* const text = is_text ? PyUnicode_AsUTF8AndSize(object.ptr(), &size) : nullptr;
  for (size_t i = 0; text != nullptr && i < kCount; ++i) {
    if (std::string_view(text, static_cast<size_t>(size)) == choices[i]) return i;
  }
  PyErr_Clear();  // what UTF-8 lacks is no choice
  std::string expected;
  for (size_t i = 0; i < kCount; ++i) {
    expected += i == 0 ? "" : i + 1 < kCount ? separator : " or ";
    expected.append("'").append(choices[i]).append("'");
  }
  Fail(is_text ? PyExc_ValueError : PyExc_TypeError, op, name, expected,
       Text(pybind11::repr(object)));
}

}  // namespace slotwise
