package dev.fathom.spi;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Locale;

/**
 * Where the shared libraries lie: where -Dfathom.library.path says, else where FATHOM_LIBRARY says,
 * else in the jar fathom-natives, else where the system looks. What is named explicitly is taken or
 * refused, never passed over.
 */
public final class Natives {
    /** The library, and the shim that the JNI provider needs. */
    private static final String LIBRARY = "libfathom.so.1";
    private static final String SHIM = "libfathom_jni.so";

    private Natives() {}

    /** What to give to dlopen for the library. */
    public static String library() {
        String explicit = System.getProperty("fathom.library.path");
        if (explicit == null) {
            explicit = System.getenv("FATHOM_LIBRARY");
        }
        if (explicit != null) {
            Path path = Path.of(explicit);
            return (Files.isDirectory(path) ? path.resolve(LIBRARY) : path).toString();
        }
        Path unpacked = unpack(LIBRARY);
        return unpacked == null ? LIBRARY : unpacked.toString();
    }

    /** What to give to dlopen for the shim. */
    public static String shim() {
        String explicit = System.getProperty("fathom.jni.path");
        if (explicit != null) {
            return explicit;
        }
        Path beside = Path.of(library()).resolveSibling(SHIM);
        if (beside.isAbsolute() && Files.exists(beside)) {
            return beside.toString();
        }
        Path unpacked = unpack(SHIM);
        if (unpacked == null) {
            throw new UnsatisfiedLinkError(SHIM + " was not found: looked at -Dfathom.jni.path ("
                    + "not set), " + beside + " and " + resource(SHIM) + " on the class path");
        }
        return unpacked.toString();
    }

    /** The end of a message that says that a library cannot be opened. */
    public static String whereLooked(String path, String reason) {
        String hint = "";
        if (reason != null && reason.contains("failed to map segment")) {
            hint = "; its folder may be mounted noexec: name another one with -Dfathom.cache";
        } else if (path.equals(LIBRARY)) {
            hint = "; looked at -Dfathom.library.path (not set), FATHOM_LIBRARY (not set), "
                    + resource(LIBRARY) + " on the class path (not there: the jar fathom-natives "
                    + "with your platform's classifier) and the system's own places";
        }
        return path + ": " + reason + hint;
    }

    private static String resource(String name) {
        String machine = System.getProperty("os.arch").toLowerCase(Locale.ROOT);
        String architecture = switch (machine) {
            case "amd64", "x86_64" -> "x86_64";
            default -> machine;
        };
        String system = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        return "dev/fathom/natives/" + system + "-" + architecture + "/" + name;
    }

    /** The file out of the jar, in a folder named by its contents; null if there is none. */
    private static Path unpack(String name) {
        ClassLoader loader = Natives.class.getClassLoader();
        try (InputStream in = loader.getResourceAsStream(resource(name))) {
            if (in == null) {
                return null;
            }
            byte[] contents = in.readAllBytes();
            String hash = HexFormat.of().formatHex(
                    MessageDigest.getInstance("SHA-256").digest(contents), 0, 12);
            Path folder = cache().resolve(hash);
            Files.createDirectories(folder);
            Path file = folder.resolve(name);
            // Compared as a whole, so that a file cut short by a crash is made anew.
            if (!Files.exists(file) || !Arrays.equals(Files.readAllBytes(file), contents)) {
                Path part = Files.createTempFile(folder, name, ".part");
                Files.write(part, contents);
                Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
            }
            return file;
        } catch (IOException failure) {
            throw new UncheckedIOException("unpacking " + resource(name)
                    + " (name a folder that can be written with -Dfathom.cache)", failure);
        } catch (NoSuchAlgorithmException failure) {
            throw new IllegalStateException(failure); // Every JVM has SHA-256.
        }
    }

    /** A folder that nobody else can write to, because code is loaded from it. */
    private static Path cache() throws IOException {
        String named = System.getProperty("fathom.cache");
        String shared = System.getenv("XDG_CACHE_HOME");
        Path base = named != null ? Path.of(named)
                : shared != null && !shared.isEmpty() ? Path.of(shared, "fathom")
                : Path.of(System.getProperty("user.home"), ".cache", "fathom");
        Path folder = base.resolve("natives");
        Files.createDirectories(base);
        if (!Files.isDirectory(folder)) {
            Files.createDirectories(folder, PosixFilePermissions.asFileAttribute(
                    PosixFilePermissions.fromString("rwx------")));
        }
        String owner = Files.getOwner(folder).getName();
        String mode = PosixFilePermissions.toString(Files.getPosixFilePermissions(folder));
        if (!owner.equals(System.getProperty("user.name")) || !mode.equals("rwx------")) {
            throw new IOException(folder + " belongs to " + owner + " with mode " + mode
                    + ", wanted " + System.getProperty("user.name") + " and rwx------");
        }
        return folder;
    }
}
