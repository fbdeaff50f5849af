# SPDX-License-Identifier: Apache-2.0
# Compile options that every target of the project shares.
option(SLOTWISE_WERROR "Treat warnings as errors" OFF)
set(SLOTWISE_SANITIZE "" CACHE STRING "Sanitizers to build with, e.g. address,undefined or thread")

add_library(slotwise_flags INTERFACE)
target_compile_features(slotwise_flags INTERFACE cxx_std_17)
target_compile_options(
  slotwise_flags
  INTERFACE
    -Wall
    -Wextra
    -Wconversion
    -Wshadow
    # The numerics contract: a*b + c stays two roundings on every target.
    -ffp-contract=off
    # Nor is x - 0 folded into x, which would not flush a subnormal x.
    $<$<CXX_COMPILER_ID:GNU>:-frounding-math>
    # sqrt and its kin need not set errno, so they inline.
    -fno-math-errno
    -fvisibility=hidden
)
if(SLOTWISE_WERROR)
  target_compile_options(slotwise_flags INTERFACE -Werror)
endif()
if(SLOTWISE_SANITIZE)
  # Without two checks of UBSan that take half of the compile time: AddressSanitizer reports what
  # they would, null pointers that are followed and accesses outside of an object.
  target_compile_options(
    slotwise_flags
    INTERFACE
      -fsanitize=${SLOTWISE_SANITIZE}
      -fno-sanitize=null,object-size
      -fno-sanitize-recover=all
      -fno-omit-frame-pointer
  )
  target_link_options(slotwise_flags INTERFACE -fsanitize=${SLOTWISE_SANITIZE})
endif()
