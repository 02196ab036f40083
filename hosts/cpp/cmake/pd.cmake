# [livejam_player~] for Pure Data.
find_path(PD_INCLUDE m_pd.h PATH_SUFFIXES pd)
if(NOT PD_INCLUDE)
  message(FATAL_ERROR "m_pd.h is missing: install puredata-dev (Debian), "
                      "or give -DPD_INCLUDE=… of Pure Data's folder src")
endif()
add_library(livejam_player_tilde MODULE pd/livejam_player~.cpp)
target_include_directories(livejam_player_tilde PRIVATE ${PD_INCLUDE})
target_link_libraries(livejam_player_tilde PRIVATE livejam)
# Pd knows all methods as one type
target_compile_options(livejam_player_tilde PRIVATE $<$<NOT:$<CXX_COMPILER_ID:MSVC>>:-Wno-cast-function-type>)
if(APPLE)
  set(PD_SUFFIX .pd_darwin)
  target_link_options(livejam_player_tilde PRIVATE -undefined dynamic_lookup)
elseif(WIN32)
  set(PD_SUFFIX .dll)
else()
  set(PD_SUFFIX .pd_linux)
endif()
set_target_properties(livejam_player_tilde PROPERTIES PREFIX "" OUTPUT_NAME "livejam_player~" SUFFIX ${PD_SUFFIX}
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/pd)
configure_file(pd/livejam_player~-help.pd ${CMAKE_CURRENT_BINARY_DIR}/pd/livejam_player~-help.pd COPYONLY)
