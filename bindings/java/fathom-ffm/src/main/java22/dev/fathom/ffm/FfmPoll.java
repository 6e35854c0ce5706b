package dev.fathom.ffm;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;

/** epoll of Linux. */
final class FfmPoll {
    private static final int EPOLL_CLOEXEC = 0x80000;
    private static final int EPOLLIN = 1;
    private static final int EPOLLONESHOT = 1 << 30;
    private static final int EVENTS_MAX = 256;

    // struct epoll_event { uint32_t events; epoll_data_t data; }, packed on x86 alone.
    private static final boolean PACKED = System.getProperty("os.arch").equals("amd64");
    private static final int EVENT_BYTES = PACKED ? 12 : 16;
    private static final int DATA = PACKED ? 4 : 8;

    private static final StructLayout STATE = Linker.Option.captureStateLayout();
    private static final VarHandle ERRNO =
            STATE.varHandle(StructLayout.PathElement.groupElement("errno"));
    private static final MethodHandle CREATE = call("epoll_create1",
            FunctionDescriptor.of(JAVA_INT, JAVA_INT));
    private static final MethodHandle CONTROL = call("epoll_ctl",
            FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG));
    private static final MethodHandle WAIT = call("epoll_wait",
            FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT));

    private static MethodHandle call(String name, FunctionDescriptor descriptor) {
        return FfmLibrary.system(name, descriptor, Linker.Option.captureCallState("errno"));
    }

    private static int failed(MemorySegment state) {
        return -(int) ERRNO.get(state, 0L);
    }

    int create() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment state = arena.allocate(STATE);
            int poll = (int) CREATE.invokeExact(state, EPOLL_CLOEXEC);
            return poll < 0 ? failed(state) : poll;
        } catch (Throwable failure) {
            throw FfmLibrary.impossible(failure);
        }
    }

    int control(int poll, int operation, int descriptor) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment state = arena.allocate(STATE);
            MemorySegment event = arena.allocate(EVENT_BYTES, 8);
            event.set(JAVA_INT, 0, EPOLLIN | EPOLLONESHOT);
            event.set(JAVA_INT, DATA, descriptor);
            int status = (int) CONTROL.invokeExact(state, poll, operation, descriptor,
                    event.address());
            return status < 0 ? failed(state) : 0;
        } catch (Throwable failure) {
            throw FfmLibrary.impossible(failure);
        }
    }

    int await(int poll, int[] descriptors) {
        int room = Math.min(descriptors.length, EVENTS_MAX);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment state = arena.allocate(STATE);
            MemorySegment events = arena.allocate((long) EVENT_BYTES * room, 8);
            int count = (int) WAIT.invokeExact(state, poll, events.address(), room, -1);
            if (count < 0) {
                return failed(state);
            }
            for (int i = 0; i < count; i++) {
                descriptors[i] = events.get(JAVA_INT, (long) i * EVENT_BYTES + DATA);
            }
            return count;
        } catch (Throwable failure) {
            throw FfmLibrary.impossible(failure);
        }
    }
}
