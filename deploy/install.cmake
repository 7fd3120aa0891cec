# What `cmake --install` and the Debian package put where. cpack -G DEB, in the build's folder, makes the package.
include(GNUInstallDirs)
set(manual ${CMAKE_BINARY_DIR}/manual)
add_custom_command(OUTPUT ${manual}/sipeat.1.gz
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${manual}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${manual}
  COMMAND sipeat help --man ${manual}
  COMMAND gzip -n9 ${manual}/*.1
  DEPENDS sipeat)
add_custom_target(manual ALL DEPENDS ${manual}/sipeat.1.gz)

install(TARGETS sipeat RUNTIME)
install(CODE "file(CREATE_LINK sipeat \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/bin/sipeat-run\" SYMBOLIC)")
install(DIRECTORY ${manual}/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES deploy/completion/sipeat.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME sipeat)
install(CODE "file(CREATE_LINK sipeat
  \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/bash-completion/completions/sipeat-run\" SYMBOLIC)")
install(FILES deploy/completion/_sipeat DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES deploy/completion/sipeat.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES deploy/systemd/sipeat@.service deploy/systemd/sipeat-console.service DESTINATION lib/systemd/system)
install(DIRECTORY docs examples scripts DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY stdlib/meta DESTINATION ${CMAKE_INSTALL_DATADIR}/sipeat)
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME sipeat)
set(CPACK_PACKAGE_VENDOR sipeat)
set(CPACK_PACKAGE_CONTACT "sipeat <sipeat@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "runs Lua scripts as event-driven services on Kafka")
set(CPACK_PACKAGE_DESCRIPTION "A native runtime that gives Lua scripts Kafka, HTTP, serial ports, mail, Discord and a durable
journal. Every event ends in exactly one visible state, and a script is edited without a restart.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS ca-certificates)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/deploy/debian/postinst ${CMAKE_SOURCE_DIR}/deploy/debian/prerm
  ${CMAKE_SOURCE_DIR}/deploy/debian/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
