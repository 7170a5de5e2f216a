# gridquant_library(NAME SOURCES ... LINKS ...): one folder, one static library, headers included from the tree's root.
function(gridquant_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_LINKS})
endfunction()

# gridquant_test(NAME SOURCES ... LINKS ...): one GoogleTest binary, one ctest entry. On the precompiled headers of
# tests/CMakeLists.txt.
function(gridquant_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${ARG_LINKS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE GRIDQUANT_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                             GRIDQUANT_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
  target_precompile_headers(${name} REUSE_FROM test_headers)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 300)
endfunction()
