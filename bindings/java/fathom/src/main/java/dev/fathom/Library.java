package dev.fathom;

import dev.fathom.spi.Constants;
import dev.fathom.spi.Native;
import dev.fathom.spi.Provider;
import dev.fathom.spi.Raw;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.ServiceLoader;

/** The one library of this process and the provider that calls it, found at first use. */
final class Library {
    static final Provider PROVIDER = provider();
    static final Native NATIVE = PROVIDER.open();
    static final Raw RAW = NATIVE.raw();

    static {
        int version = RAW.abiVersion();
        int wanted = Constants.ABI_VERSION;
        if (version >> 16 != wanted >> 16 || (version & 0xffff) < (wanted & 0xffff)) {
            throw new UnsatisfiedLinkError("the library has version " + (version >> 16) + "."
                    + (version & 0xffff) + " of the interface, this jar needs " + (wanted >> 16)
                    + "." + (wanted & 0xffff) + " or a later " + (wanted >> 16));
        }
    }

    private Library() {}

    /** The best provider that is available, or the one named by -Dfathom.provider. */
    private static Provider provider() {
        String wanted = System.getProperty("fathom.provider");
        List<String> found = new ArrayList<>();
        Provider best = null;
        Iterator<Provider> providers =
                ServiceLoader.load(Provider.class, Library.class.getClassLoader()).iterator();
        while (providers.hasNext()) {
            Provider provider = providers.next();
            boolean available = provider.available();
            found.add(provider.name() + (available ? "" : " (not on Java "
                    + Runtime.version().feature() + ")"));
            boolean candidate = wanted == null ? available : provider.name().equals(wanted);
            if (candidate && (best == null || provider.priority() > best.priority())) {
                best = provider;
            }
        }
        if (best == null) {
            throw new UnsatisfiedLinkError("no provider " + (wanted == null ? "" : "'" + wanted
                    + "' ") + "on the class path: found " + found
                    + ", wanted fathom-ffm (Java 22 and later) or fathom-jni");
        }
        return best;
    }

    /** Throws what a status other than OK says. */
    static void check(int status, Scratch scratch) {
        if (status != Constants.OK) {
            throw failure(status, scratch.takeError());
        }
    }

    /** The exception for an error object, which is released; 0 is none. */
    static FathomException failure(int status, long error) {
        if (error == 0) {
            return new FathomException(Status.of(status), NATIVE.text(RAW.statusName(status)));
        }
        int code = RAW.errorCode(error);
        String message = NATIVE.text(RAW.errorMessage(error));
        RAW.errorRelease(error);
        return new FathomException(Status.of(code), message);
    }

    /** The contents of a buffer of the library, which is released. */
    static String takeText(long buffer) {
        try (Scratch scratch = Scratch.take()) {
            Struct bytes = scratch.room(Long.BYTES);
            long data = RAW.bufferData(buffer, bytes.address());
            byte[] copy = new byte[Math.toIntExact(bytes.int64(0))];
            NATIVE.copy(data, copy);
            return new String(copy, StandardCharsets.UTF_8);
        } finally {
            RAW.bufferRelease(buffer);
        }
    }
}
