# SPDX-License-Identifier: Apache-2.0
# Debian's GCC, with the C and C++ libraries of an older Debian, unpacked into SLOTWISE_SYSROOT: what
# is linked with them runs on systems as old as those. SLOTWISE_MACHINE is x86_64 or aarch64.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES SLOTWISE_SYSROOT SLOTWISE_MACHINE)
set(triplet "${SLOTWISE_MACHINE}-linux-gnu")
set(libstdcxx 10) # of the older Debian

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR "${SLOTWISE_MACHINE}")
set(CMAKE_C_COMPILER "${triplet}-gcc") # Highway asks it for headers
set(CMAKE_CXX_COMPILER "${triplet}-g++")
set(CMAKE_SYSROOT "${SLOTWISE_SYSROOT}")
set(CMAKE_LIBRARY_ARCHITECTURE "${triplet}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
# Headers of Python, NumPy and pybind11 lie outside.
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE BOTH)

# No header and no library but these: a cross compiler has folders of its own that it looks into first.
execute_process(
  COMMAND "${CMAKE_C_COMPILER}" -print-file-name=include
  OUTPUT_VARIABLE compilers_headers
  OUTPUT_STRIP_TRAILING_WHITESPACE
)
set(usr "${SLOTWISE_SYSROOT}/usr")
string(
  CONCAT CMAKE_C_FLAGS_INIT
  "-nostdinc -isystem ${compilers_headers}"
  " -isystem ${usr}/include/${triplet} -isystem ${usr}/include"
)
string(
  CONCAT CMAKE_CXX_FLAGS_INIT
  "-nostdinc++ -isystem ${usr}/include/c++/${libstdcxx}"
  " -isystem ${usr}/include/${triplet}/c++/${libstdcxx}"
  " ${CMAKE_C_FLAGS_INIT}"
)
string(
  CONCAT CMAKE_MODULE_LINKER_FLAGS_INIT
  "-B${usr}/lib/${triplet} -L${usr}/lib/gcc/${triplet}/${libstdcxx}"
  " -L${usr}/lib/${triplet} -L${SLOTWISE_SYSROOT}/lib/${triplet}"
  " -Wl,-rpath-link,${SLOTWISE_SYSROOT}/lib/${triplet}"
  " -Wl,-z,noexecstack"
)
set(CMAKE_EXE_LINKER_FLAGS_INIT "${CMAKE_MODULE_LINKER_FLAGS_INIT}")
