# Boost.Beast: headers only, in the compiler's own search path.
find_path(ZEROTH_BEAST_INCLUDE boost/beast/version.hpp REQUIRED)
target_link_libraries(${target} PUBLIC OpenSSL::SSL)
# gcc warns that ThreadSanitizer knows no fences; Asio has some beside its locks.
if(ZEROTH_TSAN AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(${target} PUBLIC -Wno-tsan)
endif()
