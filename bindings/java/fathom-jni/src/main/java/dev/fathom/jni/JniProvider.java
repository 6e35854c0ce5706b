package dev.fathom.jni;

import dev.fathom.spi.Native;
import dev.fathom.spi.Natives;
import dev.fathom.spi.Provider;

/** The provider of fathom-jni: every JVM, but behind the foreign function interface. */
public final class JniProvider implements Provider {
    /** For {@link java.util.ServiceLoader}. */
    public JniProvider() {}

    @Override
    public String name() {
        return "jni";
    }

    @Override
    public int priority() {
        return 10;
    }

    @Override
    public boolean available() {
        return true;
    }

    @Override
    @SuppressWarnings("restricted") // That native code is loaded is the purpose.
    public Native open() {
        System.load(Natives.shim());
        String library = Natives.library();
        String failure = JniNative.open(library);
        if (failure != null) {
            throw new UnsatisfiedLinkError(Natives.whereLooked(library, failure));
        }
        return new JniNative();
    }
}
