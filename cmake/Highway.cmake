# SPDX-License-Identifier: Apache-2.0
# Google Highway as hwy::hwy, the first of these that there is:
#
#   third_party/highway                its pinned release, which source distributions bring along
#   FETCHCONTENT_SOURCE_DIR_HIGHWAY    a folder with its sources
#   an installed 1.0.3 or newer        except with SLOTWISE_BUNDLE_HIGHWAY
#   the pinned release                 downloaded
#
# Sources are linked statically. A shared library that is installed goes into the wheel, so that this
# works where none is.
option(SLOTWISE_BUNDLE_HIGHWAY "Build the pinned Highway even if one is installed" OFF)
set(SLOTWISE_HIGHWAY_VERSION 1.4.0)
# Of the files that a source distribution has of it, see slotwise_checksum.
set(SLOTWISE_HIGHWAY_SHA256 eac154dd9e7c05ad852ec1de27be17595bbcb38a0cce54b7e86492beb55d6307)
set(highway_url https://github.com/google/highway.git)
set(highway_folder "${CMAKE_CURRENT_SOURCE_DIR}/third_party/highway")

if(EXISTS "${highway_folder}/hwy" AND NOT FETCHCONTENT_SOURCE_DIR_HIGHWAY)
  set(FETCHCONTENT_SOURCE_DIR_HIGHWAY "${highway_folder}")
endif()
if(
  NOT SLOTWISE_BUNDLE_HIGHWAY
  AND NOT FETCHCONTENT_SOURCE_DIR_HIGHWAY
  AND NOT SKBUILD_STATE STREQUAL "sdist"
)
  find_package(hwy 1.0.3 CONFIG QUIET)
endif()

include(FetchContent)
FetchContent_Declare(
  highway
  GIT_REPOSITORY ${highway_url}
  GIT_TAG 2607d3b5b0113992fe84d3848859eae13b3b52c1 # SLOTWISE_HIGHWAY_VERSION
  EXCLUDE_FROM_ALL
)

# Downloads the pinned release, unless its sources are there: then highway_SOURCE_DIR has them.
macro(slotwise_fetch_highway)
  if(NOT FETCHCONTENT_SOURCE_DIR_HIGHWAY AND NOT EXISTS "${FETCHCONTENT_BASE_DIR}/highway-src/hwy")
    find_program(SLOTWISE_GIT git)
    if(SLOTWISE_GIT)
      execute_process(
        COMMAND
          "${CMAKE_COMMAND}" -E env GIT_TERMINAL_PROMPT=0 "${SLOTWISE_GIT}" ls-remote --exit-code
          ${highway_url} HEAD
        TIMEOUT 60
        RESULT_VARIABLE highway_unreachable
        OUTPUT_QUIET
        ERROR_VARIABLE highway_error
      )
    else()
      set(highway_unreachable TRUE)
      set(highway_error "There is no git.")
    endif()
    if(highway_unreachable)
      message(
        FATAL_ERROR
        "Found no Google Highway, and cannot download it from ${highway_url}: "
        "${highway_error}\n"
        "There are three ways out:\n"
        "1. Install it (Debian and Ubuntu: apt-get install libhwy-dev).\n"
        "2. Build from slotwise's source distribution, which brings it along.\n"
        "3. Say where release ${SLOTWISE_HIGHWAY_VERSION} lies:\n"
        "     pip install . -C cmake.define.FETCHCONTENT_SOURCE_DIR_HIGHWAY=/path/to/highway"
      )
    endif()
  endif()
  foreach(part TESTS EXAMPLES CONTRIB INSTALL)
    set(HWY_ENABLE_${part} OFF CACHE INTERNAL "")
  endforeach()
  set(HWY_FORCE_STATIC_LIBS ON CACHE INTERNAL "")
  set(BUILD_TESTING OFF CACHE INTERNAL "")
  FetchContent_MakeAvailable(highway)

  # What the sources say of themselves: a folder may have been left by an earlier release.
  file(READ "${highway_SOURCE_DIR}/hwy/base.h" highway_header)
  file(READ "${highway_SOURCE_DIR}/hwy/highway.h" highway_other)
  string(APPEND highway_header "${highway_other}")
  set(highway_found "")
  foreach(part MAJOR MINOR PATCH)
    string(REGEX MATCH "define HWY_${part} +([0-9]+)" ignored "${highway_header}")
    list(APPEND highway_found ${CMAKE_MATCH_1})
  endforeach()
  list(JOIN highway_found "." highway_found)
  if(
    highway_SOURCE_DIR STREQUAL highway_folder
    AND NOT highway_found STREQUAL SLOTWISE_HIGHWAY_VERSION
  )
    message(
      FATAL_ERROR
      "${highway_folder}: expected Highway ${SLOTWISE_HIGHWAY_VERSION}, got ${highway_found}. "
      "Remove the folder; the build finds another Highway, or says how to."
    )
  endif()
endmacro()

# One number for a folder: SHA-256 of a line per file, with the file's SHA-256 and path.
function(slotwise_checksum folder result)
  file(GLOB_RECURSE paths LIST_DIRECTORIES FALSE RELATIVE "${folder}" "${folder}/*")
  list(SORT paths)
  set(lines "")
  foreach(path IN LISTS paths)
    file(SHA256 "${folder}/${path}" checksum)
    string(APPEND lines "${checksum}  ${path}\n")
  endforeach()
  string(SHA256 checksum "${lines}")
  set(${result} ${checksum} PARENT_SCOPE)
endfunction()

if(SKBUILD_STATE STREQUAL "sdist")
  slotwise_fetch_highway()
  if(NOT highway_SOURCE_DIR STREQUAL highway_folder)
    file(REMOVE_RECURSE "${highway_folder}")
    file(
      COPY
        "${highway_SOURCE_DIR}/CMakeLists.txt"
        "${highway_SOURCE_DIR}/LICENSE"
        "${highway_SOURCE_DIR}/cmake"
        "${highway_SOURCE_DIR}/hwy"
      DESTINATION "${highway_folder}"
      REGEX "/contrib$|_test[.]cc$"
      EXCLUDE
    )
  endif()
  slotwise_checksum("${highway_folder}" highway_sha256)
  if(NOT highway_sha256 STREQUAL SLOTWISE_HIGHWAY_SHA256)
    file(REMOVE_RECURSE "${highway_folder}") # else the next build would take it
    message(
      FATAL_ERROR
      "${highway_SOURCE_DIR}: expected the files of Highway ${SLOTWISE_HIGHWAY_VERSION} "
      "(SHA-256 ${SLOTWISE_HIGHWAY_SHA256}), got others (${highway_sha256}). A source distribution "
      "brings just that release along."
    )
  endif()
elseif(hwy_FOUND)
  set(SLOTWISE_HIGHWAY_LINKAGE "installed")
  get_target_property(highway_kind hwy::hwy TYPE)
  if(NOT highway_kind STREQUAL "STATIC_LIBRARY")
    install(
      FILES $<TARGET_FILE:hwy::hwy>
      DESTINATION slotwise
      RENAME $<TARGET_SONAME_FILE_NAME:hwy::hwy>
    )
    set(CMAKE_INSTALL_RPATH "$ORIGIN")
  endif()
  message(STATUS "Highway ${hwy_VERSION}: installed")
else()
  slotwise_fetch_highway()
  add_library(hwy::hwy ALIAS hwy)
  set_target_properties(hwy PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden)
  # As headers of the system: they have warnings of their own, for NEON.
  get_target_property(highway_headers hwy INTERFACE_INCLUDE_DIRECTORIES)
  set_target_properties(hwy PROPERTIES INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${highway_headers}")
  if(SKBUILD) # who passes the wheel on passes Highway on
    install(
      FILES "${highway_SOURCE_DIR}/LICENSE"
      DESTINATION "${SKBUILD_METADATA_DIR}/licenses/highway"
    )
  endif()
  set(hwy_VERSION ${highway_found})
  set(SLOTWISE_HIGHWAY_LINKAGE "bundled")
  message(STATUS "Highway ${hwy_VERSION}: ${highway_SOURCE_DIR}, linked statically")
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
