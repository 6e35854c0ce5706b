package dev.fathom.ffm;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.fathom.spi.Natives;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;

/** The opened library. dlopen itself is called, because it says what is wrong. */
@SuppressWarnings("restricted") // That native code is called is the purpose.
final class FfmLibrary {
    private static final int RTLD_NOW = 2;
    private static final Linker LINKER = Linker.nativeLinker();
    private static final MethodHandle DLSYM = system("dlsym",
            FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_LONG));

    // Written before FfmRaw, which asks for all its handles, is touched.
    private static volatile long library;

    private FfmLibrary() {}

    static void open(String path) {
        MethodHandle dlopen =
                system("dlopen", FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_INT));
        MethodHandle dlerror = system("dlerror", FunctionDescriptor.of(JAVA_LONG));
        try (Arena arena = Arena.ofConfined()) {
            library = (long) dlopen.invokeExact(arena.allocateFrom(path).address(), RTLD_NOW);
            if (library == 0) {
                String reason = FfmNative.string((long) dlerror.invokeExact());
                throw new UnsatisfiedLinkError(Natives.whereLooked(path, reason));
            }
        } catch (UnsatisfiedLinkError failure) {
            throw failure;
        } catch (Throwable failure) {
            throw impossible(failure);
        }
    }

    /** A function of the library. */
    static MethodHandle handle(String name, FunctionDescriptor descriptor) {
        long address;
        try (Arena arena = Arena.ofConfined()) {
            address = (long) DLSYM.invokeExact(library, arena.allocateFrom(name).address());
        } catch (Throwable failure) {
            throw impossible(failure);
        }
        if (address == 0) {
            throw new UnsatisfiedLinkError("the library has no function " + name);
        }
        return LINKER.downcallHandle(MemorySegment.ofAddress(address), descriptor);
    }

    /** A function of libc. */
    static MethodHandle system(String name, FunctionDescriptor descriptor,
            Linker.Option... options) {
        MemorySegment address = LINKER.defaultLookup().find(name)
                .orElseThrow(() -> new UnsatisfiedLinkError("the C library has no " + name));
        return LINKER.downcallHandle(address, descriptor, options);
    }

    /** The address of a C function that calls a static method of {@code target}. */
    static long upcall(MethodHandles.Lookup target, String name, MethodType type,
            FunctionDescriptor descriptor) {
        try {
            MethodHandle method = target.findStatic(target.lookupClass(), name, type);
            return LINKER.upcallStub(method, descriptor, Arena.global()).address();
        } catch (ReflectiveOperationException failure) {
            throw impossible(failure);
        }
    }

    /** A downcall throws nothing of its own but errors of the JVM. */
    static RuntimeException impossible(Throwable failure) {
        if (failure instanceof Error error) {
            throw error;
        }
        return new IllegalStateException(failure);
    }
}
