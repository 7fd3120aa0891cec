# console.cmake - bundles the pages of the console into assets/console.{html,js,css} of the build directory, and adds them
# to the list of files that are compiled in. npm brings what package-lock.json names, once for each lockfile.
find_program(NODE NAMES node nodejs)
find_program(NPM NAMES npm)
if(NOT NODE OR NOT NPM)
  message(FATAL_ERROR "node and npm, which bundle the pages of the console, are missing. "
    "Install them with: sh deploy/packages.sh build (Debian's packages nodejs and npm)")
endif()
execute_process(COMMAND ${NODE} --version OUTPUT_VARIABLE node_version OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT node_version MATCHES "^v([0-9]+)" OR CMAKE_MATCH_1 LESS 18)
  message(FATAL_ERROR "node 18 or newer bundles the pages of the console; ${NODE} is ${node_version}")
endif()

set(console_modules ${CMAKE_BINARY_DIR}/console)
set(console_packages console/package.json console/package-lock.json console/.npmrc)
list(TRANSFORM console_packages PREPEND ${CMAKE_SOURCE_DIR}/)
add_custom_command(OUTPUT ${console_modules}/installed
  COMMAND ${CMAKE_COMMAND} -E make_directory ${console_modules}
  COMMAND ${CMAKE_COMMAND} -E copy ${console_packages} ${console_modules}
  COMMAND ${CMAKE_COMMAND} -E chdir ${console_modules}
    ${NPM} ci --ignore-scripts --no-audit --no-fund --prefer-offline --loglevel=error
  COMMAND ${CMAKE_COMMAND} -E touch ${console_modules}/installed
  DEPENDS ${console_packages} COMMENT "Installing what bundles the console's pages" VERBATIM)

set(console_assets ${CMAKE_BINARY_DIR}/assets/console.html ${CMAKE_BINARY_DIR}/assets/console.js
  ${CMAKE_BINARY_DIR}/assets/console.css)
file(GLOB_RECURSE console_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/console/src/*)
add_custom_command(OUTPUT ${console_assets}
  COMMAND ${NODE} ${CMAKE_SOURCE_DIR}/console/build.mjs ${console_modules} ${CMAKE_BINARY_DIR}/assets
  DEPENDS ${console_modules}/installed ${console_sources} ${CMAKE_SOURCE_DIR}/console/build.mjs
  COMMENT "Bundling the console's pages" VERBATIM)
list(APPEND stdlib ${console_assets})
