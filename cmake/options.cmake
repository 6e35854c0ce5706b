# Options of the build and the compile flags that every target of ours shares.

option(FATHOM_BUILD_TESTS "Build the tests" ON)
set(FATHOM_SANITIZE "" CACHE STRING
  "Sanitizers for every target: '', 'address,undefined' or 'thread'")
option(FATHOM_COVERAGE "Instrument for line coverage" OFF)
option(FATHOM_WERROR "Treat compiler warnings as errors (tests/run.sh does)" OFF)
option(FATHOM_FUZZ "Build the fuzz targets (needs clang)" OFF)
option(FATHOM_CUDA "Build the CUDA backend and the virtual GPU that tests it" OFF)
set(FATHOM_VIRTUAL_GPU_DIR "" CACHE PATH "Folder of a virtual GPU built before; '': build it")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 99)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

# One object library per folder, so that the shared library and the unit tests link the same code.
add_library(fathom_flags INTERFACE)
target_include_directories(fathom_flags INTERFACE
  ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/kernels)
target_compile_options(fathom_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wno-missing-field-initializers
  # A host's thread may have little stack (JNI, Go): no frame of ours is large.
  -Wframe-larger-than=16384
  -fno-semantic-interposition -ffunction-sections -fdata-sections -fno-math-errno
  -ffp-contract=off -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)
if(FATHOM_WERROR)
  target_compile_options(fathom_flags INTERFACE -Werror)
endif()
if(FATHOM_SANITIZE)
  target_compile_options(fathom_flags INTERFACE
    -fsanitize=${FATHOM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all
    -Wno-frame-larger-than)
  target_link_options(fathom_flags INTERFACE -fsanitize=${FATHOM_SANITIZE})
endif()
if(FATHOM_COVERAGE)
  target_compile_options(fathom_flags INTERFACE --coverage)
  target_link_options(fathom_flags INTERFACE --coverage)
endif()

# fathom_layer(name sources...): target fathom_<name>. A folder without sources yet has no target.
function(fathom_layer name)
  if(NOT ARGN)
    return()
  endif()
  add_library(fathom_${name} OBJECT ${ARGN})
  target_link_libraries(fathom_${name} PUBLIC fathom_flags)
  set_property(GLOBAL APPEND PROPERTY FATHOM_LAYERS ${name})
endfunction()
