# The client library and the page, built by npm before the server embeds the page. After script/setup no network is needed.

# tertulia_npm_build(TARGET DIRECTORY ALSO...): a target that is up to date when DIRECTORY/dist is newer than all sources
# in DIRECTORY and in the directories ALSO. The files under dist lie in the source tree, shared by all build directories.
function(tertulia_npm_build target directory)
  set(globs)
  foreach(each ${directory} ${ARGN})
    file(GLOB_RECURSE found CONFIGURE_DEPENDS ${each}/src/* ${each}/public/*)
    file(GLOB top CONFIGURE_DEPENDS ${each}/*.json ${each}/*.mjs ${each}/*.js ${each}/*.ts ${each}/*.html ${each}/*.css)
    list(APPEND globs ${found} ${top})
  endforeach()
  set(stamp ${directory}/dist/.built)
  add_custom_command(
    OUTPUT ${stamp}
    COMMAND ${CMAKE_COMMAND} -E env "NPM_BUILD_ALSO=${ARGN}" ${CMAKE_SOURCE_DIR}/cmake/npm_build.sh ${directory} ${stamp}
    DEPENDS ${globs} ${CMAKE_SOURCE_DIR}/cmake/npm_build.sh
    COMMENT "Building ${directory} with npm"
    VERBATIM)
  add_custom_target(${target} DEPENDS ${stamp})
endfunction()

if(EXISTS ${CMAKE_SOURCE_DIR}/client/package.json)
  tertulia_npm_build(tertulia_client ${CMAKE_SOURCE_DIR}/client)
endif()
if(EXISTS ${CMAKE_SOURCE_DIR}/web/package.json)
  tertulia_npm_build(tertulia_web ${CMAKE_SOURCE_DIR}/web ${CMAKE_SOURCE_DIR}/client)
  if(TARGET tertulia_client)
    add_dependencies(tertulia_web tertulia_client)
  endif()
  # Made in server/net: the table of the page's files.
  if(TARGET tertulia_assets)
    add_dependencies(tertulia_assets tertulia_web)
  endif()
endif()
