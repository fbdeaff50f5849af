// SPDX-License-Identifier: Apache-2.0
/* Python with a sanitizer's runtime linked into the program itself.
 *
 * Preloading the runtime into the ordinary python is the usual way, but TSan's
 * crashes when preloaded: libstdc++'s initializers run before it is ready. */
#include <Python.h>

int main(int argc, char** argv) { return Py_BytesMain(argc, argv); }
