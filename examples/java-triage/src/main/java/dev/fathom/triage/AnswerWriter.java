package dev.fathom.triage;

import dev.fathom.Event;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Flow;
import java.util.function.BiConsumer;

/**
 * Writes an answer to a client as server-sent events. The next event is requested when the one
 * before was written: a client that reads slowly slows the model down, for its own answer alone,
 * and one that went away stops it.
 */
final class AnswerWriter implements Flow.Subscriber<Event> {
    private final String message;
    private final OutputStream out;
    private final BiConsumer<Verdict, Throwable> end;
    private final StringBuilder answer = new StringBuilder();
    private Flow.Subscription subscription;
    private Event.Done done;

    /** {@code end} is called once, with a verdict or with what went wrong. */
    AnswerWriter(String message, OutputStream out, BiConsumer<Verdict, Throwable> end) {
        this.message = message;
        this.out = out;
        this.end = end;
    }

    @Override
    public void onSubscribe(Flow.Subscription given) {
        subscription = given;
        subscription.request(1);
    }

    @Override
    public void onNext(Event event) {
        if (event instanceof Event.Text piece) {
            answer.append(piece.text());
            write("text", Ticket.JSON.getNodeFactory().textNode(piece.text()).toString());
        } else if (event instanceof Event.Done last) {
            done = last;
        }
        subscription.request(1);
    }

    @Override
    public void onError(Throwable failure) {
        end.accept(null, failure);
    }

    @Override
    public void onComplete() {
        Verdict verdict = Verdict.of(answer.toString(), done.finishReason(), message);
        try {
            write("triage", verdict.json());
            end.accept(verdict, null);
        } catch (UncheckedIOException failure) {
            end.accept(verdict, failure);
        }
    }

    private void write(String event, String data) {
        try {
            // JSON on one line, so that no text can end an event or begin another.
            out.write(("event: " + event + "\ndata: " + data + "\n\n")
                    .getBytes(StandardCharsets.UTF_8));
            out.flush();
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }
}
