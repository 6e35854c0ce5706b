package dev.fathom.ffm;

import dev.fathom.spi.Native;
import dev.fathom.spi.Provider;

/** What Java 17 to 21 sees of fathom-ffm: a provider that is not available. */
public final class FfmProvider implements Provider {
    /** For {@link java.util.ServiceLoader}. */
    public FfmProvider() {}

    @Override
    public String name() {
        return "ffm";
    }

    @Override
    public int priority() {
        return 20;
    }

    @Override
    public boolean available() {
        return false;
    }

    @Override
    public Native open() {
        throw new UnsupportedOperationException("the provider 'ffm' needs Java 22 or later, this "
                + "is " + Runtime.version() + "; use fathom-jni");
    }
}
