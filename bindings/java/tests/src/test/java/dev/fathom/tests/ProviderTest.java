package dev.fathom.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Each case is a JVM of its own, because a process has one library and one provider. */
class ProviderTest {
    private static final boolean HAS_FFM = Runtime.version().feature() >= 22;

    /** What the program that these tests run prints. */
    static final class Program {
        public static void main(String[] arguments) {
            System.out.println("provider " + dev.fathom.Fathom.provider());
        }
    }

    private record Run(int status, String output) {}

    private static String classPath(String without) {
        return Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(entry -> without == null || !entry.contains(without))
                .collect(Collectors.joining(File.pathSeparator));
    }

    private static Run run(List<String> options, String... program)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(options);
        command.addAll(List.of(program));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().remove("FATHOM_LIBRARY");
        Process process = builder.start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Run(process.waitFor(), output);
    }

    private static Run ask(String classPath, String... options)
            throws IOException, InterruptedException {
        List<String> all = new ArrayList<>(List.of("-cp", classPath));
        all.addAll(List.of(options));
        return run(all, Program.class.getName());
    }

    // If this fails, a JVM gets a provider that it cannot run, or not the better one.
    @Test
    void theBestProviderIsChosen(@TempDir Path cache) throws Exception {
        String option = "-Dfathom.cache=" + cache;
        Run run = ask(classPath(null), option);
        assertTrue(run.output.contains("provider " + (HAS_FFM ? "ffm" : "jni")), run.output);
        run = ask(classPath(null), option, "-Dfathom.provider=jni");
        assertTrue(run.output.contains("provider jni"), run.output);
        // The only provider is the one that needs a later JVM, or the one that does not.
        run = ask(classPath("fathom-jni"), option);
        if (HAS_FFM) {
            assertTrue(run.output.contains("provider ffm"), run.output);
        } else {
            assertTrue(run.output.contains("no provider on the class path"), run.output);
        }
        run = ask(classPath(null), option, "-Dfathom.provider=carrier-pigeon");
        assertTrue(run.output.contains("no provider 'carrier-pigeon'"), run.output);
    }

    // If this fails, the jars do not work as modules; on 17 with one for 22 beside them.
    @Test
    void jarsAreModules(@TempDir Path cache) throws Exception {
        String modules = Arrays.stream(classPath(null).split(File.pathSeparator))
                .filter(entry -> entry.matches(".*/fathom(-ffm|-jni|-natives)?-1[^/]*\\.jar"))
                .collect(Collectors.joining(File.pathSeparator));
        Run run = run(List.of("--module-path", modules, "--add-modules",
                "dev.fathom,dev.fathom.jni" + (modules.contains("fathom-ffm")
                        ? ",dev.fathom.ffm" : ""),
                "-Dfathom.cache=" + cache, "-Dfathom.library.path=" + library(cache),
                "-cp", classPath("-1.0.0")), Program.class.getName());
        assertTrue(run.output.contains("provider " + (HAS_FFM ? "ffm" : "jni")), run.output);
    }

    /** A folder with both libraries, as the natives jar has them. */
    private static Path library(Path folder) throws IOException {
        for (String name : List.of("libfathom.so.1", "libfathom_jni.so")) {
            try (var in = ProviderTest.class.getClassLoader().getResourceAsStream(
                    "dev/fathom/natives/linux-x86_64/" + name)) {
                Files.copy(in, folder.resolve(name));
            }
        }
        return folder;
    }

    // If this fails, code is loaded from where others may write, or unpacked anew each time.
    @Test
    void librariesAreUnpackedOnceAndPrivately(@TempDir Path cache) throws Exception {
        for (int i = 0; i < 2; i++) {
            Run run = ask(classPath(null), "-Dfathom.cache=" + cache, "-Dfathom.provider=jni");
            assertEquals(0, run.status, run.output);
        }
        Path natives = cache.resolve("natives");
        assertEquals("rwx------", PosixFilePermissions.toString(
                Files.getPosixFilePermissions(natives)));
        try (Stream<Path> all = Files.walk(natives)) {
            assertEquals(2, all.filter(Files::isRegularFile).count());
        }
        Path library;
        try (Stream<Path> all = Files.walk(natives)) {
            library = all.filter(path -> path.endsWith("libfathom.so.1")).findFirst().get();
        }
        Files.write(library, new byte[] {1, 2, 3}); // Cut short by a crash, say.
        assertEquals(0, ask(classPath(null), "-Dfathom.cache=" + cache).status);
        Files.setPosixFilePermissions(natives, PosixFilePermissions.fromString("rwxrwxrwx"));
        Run run = ask(classPath(null), "-Dfathom.cache=" + cache);
        assertTrue(run.output.contains("wanted " + System.getProperty("user.name")), run.output);
    }

    // If this fails, a wrong path is passed over, or the message does not say where was looked.
    @Test
    void explicitPathsNeverFallThrough(@TempDir Path folder) throws Exception {
        for (String provider : HAS_FFM ? List.of("ffm", "jni") : List.of("jni")) {
            Run run = ask(classPath(null), "-Dfathom.provider=" + provider,
                    "-Dfathom.cache=" + folder, "-Dfathom.library.path=/nowhere/libfathom.so.1");
            assertTrue(run.status != 0);
            assertTrue(run.output.contains("/nowhere/libfathom.so.1: cannot open"), run.output);
        }
        Run run = ask(classPath("fathom-natives"), "-Dfathom.jni.path="
                + library(folder).resolve("libfathom_jni.so"), "-Dfathom.provider=jni");
        assertTrue(run.output.contains("natives/linux-x86_64/libfathom.so.1 on the class path "
                + "(not there"), run.output);
    }
}
