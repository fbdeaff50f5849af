# Google Highway as hwy::hwy: an installed 1.0.3 or newer, else a pinned release.
#
# Wheels set SLOTWISE_BUNDLE_HIGHWAY to link the pinned release statically. To build it without a
# network, point FETCHCONTENT_SOURCE_DIR_HIGHWAY at a copy of its sources.
option(SLOTWISE_BUNDLE_HIGHWAY "Build the pinned Highway even if one is installed" OFF)

if(NOT SLOTWISE_BUNDLE_HIGHWAY)
  find_package(hwy 1.0.3 CONFIG QUIET)
endif()

if(hwy_FOUND)
  set(SLOTWISE_HIGHWAY_LINKAGE "installed")
  message(STATUS "Highway ${hwy_VERSION}: installed")
else()
  message(STATUS "Highway: building the pinned release")
  include(FetchContent)
  set(HWY_ENABLE_TESTS OFF CACHE INTERNAL "")
  set(HWY_ENABLE_EXAMPLES OFF CACHE INTERNAL "")
  set(HWY_ENABLE_CONTRIB OFF CACHE INTERNAL "")
  set(HWY_ENABLE_INSTALL OFF CACHE INTERNAL "")
  set(HWY_FORCE_STATIC_LIBS ON CACHE INTERNAL "")
  set(BUILD_TESTING OFF CACHE INTERNAL "")
  FetchContent_Declare(
    highway
    GIT_REPOSITORY https://github.com/google/highway.git
    GIT_TAG 2607d3b5b0113992fe84d3848859eae13b3b52c1 # 1.4.0
    EXCLUDE_FROM_ALL
  )
  FetchContent_MakeAvailable(highway)
  add_library(hwy::hwy ALIAS hwy)
  set_target_properties(hwy PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden)
  set(hwy_VERSION 1.4.0)
  set(SLOTWISE_HIGHWAY_LINKAGE "bundled")
endif()

# SVE vectors have no operators; x86 targets beyond AVX-512 add nothing that rules use; SSSE3 would
# serve processors from before 2008, for which the fallback does.
set(
  SLOTWISE_DISABLED_TARGETS
  HWY_SVE
  HWY_SVE2
  HWY_SVE_256
  HWY_SVE2_128
  HWY_RVV
  HWY_AVX3_DL
  HWY_SSSE3
)
if(hwy_VERSION VERSION_GREATER_EQUAL 1.0.6)
  list(APPEND SLOTWISE_DISABLED_TARGETS HWY_AVX3_ZEN4 HWY_AVX3_SPR)
endif()
if(hwy_VERSION VERSION_GREATER_EQUAL 1.3.0)
  list(APPEND SLOTWISE_DISABLED_TARGETS HWY_AVX10_2)
endif()
# The widest and the narrowest will do where each takes minutes, as with sanitizers.
set(SLOTWISE_LEAVE_OUT "" CACHE STRING "More targets not to build, e.g. HWY_SSE4;HWY_AVX2")
list(APPEND SLOTWISE_DISABLED_TARGETS ${SLOTWISE_LEAVE_OUT})
list(JOIN SLOTWISE_DISABLED_TARGETS "|" SLOTWISE_DISABLED_TARGETS)
set(SLOTWISE_DISABLED_TARGETS "(${SLOTWISE_DISABLED_TARGETS})")
