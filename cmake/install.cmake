# What 'cmake --install' lays down: library, header, command, CMake package, pkg-config file and
# licences. Every path inside is relative, so that the tree can be moved as a whole.

if(NOT TARGET fathom)
  return()
endif()
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/fathom)

install(TARGETS fathom EXPORT fathomTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES include/fathom/fathom.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fathom)
install(FILES LICENSE THIRD_PARTY.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
# The notices of what is linked into the library travel with it.
install(DIRECTORY ${fathom_spm_prefix}/licenses DESTINATION ${CMAKE_INSTALL_DOCDIR})
foreach(package libpcre2-dev libutf8proc-dev libxxhash-dev rapidjson-dev nlohmann-json3-dev)
  if(EXISTS /usr/share/doc/${package}/copyright)
    install(FILES /usr/share/doc/${package}/copyright
      DESTINATION ${CMAKE_INSTALL_DOCDIR}/licenses RENAME ${package})
  endif()
endforeach()
if(TARGET fathom_command)
  install(TARGETS fathom_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(EXPORT fathomTargets NAMESPACE fathom:: DESTINATION ${package_dir})
configure_package_config_file(cmake/fathomConfig.cmake.in ${CMAKE_BINARY_DIR}/fathomConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/fathomConfigVersion.cmake
  COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_BINARY_DIR}/fathomConfig.cmake ${CMAKE_BINARY_DIR}/fathomConfigVersion.cmake
  DESTINATION ${package_dir})

# pkg-config knows where the .pc file lies; the prefix is found from there.
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH fathom_pc_prefix /${pkgconfig_dir} /)
string(REGEX REPLACE "/$" "" fathom_pc_prefix "${fathom_pc_prefix}")
configure_file(cmake/fathom.pc.in ${CMAKE_BINARY_DIR}/fathom.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/fathom.pc DESTINATION ${pkgconfig_dir})
