package dev.fathom.ffm;

import dev.fathom.spi.Native;
import dev.fathom.spi.Natives;
import dev.fathom.spi.Provider;

/** The provider of fathom-ffm, on Java 22 and later. */
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
        return true;
    }

    @Override
    public Native open() {
        assert FfmLayouts.agree() : "the structs of this machine differ from dev.fathom.spi.Layout";
        FfmLibrary.open(Natives.library());
        return new FfmNative();
    }
}
