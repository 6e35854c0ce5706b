package dev.fathom;

import static dev.fathom.Library.NATIVE;

/** Calls that say how much room they want when they are given none. */
final class Counted {
    /** Fills {@code capacity} elements at {@code room} and stores the count in scratch.out(). */
    interface Call {
        int into(long room, long capacity);
    }

    private Counted() {}

    static int[] ints(Scratch scratch, Call call) {
        Library.check(call.into(0, 0), scratch);
        int[] copy = new int[Math.toIntExact(scratch.outValue())];
        if (copy.length > 0) {
            Struct room = scratch.room(Math.multiplyExact(copy.length, Integer.BYTES));
            Library.check(call.into(room.address(), copy.length), scratch);
            NATIVE.copy(room.address(), copy);
        }
        return copy;
    }

    static byte[] bytes(Scratch scratch, Call call) {
        Library.check(call.into(0, 0), scratch);
        byte[] copy = new byte[Math.toIntExact(scratch.outValue())];
        if (copy.length > 0) {
            Struct room = scratch.room(copy.length);
            Library.check(call.into(room.address(), copy.length), scratch);
            NATIVE.copy(room.address(), copy);
        }
        return copy;
    }
}
