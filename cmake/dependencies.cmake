# The libraries that Fathom links, each as one target. All are linked statically into libfathom.so
# and hidden there. Installed packages are taken first; cmake/install_dependencies.sh puts what
# Debian 12 has too old into FATHOM_DEPS_DIR. Nothing is downloaded from here.

if(DEFINED ENV{FATHOM_DEPS_DIR})
  set(fathom_deps_default "$ENV{FATHOM_DEPS_DIR}")
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(fathom_deps_default "$ENV{XDG_CACHE_HOME}/fathom/deps")
else()
  set(fathom_deps_default "$ENV{HOME}/.cache/fathom/deps")
endif()
set(FATHOM_DEPS_DIR "${fathom_deps_default}" CACHE PATH
  "Where cmake/install_dependencies.sh puts what it builds")

set(fathom_remedy "run: bash cmake/install_dependencies.sh --build")

# fathom_dependency(name header archive): target fathom_<name> for a header and, unless 'archive' is
# NONE, a static library.
function(fathom_dependency name header archive)
  find_path(FATHOM_${name}_INCLUDE ${header} ${ARGN})
  if(NOT FATHOM_${name}_INCLUDE)
    message(FATAL_ERROR "${name}: header ${header} not found; ${fathom_remedy}")
  endif()
  add_library(fathom_${name} INTERFACE)
  target_include_directories(fathom_${name} SYSTEM INTERFACE ${FATHOM_${name}_INCLUDE})
  if(NOT archive STREQUAL NONE)
    find_library(FATHOM_${name}_LIBRARY ${archive} ${ARGN})
    if(NOT FATHOM_${name}_LIBRARY)
      message(FATAL_ERROR "${name}: static library ${archive} not found; ${fathom_remedy}")
    endif()
    target_link_libraries(fathom_${name} INTERFACE ${FATHOM_${name}_LIBRARY})
  endif()
  mark_as_advanced(FATHOM_${name}_INCLUDE FATHOM_${name}_LIBRARY)
endfunction()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
target_link_libraries(fathom_flags INTERFACE Threads::Threads)

fathom_dependency(pcre2 pcre2.h libpcre2-8.a)
target_compile_definitions(fathom_pcre2 INTERFACE PCRE2_CODE_UNIT_WIDTH=8)
fathom_dependency(utf8proc utf8proc.h libutf8proc.a)
fathom_dependency(xxhash xxhash.h NONE)
fathom_dependency(rapidjson rapidjson/reader.h NONE)
fathom_dependency(nlohmann nlohmann/json.hpp NONE)  # The command only; it is not in the library.

# SentencePiece alone comes from FATHOM_DEPS_DIR and nowhere else: a stock build ends the process
# when a check of its own fails, and versions before 0.2.1 overflow the heap.
set(fathom_spm_prefix "${FATHOM_DEPS_DIR}/sentencepiece-0.2.1")
fathom_dependency(sentencepiece sentencepiece_processor.h libsentencepiece.a
  PATHS ${fathom_spm_prefix} PATH_SUFFIXES include lib NO_DEFAULT_PATH)
target_link_libraries(fathom_sentencepiece INTERFACE Threads::Threads)

if(FATHOM_BUILD_TESTS)
  find_package(Catch2 3.4 QUIET)
  if(NOT Catch2_FOUND)
    find_package(Catch2 3.4 QUIET PATHS "${FATHOM_DEPS_DIR}/catch2-3.7.1" NO_DEFAULT_PATH)
  endif()
  if(NOT Catch2_FOUND)
    message(FATAL_ERROR "Catch2 3 not found; run: bash cmake/install_dependencies.sh --tests "
      "(or configure with -DFATHOM_BUILD_TESTS=OFF)")
  endif()
endif()
