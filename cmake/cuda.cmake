# FATHOM_CUDA_HOME and FATHOM_NVCC: the CUDA compiler that tests/virtual_gpu/install_cuda.sh
# installs at a pinned version, or the one in FATHOM_CUDA_DIR.
if(NOT FATHOM_CUDA_HOME)
  execute_process(COMMAND ${PROJECT_SOURCE_DIR}/tests/virtual_gpu/install_cuda.sh
    OUTPUT_VARIABLE cuda_home OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE cuda_result)
  if(NOT cuda_result EQUAL 0 OR NOT EXISTS ${cuda_home}/bin/nvcc)
    message(FATAL_ERROR "FATHOM_CUDA: no CUDA compiler: tests/virtual_gpu/install_cuda.sh failed, "
      "and FATHOM_CUDA_HOME names no folder with bin/nvcc")
  endif()
  set(FATHOM_CUDA_HOME ${cuda_home} CACHE PATH "Folder of the CUDA compiler")
endif()
set(FATHOM_NVCC ${FATHOM_CUDA_HOME}/bin/nvcc)
