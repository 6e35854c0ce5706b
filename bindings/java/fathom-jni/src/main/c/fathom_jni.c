// The written half of the shim: what dev.fathom.spi.Native wants of C beside the library's own
// functions. Links to nothing but libc; the library is opened by name at run time.
#include "fathom_jni.h"

#include <dlfcn.h>
#include <errno.h>
#include <jni.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

enum { kEventsMax = 256 };

static JavaVM* machine;
static jclass native_class;
static jmethodID log_method;
static jmethodID progress_method;

JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM* vm, void* reserved) {
    (void)reserved;
    JNIEnv* env;
    if ((*vm)->GetEnv(vm, (void**)&env, JNI_VERSION_10) != JNI_OK) return JNI_ERR;
    const jclass found = (*env)->FindClass(env, "dev/fathom/jni/JniNative");
    if (found == NULL) return JNI_ERR;
    native_class = (*env)->NewGlobalRef(env, found);
    if (native_class == NULL) return JNI_ERR;
    log_method = (*env)->GetStaticMethodID(env, native_class, "log", "(JI[B)V");
    progress_method = (*env)->GetStaticMethodID(env, native_class, "progress", "(JJJ)I");
    if (log_method == NULL || progress_method == NULL) return JNI_ERR;
    machine = vm;
    return JNI_VERSION_10;
}

JNIEXPORT jstring JNICALL
Java_dev_fathom_jni_JniNative_open(JNIEnv* env, jclass self, jstring path) {
    const char* name = (*env)->GetStringUTFChars(env, path, NULL);
    if (name == NULL) return NULL;
    void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    (*env)->ReleaseStringUTFChars(env, path, name);
    if (library == NULL) return (*env)->NewStringUTF(env, dlerror());
    const char* missing = fathom_jni_resolve(library);
    if (missing == NULL) return NULL;
    char message[160];
    snprintf(message, sizeof message, "the library has no function %s", missing);
    return (*env)->NewStringUTF(env, message);
}

JNIEXPORT jlong JNICALL
Java_dev_fathom_jni_JniNative_address(JNIEnv* env, jobject self, jobject buffer) {
    return (jlong)(intptr_t)(*env)->GetDirectBufferAddress(env, buffer);
}

JNIEXPORT void JNICALL
Java_dev_fathom_jni_JniNative_copy__J_3B(JNIEnv* env, jobject self, jlong from, jbyteArray to) {
    const jsize count = (*env)->GetArrayLength(env, to);
    (*env)->SetByteArrayRegion(env, to, 0, count, (const jbyte*)(intptr_t)from);
}

JNIEXPORT void JNICALL
Java_dev_fathom_jni_JniNative_copy__J_3I(JNIEnv* env, jobject self, jlong from, jintArray to) {
    const jsize count = (*env)->GetArrayLength(env, to);
    (*env)->SetIntArrayRegion(env, to, 0, count, (const jint*)(intptr_t)from);
}

JNIEXPORT jint JNICALL
Java_dev_fathom_jni_JniNative_length(JNIEnv* env, jclass self, jlong text) {
    return (jint)strlen((const char*)(intptr_t)text);
}

/* The environment of the calling thread; *attached tells that it has to be detached again. */
static JNIEnv* environment(int* attached) {
    JNIEnv* env;
    *attached = 0;
    if ((*machine)->GetEnv(machine, (void**)&env, JNI_VERSION_10) == JNI_OK) return env;
    if ((*machine)->AttachCurrentThreadAsDaemon(machine, (void**)&env, NULL) != JNI_OK) return NULL;
    *attached = 1;
    return env;
}

static void on_log(void* user_data, int32_t level, const char* text, uint64_t text_bytes) {
    int attached;
    JNIEnv* env = environment(&attached);
    if (env == NULL) return;
    const jsize count = (jsize)text_bytes;
    const jbyteArray bytes = (*env)->NewByteArray(env, count);
    if (bytes != NULL) {
        (*env)->SetByteArrayRegion(env, bytes, 0, count, (const jbyte*)text);
        (*env)->CallStaticVoidMethod(env, native_class, log_method, (jlong)(intptr_t)user_data,
                                     (jint)level, bytes);
        (*env)->DeleteLocalRef(env, bytes);
    }
    // Only memory can have run out: what was called throws nothing.
    (*env)->ExceptionClear(env);
    if (attached) (*machine)->DetachCurrentThread(machine);
}

static int32_t on_progress(void* user_data, uint64_t bytes_done, uint64_t bytes_total) {
    int attached;
    JNIEnv* env = environment(&attached);
    if (env == NULL) return 1;
    int32_t stop = (*env)->CallStaticIntMethod(env, native_class, progress_method,
                                               (jlong)(intptr_t)user_data, (jlong)bytes_done,
                                               (jlong)bytes_total);
    if ((*env)->ExceptionCheck(env)) {
        (*env)->ExceptionClear(env);
        stop = 1;
    }
    if (attached) (*machine)->DetachCurrentThread(machine);
    return stop;
}

JNIEXPORT jlong JNICALL
Java_dev_fathom_jni_JniNative_logFunction(JNIEnv* env, jobject self) {
    return (jlong)(intptr_t)on_log;
}

JNIEXPORT jlong JNICALL
Java_dev_fathom_jni_JniNative_progressFunction(JNIEnv* env, jobject self) {
    return (jlong)(intptr_t)on_progress;
}

JNIEXPORT jint JNICALL
Java_dev_fathom_jni_JniNative_pollCreate(JNIEnv* env, jobject self) {
    const int poll = epoll_create1(EPOLL_CLOEXEC);
    return poll < 0 ? -errno : poll;
}

JNIEXPORT jint JNICALL
Java_dev_fathom_jni_JniNative_pollControl(
        JNIEnv* env, jobject self, jint poll, jint operation, jint descriptor) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data = {.fd = descriptor}};
    return epoll_ctl(poll, operation, descriptor, &event) == 0 ? 0 : -errno;
}

JNIEXPORT jint JNICALL
Java_dev_fathom_jni_JniNative_pollWait(
        JNIEnv* env, jobject self, jint poll, jintArray descriptors) {
    struct epoll_event events[kEventsMax];
    jint found[kEventsMax];
    const jsize room = (*env)->GetArrayLength(env, descriptors);
    const int count = epoll_wait(poll, events, room < kEventsMax ? room : kEventsMax, -1);
    if (count < 0) return -errno;
    for (int i = 0; i < count; ++i) found[i] = events[i].data.fd;
    (*env)->SetIntArrayRegion(env, descriptors, 0, count, found);
    return count;
}
