package dev.fathom.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

class ReadmeTest {
    // If this fails, a stranger who follows the README gets no answer.
    @Test
    void theFirstProgramAnswers() throws Exception {
        Path folder = Demo.REPOSITORY.resolve("bindings/java");
        Matcher block = Pattern.compile("```java\n(import.*?)```", Pattern.DOTALL)
                .matcher(Files.readString(folder.resolve("README.md")));
        assertTrue(block.find());
        assertEquals(block.group(1), Files.readString(folder.resolve("Chat.java")));
        assertTrue(block.group(1).lines().count() <= 15);
        Process process = new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Dfathom.cache=" + System.getProperty("fathom.cache"),
                "--enable-native-access=ALL-UNNAMED", "-cp", System.getProperty("java.class.path"),
                folder.resolve("Chat.java").toString(), Demo.MODEL.toString(), Demo.SUM)
                .redirectError(ProcessBuilder.Redirect.INHERIT).start();
        String output = new String(process.getInputStream().readAllBytes(),
                StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor());
        assertTrue(output.endsWith("46"), output);
    }
}
