package dev.fathom.spi;

/** A way for Java to call C. Found by {@link java.util.ServiceLoader}. */
public interface Provider {
    /** What -Dfathom.provider calls it. */
    String name();

    /** The highest number that is available wins. */
    int priority();

    /** Whether this JVM has what the provider needs. */
    boolean available();

    /**
     * Opens the library. Called once in a process.
     *
     * @throws UnsatisfiedLinkError with the loader's own words
     */
    Native open();
}
