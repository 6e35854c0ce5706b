package dev.fathom.conformance;

import dev.fathom.Event;
import dev.fathom.EventStream;
import dev.fathom.FathomException;
import dev.fathom.RawAccess;
import dev.fathom.Session;
import dev.fathom.SessionDescription;
import dev.fathom.Status;
import dev.fathom.Usage;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;

/** What the steps write their log with; bindings/conformance/README.md has the formats. */
final class EventLog {
    private static final PrintStream OUT = new PrintStream(
            new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);

    private EventLog() {}

    static void flush() {
        OUT.flush();
    }

    /** Ends the program unless it holds: the log would be worthless. */
    static void require(boolean holds, String wanted) {
        if (!holds) {
            throw new IllegalStateException("wanted " + wanted);
        }
    }

    static void step(int number, String title) {
        OUT.print(String.format(Locale.ROOT, "== %02d %s\n", number, title));
    }

    static void line(String name, String format, Object... values) {
        OUT.print(name + ": " + String.format(Locale.ROOT, format, values) + "\n");
    }

    static void line(String name, boolean truth) {
        line(name, truth ? "1" : "0");
    }

    static void text(String name, String text) {
        OUT.print(name + ": " + quoted(text) + "\n");
    }

    static void ids(String name, int[] ids) {
        OUT.print(name + ": " + listed(ids) + "\n");
    }

    /** What a call of the public interface did. */
    static void status(String name, Runnable call) {
        Status status = Status.OK;
        try {
            call.run();
        } catch (FathomException failure) {
            require(!failure.getMessage().isEmpty(), "a message");
            status = failure.status();
        }
        status(name, status);
    }

    static void status(String name, Status status) {
        line(name, "FATHOM_" + status);
    }

    /** What a call of the raw layer did. */
    static void raw(String name, RawAccess.Call call) {
        RawAccess.Result result = RawAccess.call(call);
        require((result.status() == 0) == result.message().isEmpty(), "a message of a failure");
        line(name, statusName(result.status()));
    }

    static String statusName(int status) {
        return RawAccess.library().text(RawAccess.raw().statusName(status));
    }

    private static String quoted(String text) {
        return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + "\"";
    }

    private static String listed(int[] ids) {
        StringBuilder out = new StringBuilder("[");
        for (int id : ids) {
            out.append(out.length() > 1 ? "," : "").append(id);
        }
        return out.append("]").toString();
    }

    private static String logprobs(List<Event.Logprob> all) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < all.size();) {
            Event.Logprob token = all.get(i++);
            out.append(" ").append(token.token()).append("@").append(token.position()).append("=")
                    .append(thousandths(token));
            for (int above = 0; above < token.nAbove(); above++, i++) {
                require(all.get(i).position() == token.position(), "alternatives of the token");
                out.append("/").append(all.get(i).token()).append("=")
                        .append(thousandths(all.get(i)));
            }
        }
        return out.toString();
    }

    private static long thousandths(Event.Logprob token) {
        return (long) Math.floor(token.logprob() * 1000.0 + 0.5);
    }

    private static String shown(Event event) {
        if (event instanceof Event.Progress progress) {
            return "PROGRESS " + progress.tokensDone() + "/" + progress.tokensTotal();
        } else if (event instanceof Event.Reasoning piece) {
            return "REASONING " + quoted(piece.text()) + " " + listed(piece.ids());
        } else if (event instanceof Event.Text piece) {
            return "TEXT " + quoted(piece.text()) + " " + listed(piece.ids());
        } else if (event instanceof Event.Logprobs logprobs) {
            return "LOGPROBS" + logprobs(logprobs.logprobs());
        }
        Event.Done done = (Event.Done) event;
        return "DONE " + done.finishReason() + " FATHOM_" + done.status() + " "
                + listed(done.ids());
    }

    /** The tokens that an event brings. */
    static int[] ids(Event event) {
        return event instanceof Event.Reasoning piece ? piece.ids()
                : event instanceof Event.Text piece ? piece.ids()
                : event instanceof Event.Done done ? done.ids() : new int[0];
    }

    static void events(EventStream stream) {
        Event event;
        do {
            event = stream.next();
            OUT.print(event.sequence() + " " + shown(event) + "\n");
        } while (!(event instanceof Event.Done));
    }

    static void answer(String name, EventStream stream) {
        StringBuilder text = new StringBuilder();
        Event event;
        do {
            event = stream.next();
            text.append(event instanceof Event.Text piece ? piece.text() : "");
        } while (!(event instanceof Event.Done));
        text(name, text.toString());
        line("finish", "%s", ((Event.Done) event).finishReason());
    }

    static void end(String name, EventStream stream, long seen) {
        Event event;
        do {
            event = stream.next();
            seen += ids(event).length;
        } while (!(event instanceof Event.Done));
        Event.Done done = (Event.Done) event;
        Usage usage = stream.usage();
        line(name, "%s FATHOM_%s", done.finishReason(), done.status());
        line("usage counts the ids", usage.finished() && usage.equals(done.usage())
                && usage.reasoningTokens() + usage.outputTokens() == seen);
    }

    static void usage(EventStream stream) {
        Usage usage = stream.usage();
        line("usage", "finished=%d fresh=%d cached=%d reasoning=%d output=%d",
                usage.finished() ? 1 : 0, usage.promptFresh(), usage.promptCached(),
                usage.reasoningTokens(), usage.outputTokens());
    }

    static void session(String name, Session session) {
        SessionDescription facts = session.describe();
        line(name, "tokens=%d context=%d running=%d", facts.nTokens(), facts.context(),
                facts.running() ? 1 : 0);
    }
}
