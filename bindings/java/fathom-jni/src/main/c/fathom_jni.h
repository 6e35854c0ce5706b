/* What the generated half of the shim offers to the written one. */
#pragma once

const char* fathom_jni_resolve(void* library);
