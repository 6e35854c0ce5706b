package dev.fathom.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ConformanceTest {
    // If this fails, Java sees another library than C does. run.sh, which all languages share,
    // compares JNI on 17 and FFM; this runs on every JVM and provider of these tests.
    @Test
    void logIsTheExpectedOne(@TempDir Path folder) throws Exception {
        Path log = folder.resolve("log");
        Path shared = Demo.REPOSITORY.resolve("bindings/conformance");
        Process process = new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-Dfathom.provider=" + System.getProperty("fathom.provider"),
                "-Dfathom.cache=" + System.getProperty("fathom.cache"),
                "-cp", System.getProperty("java.class.path"),
                "dev.fathom.conformance.Conformance", Demo.MODEL.toString(),
                shared.resolve("folders").toString())
                .redirectOutput(log.toFile()).redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        assertEquals(0, process.waitFor());
        assertEquals(Files.readString(shared.resolve("expected.log")), Files.readString(log));
    }
}
