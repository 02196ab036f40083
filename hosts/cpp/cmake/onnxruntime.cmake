# ONNX Runtime's own package, or else the library inside the Python package `onnxruntime`, which comes without headers:
# its C interface is stable, so third_party/onnxruntime has one for all versions.
if(NOT ONNXRUNTIME_LIBRARY)
  find_library(FOUND_ONNXRUNTIME onnxruntime)
  if(FOUND_ONNXRUNTIME)
    set(ONNXRUNTIME_LIBRARY ${FOUND_ONNXRUNTIME})
  elseif(Python3_FOUND)
    execute_process(
      COMMAND ${Python3_EXECUTABLE} -c
        "import importlib.util, pathlib
package = pathlib.Path(importlib.util.find_spec('onnxruntime').origin).parent
print(next(package.glob('capi/libonnxruntime.*')))"
      OUTPUT_VARIABLE ONNXRUNTIME_LIBRARY OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
endif()
if(NOT EXISTS "${ONNXRUNTIME_LIBRARY}")
  message(FATAL_ERROR "ONNX Runtime is missing: `pip install onnxruntime` and give -DPython3_EXECUTABLE=…/python, "
                      "or give -DONNXRUNTIME_LIBRARY=…/libonnxruntime.so")
endif()
message(STATUS "ONNX Runtime: ${ONNXRUNTIME_LIBRARY}")

# The library asks for itself by a name that the Python package does not have.
get_filename_component(ONNXRUNTIME_FILE ${ONNXRUNTIME_LIBRARY} REALPATH)
set(ONNXRUNTIME_LINKS ${CMAKE_CURRENT_BINARY_DIR}/onnxruntime)
file(MAKE_DIRECTORY ${ONNXRUNTIME_LINKS})
if(UNIX AND NOT APPLE)
  file(CREATE_LINK ${ONNXRUNTIME_FILE} ${ONNXRUNTIME_LINKS}/libonnxruntime.so.1 SYMBOLIC)
  set(ONNXRUNTIME_LINKED ${ONNXRUNTIME_LINKS}/libonnxruntime.so.1)
else()
  set(ONNXRUNTIME_LINKED ${ONNXRUNTIME_FILE})
endif()
target_include_directories(livejam PRIVATE third_party/onnxruntime)
target_link_libraries(livejam PRIVATE ${ONNXRUNTIME_LINKED})
