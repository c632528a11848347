# Boost.Beast: headers only, in the compiler's own search path.
find_path(ZEROTH_BEAST_INCLUDE boost/beast/version.hpp REQUIRED)
target_link_libraries(${target} PUBLIC OpenSSL::SSL)
