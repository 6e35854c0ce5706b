package dev.fathom;

import static dev.fathom.Library.NATIVE;
import static dev.fathom.Library.RAW;

import dev.fathom.spi.Constants;
import dev.fathom.spi.Layout;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Turns the events of C into those of Java. One user at a time. */
final class EventReader {
    private static final int[] NO_IDS = {};

    // Made at the first read, because not every stream that is opened is read.
    private Struct event;

    /** The next event, or null when there is none yet. */
    Event read(long stream) {
        if (event == null) {
            ByteBuffer room = Scratch.direct(Layout.Event.SIZE);
            Struct made = new Struct(room, 0, NATIVE.address(room));
            RAW.structInit(made.address(), Layout.Event.ID, Layout.Event.SIZE);
            event = made;
        }
        // No error object is asked for, as "not yet" would make one each time.
        int status = RAW.streamNext(stream, 0, event.address(), 0);
        if (status == Constants.OK) {
            return made(stream);
        }
        if (status == Constants.TIMEOUT) {
            return null;
        }
        throw new FathomException(Status.of(status), status == Constants.BAD_STATE
                ? "stream: its last event was delivered"
                : "stream: " + NATIVE.text(RAW.statusName(status)));
    }

    private Event made(long stream) {
        long sequence = event.int64(Layout.Event.SEQUENCE);
        int type = event.int32(Layout.Event.TYPE);
        return switch (type) {
            case Constants.EVENT_PROGRESS -> new Event.Progress(sequence,
                    event.int64(Layout.Event.TOKENS_DONE), event.int64(Layout.Event.TOKENS_TOTAL));
            case Constants.EVENT_REASONING -> new Event.Reasoning(sequence, text(), ids());
            case Constants.EVENT_TEXT -> new Event.Text(sequence, text(), ids());
            case Constants.EVENT_LOGPROBS -> new Event.Logprobs(sequence, logprobs());
            case Constants.EVENT_DONE -> new Event.Done(sequence,
                    FinishReason.of(event.int32(Layout.Event.FINISH_REASON)),
                    Status.of(event.int32(Layout.Event.STATUS)), text(), ids(), usage(stream));
            default -> throw new FathomException(Status.UNSUPPORTED, "stream: event type " + type
                    + " is newer than this binding");
        };
    }

    private String text() {
        int bytes = Math.toIntExact(event.int64(Layout.Event.TEXT_BYTES));
        if (bytes == 0) {
            return "";
        }
        byte[] utf8 = new byte[bytes];
        NATIVE.copy(event.int64(Layout.Event.TEXT), utf8);
        return new String(utf8, StandardCharsets.UTF_8);
    }

    private int[] ids() {
        int count = Math.toIntExact(event.int64(Layout.Event.N_IDS));
        if (count == 0) {
            return NO_IDS;
        }
        int[] ids = new int[count];
        NATIVE.copy(event.int64(Layout.Event.IDS), ids);
        return ids;
    }

    private List<Event.Logprob> logprobs() {
        int count = Math.toIntExact(event.int64(Layout.Event.N_LOGPROBS));
        int stride = Layout.Logprob.SIZE / Integer.BYTES;
        int[] words = new int[Math.multiplyExact(count, stride)];
        NATIVE.copy(event.int64(Layout.Event.LOGPROBS), words);
        List<Event.Logprob> logprobs = new ArrayList<>(count);
        for (int at = 0; at < words.length; at += stride) {
            logprobs.add(new Event.Logprob(words[at + Layout.Logprob.TOKEN / Integer.BYTES],
                    words[at + Layout.Logprob.POSITION / Integer.BYTES],
                    Float.intBitsToFloat(words[at + Layout.Logprob.LOGPROB / Integer.BYTES]),
                    words[at + Layout.Logprob.N_ABOVE / Integer.BYTES]));
        }
        return List.copyOf(logprobs);
    }

    static Usage usage(long stream) {
        try (Scratch scratch = Scratch.take()) {
            Struct usage = scratch.sized(Layout.Usage.ID, Layout.Usage.SIZE);
            Library.check(RAW.streamUsage(stream, usage.address(), scratch.error()), scratch);
            return Usage.read(usage);
        }
    }
}
