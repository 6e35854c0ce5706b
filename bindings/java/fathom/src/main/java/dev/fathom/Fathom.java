package dev.fathom;

import static dev.fathom.Library.NATIVE;
import static dev.fathom.Library.RAW;

import dev.fathom.spi.Constants;
import dev.fathom.spi.Layout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** What needs no engine. */
public final class Fathom {
    private Fathom() {}

    /** Version of the running library's interface: major times 65536 plus minor. */
    public static int abiVersion() {
        return RAW.abiVersion();
    }

    /** What the library was built from and with, as one line of JSON, for a support ticket. */
    public static String buildInfoJson() {
        return NATIVE.text(RAW.buildInfoJson());
    }

    /** Which provider calls the library: "ffm" or "jni". */
    public static String provider() {
        return Library.PROVIDER.name();
    }

    /** Whether the library has a capability, "arch.deepseek_v3" for instance. */
    public static boolean featureSupported(String name) {
        try (Scratch scratch = Scratch.take()) {
            return RAW.featureSupported(scratch.terminated(name)) != 0;
        }
    }

    /** The devices that an engine can use. */
    public static List<DeviceInfo> devices() {
        try (Scratch scratch = Scratch.take()) {
            Library.check(RAW.devicesQuery(0, scratch.out(), scratch.error()), scratch);
            int count = scratch.outInt();
            Struct first = scratch.room(Layout.DeviceInfo.SIZE * count);
            Library.check(RAW.structInit(first.address(), Layout.DeviceInfo.ID,
                    Layout.DeviceInfo.SIZE), scratch);
            Library.check(RAW.devicesQuery(first.address(), scratch.out(), scratch.error()),
                    scratch);
            List<DeviceInfo> devices = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                devices.add(DeviceInfo.read(first.at(i * Layout.DeviceInfo.SIZE)));
            }
            return devices;
        }
    }

    /**
     * What loading a folder will take, from its headers alone. Options may be null. What does not
     * fit into the engine's budget is a {@link BudgetException}, which has the plan all the same.
     */
    public static MemoryPlan estimate(EngineOptions engine, Path folder, ModelOptions options) {
        try (Scratch scratch = Scratch.take()) {
            Struct plan = scratch.sized(Layout.MemoryPlan.ID, Layout.MemoryPlan.SIZE);
            int status = RAW.modelEstimate(EngineOptions.address(engine, scratch),
                    ModelOptions.source(folder, scratch), ModelOptions.address(options, scratch),
                    plan.address(), scratch.error());
            if (status == Constants.BUDGET) {
                String message = Library.failure(status, scratch.takeError()).getMessage();
                throw new BudgetException(message, MemoryPlan.read(plan));
            }
            Library.check(status, scratch);
            return MemoryPlan.read(plan);
        }
    }

    /** Everything that the headers of a folder say, as JSON. Options may be null. */
    public static String inspect(EngineOptions engine, Path folder, ModelOptions options) {
        try (Scratch scratch = Scratch.take()) {
            Library.check(RAW.modelInspect(EngineOptions.address(engine, scratch),
                    ModelOptions.source(folder, scratch), ModelOptions.address(options, scratch),
                    scratch.out(), scratch.error()), scratch);
            return Library.takeText(scratch.outValue());
        }
    }
}
