/* Fails to build or run if the installed header, library or package files do not fit together. */
#include <fathom/fathom.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    fathom_engine* engine = NULL;
    fathom_error* error = NULL;
    if (fathom_abi_version() >> 16 != FATHOM_ABI_VERSION >> 16) {
        fprintf(stderr, "library %#x, header %#x\n", fathom_abi_version(), FATHOM_ABI_VERSION);
        return 1;
    }
    if (strcmp(fathom_status_name(FATHOM_OK), "") == 0) {
        fprintf(stderr, "no name for FATHOM_OK\n");
        return 1;
    }
    if (fathom_engine_create(NULL, &engine, &error) != FATHOM_OK) {
        fprintf(stderr, "%s\n", fathom_error_message(error));
        fathom_error_release(error);
        return 1;
    }
    fathom_engine_release(engine);
    return 0;
}
