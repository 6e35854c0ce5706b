package dev.fathom.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.fathom.Status;
import dev.fathom.spi.Constants;
import dev.fathom.spi.Layout;
import dev.fathom.spi.Raw;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What fathom.h has and the written classes lack. The generated ones cannot. */
class HeaderTest {
    // The names of constants that stand for the values of an enum, and where these begin.
    private static final Map<String, String> ENUMS = Map.of(
            "CPU_", "CpuLevel", "KV_", "KvType", "THINKING_", "Thinking", "ROLE_", "Role",
            "FINISH_", "FinishReason", "LOG_", "LogLevel", "DEVICE_", "DeviceKind");
    // Set by structInit, and zero.
    private static final Set<String> NOBODYS = Set.of("SIZE", "ID", "STRUCT_SIZE", "RESERVED");

    private static String sources() throws IOException {
        StringBuilder all = new StringBuilder();
        Path folder = Demo.REPOSITORY.resolve("bindings/java/fathom/src/main/java/dev/fathom");
        try (Stream<Path> files = Files.list(folder)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                all.append(Files.readString(file));
            }
        }
        return all.toString();
    }

    // If this fails, a function of the header is used nowhere.
    @Test
    void everyFunctionIsUsed() throws IOException {
        String sources = sources();
        List<String> missing = new ArrayList<>();
        for (Method method : Raw.class.getMethods()) {
            if (!sources.contains("RAW." + method.getName() + "(")
                    && !sources.contains("RAW::" + method.getName())) {
                missing.add(method.getName());
            }
        }
        assertEquals(List.of(), missing);
    }

    // If this fails, a field of the header can be neither set nor read.
    @Test
    void everyFieldIsUsed() throws IOException {
        String sources = sources();
        List<String> missing = new ArrayList<>();
        for (Class<?> struct : Layout.class.getClasses()) {
            for (Field field : struct.getFields()) {
                String name = struct.getSimpleName() + "." + field.getName();
                if (!NOBODYS.contains(field.getName()) && !sources.contains("Layout." + name)) {
                    missing.add(name);
                }
            }
        }
        assertEquals(List.of(), missing);
    }

    // If this fails, a number of the header means something else in Java, or nothing.
    @Test
    void everyConstantHasItsValue() throws ReflectiveOperationException {
        for (Map.Entry<String, String> pair : ENUMS.entrySet()) {
            Class<?> type = Class.forName("dev.fathom." + pair.getValue());
            Method code = type.getDeclaredMethod("code");
            code.setAccessible(true);
            int found = 0;
            for (Field field : Constants.class.getFields()) {
                if (field.getName().startsWith(pair.getKey())
                        && !field.getName().equals(Status.DEVICE_LOST.name())) {
                    String name = field.getName().substring(pair.getKey().length());
                    Object value = type.getField(name).get(null);
                    assertEquals(field.getInt(null), code.invoke(value), field.getName());
                    found++;
                }
            }
            assertEquals(type.getEnumConstants().length, found, pair.getValue());
        }
        for (Status status : Status.values()) {
            if (status != Status.UNKNOWN) {
                assertEquals(status.ordinal(),
                        Constants.class.getField(status.name()).getInt(null), status.name());
            }
        }
        assertEquals(Status.UNKNOWN.ordinal(), Constants.INTERNAL + 1);
    }
}
