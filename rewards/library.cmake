# FLINT, Arb and GMP are LGPL and linked dynamically.
find_library(FLINT_LIBRARY NAMES libflint.so flint REQUIRED)
find_library(ARB_LIBRARY NAMES libflint-arb.so libarb.so arb flint REQUIRED)
find_library(GMP_LIBRARY NAMES libgmp.so gmp REQUIRED)
find_path(FLINT_INCLUDE flint/fmpq.h REQUIRED)
target_include_directories(${target} SYSTEM PRIVATE ${FLINT_INCLUDE})
target_link_libraries(${target} PRIVATE ${ARB_LIBRARY} ${FLINT_LIBRARY} ${GMP_LIBRARY})
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  target_link_libraries(${target} PRIVATE PkgConfig::SECCOMP)
endif()

# The Python that runs inside the sandbox is compiled in as strings.
set(code_scripts "#include \"rewards/code/scripts.h\"\n\nnamespace zeroth {\n")
foreach(pair wire:kWireScript peer:kPeerScript pytest_lite:kPytestLiteScript harness:kHarnessScript runner:kRunnerScript
        rewriter:kRewriterScript cpp_driver:kCppDriverScript)
  string(REPLACE ":" ";" pair ${pair})
  list(GET pair 0 stem)
  list(GET pair 1 symbol)
  file(READ ${PROJECT_SOURCE_DIR}/rewards/code/${stem}.py content)
  set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
               ${PROJECT_SOURCE_DIR}/rewards/code/${stem}.py)
  string(APPEND code_scripts "const char ${symbol}[] = R\"PYTHON(${content})PYTHON\";\n")
endforeach()
string(APPEND code_scripts "}  // namespace zeroth\n")
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/generated/code_scripts.cc CONTENT "${code_scripts}")
target_sources(${target} PRIVATE ${PROJECT_BINARY_DIR}/generated/code_scripts.cc)
