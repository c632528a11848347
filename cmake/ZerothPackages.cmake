# cpack -G DEB --config build/CPackConfig.cmake: the package zeroth, its dependencies read off the binary by dpkg-shlibdeps.
# scripts/package makes this, a self-contained archive and a wheel.
set(CPACK_PACKAGE_NAME zeroth)
set(CPACK_PACKAGE_VENDOR "Zeroth")
set(CPACK_PACKAGE_CONTACT "The Zeroth authors <zeroth@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "trains reasoning from a base checkpoint by reinforcement learning")
set(CPACK_PACKAGE_DESCRIPTION "R1-Zero style: a rollout engine samples groups of traces from a policy, rule-based checkers
grade them, and GRPO moves the policy by group-relative advantages. With small base checkpoints,
configs and an inspector of runs. Runs on CPUs; one binary.")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
# The sandbox of the code tasks runs the system's Python; g++ only compiles answers in C++.
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "python3")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "g++, python3-numpy")
set(CPACK_GENERATOR DEB)
include(CPack)
