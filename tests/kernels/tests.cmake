if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_test(NAME kernels/symbols COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/kernels/check_symbols.sh ${CMAKE_CXX_COMPILER}
                                        ${PROJECT_SOURCE_DIR})
endif()
