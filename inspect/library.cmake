target_link_libraries(${target} PRIVATE PkgConfig::ZSTD PkgConfig::SQLITE3)
