# OpenVINO's own package, or the Python package `openvino`, which has headers and CMake files.
if(NOT OpenVINO_DIR AND Python3_FOUND)
  execute_process(
    COMMAND ${Python3_EXECUTABLE} -c
      "import importlib.util, pathlib
print(pathlib.Path(importlib.util.find_spec('openvino').origin).parent / 'cmake')"
    OUTPUT_VARIABLE OpenVINO_DIR OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
find_package(OpenVINO QUIET COMPONENTS Runtime)
if(NOT OpenVINO_FOUND)
  message(FATAL_ERROR "OpenVINO is missing: `pip install openvino` and give -DPython3_EXECUTABLE=…/python, "
                      "or give -DOpenVINO_DIR=… of OpenVINO's package")
endif()
message(STATUS "OpenVINO: ${OpenVINO_DIR}")
target_link_libraries(livejam PRIVATE openvino::runtime)
