/** Calls Fathom through JNI. */
module dev.fathom.jni {
    requires dev.fathom;

    provides dev.fathom.spi.Provider with dev.fathom.jni.JniProvider;
}
