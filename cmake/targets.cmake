# What is made of the layers: the shared library, the command, and the core as tests link it.

# fathom_link_dependencies(): the one layer that may include a third-party library links it.
function(fathom_link_dependencies)
  foreach(pair base:xxhash format:rapidjson tokenizer:pcre2 tokenizer:utf8proc
      tokenizer:sentencepiece cli:nlohmann)
    string(REPLACE ":" ";" pair ${pair})
    list(GET pair 0 layer)
    list(GET pair 1 library)
    if(TARGET fathom_${layer})
      target_link_libraries(fathom_${layer} PUBLIC fathom_${library})
    endif()
  endforeach()
endfunction()

# fathom_silence_false_alarms(): warnings that are the compiler's mistake, not ours.
function(fathom_silence_false_alarms)
  if(TARGET fathom_cpu AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # GCC 12 takes the deliberately undefined registers of its own AVX-512 header for uninitialised
    # variables (GCC bug 105593, mended in GCC 13).
    target_compile_options(fathom_cpu PRIVATE -Wno-uninitialized -Wno-maybe-uninitialized)
  endif()
endfunction()

# fathom_link_layers(target EXCEPT layers...): links every layer's objects into the target. Object
# libraries pass their objects on to direct users only, so all are named.
function(fathom_link_layers target)
  cmake_parse_arguments(arg "" "" "EXCEPT" ${ARGN})
  get_property(layers GLOBAL PROPERTY FATHOM_LAYERS)
  foreach(layer ${layers})
    if(NOT layer IN_LIST arg_EXCEPT)
      target_link_libraries(${target} PRIVATE fathom_${layer})
    endif()
  endforeach()
endfunction()

# fathom_lower_glibc_floor(): what was built here also loads under glibc 2.31.
function(fathom_lower_glibc_floor)
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    return()
  endif()
  include(CheckSymbolExists)
  set(CMAKE_REQUIRED_DEFINITIONS -D_GNU_SOURCE)
  check_symbol_exists(_dl_find_object "dlfcn.h" FATHOM_HAVE_DL_FIND_OBJECT)
  if(FATHOM_HAVE_DL_FIND_OBJECT)
    target_sources(fathom PRIVATE ${PROJECT_SOURCE_DIR}/src/abi/glibc_floor.c)
    set_source_files_properties(${PROJECT_SOURCE_DIR}/src/abi/glibc_floor.c
      TARGET_DIRECTORY fathom PROPERTIES COMPILE_OPTIONS "-Wall;-Wextra;-ffunction-sections")
    # Before glibc 2.34 the thread functions are in libpthread, dlopen and its kin in libdl.
    target_link_options(fathom PRIVATE -Wl,--push-state,--no-as-needed,-l:libpthread.so.0
      -l:libdl.so.2 -Wl,--pop-state)
  endif()
endfunction()

# fathom_shared_library(): target fathom, libfathom.so.1. Nothing but the names listed in
# src/abi/fathom.map leaves it, and nothing of the host's can replace what is inside.
function(fathom_shared_library)
  if(NOT TARGET fathom_abi)
    return()
  endif()
  set(map ${PROJECT_SOURCE_DIR}/src/abi/fathom.map)
  add_library(fathom SHARED)
  add_library(fathom::fathom ALIAS fathom)
  fathom_link_layers(fathom EXCEPT cli)
  set_target_properties(fathom PROPERTIES
    LINKER_LANGUAGE CXX VERSION 1.0.0 SOVERSION 1 LINK_DEPENDS ${map})
  target_include_directories(fathom INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  # abidiff reads the types of the interface from the debug information of this one layer.
  target_compile_options(fathom_abi PRIVATE -g)
  target_link_options(fathom PRIVATE
    -Wl,--version-script=${map} -Wl,--exclude-libs,ALL -Wl,-Bsymbolic
    # Thread-local destructors and sleeping pool threads must not outlive unmapped code.
    -Wl,-z,nodelete
    -Wl,-z,relro -Wl,-z,now -Wl,--gc-sections)
  if(NOT FATHOM_SANITIZE)
    # No C++ type crosses the ABI, so the C++ runtime is our own copy: the host's may be any other.
    target_link_options(fathom PRIVATE -Wl,--no-undefined -static-libstdc++ -static-libgcc)
    fathom_lower_glibc_floor()
  endif()
endfunction()

# fathom_command(): bin/fathom, made of src/cli and the shared library alone.
function(fathom_command)
  if(NOT TARGET fathom_cli OR NOT TARGET fathom)
    return()
  endif()
  add_executable(fathom_command)
  target_link_libraries(fathom_command PRIVATE fathom_cli fathom)
  set_target_properties(fathom_command PROPERTIES
    OUTPUT_NAME fathom LINKER_LANGUAGE CXX
    BUILD_RPATH_USE_ORIGIN ON INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
endfunction()
