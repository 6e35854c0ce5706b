package dev.fathom.triage;

import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;
import com.sun.net.httpserver.HttpServer;
import dev.fathom.EventStream;
import dev.fathom.FathomException;
import dev.fathom.Session;
import dev.fathom.Status;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.LongAdder;

/**
 * POST /tickets takes a message as plain text and answers with its queue: as server-sent events
 * where the client accepts them, else as one JSON object. GET /queues counts, GET /healthz tells.
 */
final class TriageServer implements AutoCloseable {
    private static final int BODY_BYTES_MAX = 4096;
    private static final int STOP_SECONDS = 5;

    private final TicketReader reader;
    private final HttpServer http;
    // One thread for each client that is being written to; the permits bound them.
    private final ExecutorService executor = Executors.newCachedThreadPool();
    private final Semaphore permits = new Semaphore(TicketReader.concurrentMost());
    private final Map<String, LongAdder> counts = new ConcurrentSkipListMap<>();

    TriageServer(TicketReader reader, InetSocketAddress address) throws IOException {
        this.reader = reader;
        http = HttpServer.create(address, 0);
        http.setExecutor(executor);
        http.createContext("/tickets", guarded("POST", this::tickets));
        http.createContext("/queues", guarded("GET", this::queues));
        http.createContext("/healthz", guarded("GET", exchange ->
                reply(exchange, reader.stats().deviceStatus() == Status.OK ? 200 : 503,
                        "{\"status\":\"" + reader.stats().deviceStatus() + "\"}")));
    }

    void start() {
        http.start();
    }

    int port() {
        return http.getAddress().getPort();
    }

    /** A handler for one method at exactly its path. What it throws ends one request. */
    private static HttpHandler guarded(String method, HttpHandler handler) {
        return exchange -> {
            try {
                String path = exchange.getRequestURI().getPath();
                if (!path.equals(exchange.getHttpContext().getPath())) {
                    reply(exchange, 404, error("no such path"));
                } else if (!exchange.getRequestMethod().equals(method)) {
                    exchange.getResponseHeaders().set("Allow", method);
                    reply(exchange, 405, error("wanted " + method));
                } else {
                    handler.handle(exchange);
                }
            } catch (IOException | RuntimeException failure) {
                exchange.close();
            }
        };
    }

    private void tickets(HttpExchange exchange) throws IOException {
        if (!permits.tryAcquire()) {
            exchange.getResponseHeaders().set("Retry-After", "1");
            reply(exchange, 503, error("all " + TicketReader.concurrentMost() + " places taken"));
            return;
        }
        boolean handedOver = false;
        Session session = null;
        try {
            byte[] body = exchange.getRequestBody().readNBytes(BODY_BYTES_MAX + 1);
            String message = utf8(body);
            if (body.length > BODY_BYTES_MAX || message == null || message.isBlank()) {
                reply(exchange, body.length > BODY_BYTES_MAX ? 413 : 400, error("wanted a text of "
                        + "1 to " + BODY_BYTES_MAX + " bytes of UTF-8, found " + body.length));
                return;
            }
            session = reader.newSession();
            answer(exchange, session, message);
            handedOver = true;
        } catch (FathomException failure) {
            reply(exchange, status(failure), error(failure.getMessage()));
        } finally {
            if (!handedOver) {
                finish(session);
            }
        }
    }

    /** Begins the answer and returns; whoever delivers its last event ends the exchange. */
    private void answer(HttpExchange exchange, Session session, String message)
            throws IOException {
        EventStream stream = reader.read(session, message);
        String accept = String.valueOf(exchange.getRequestHeaders().getFirst("Accept"));
        if (accept.contains("text/event-stream")) {
            exchange.getResponseHeaders().set("Content-Type", "text/event-stream");
            exchange.getResponseHeaders().set("Cache-Control", "no-store");
            try {
                exchange.sendResponseHeaders(200, 0);
            } catch (IOException gone) {
                stream.close();
                throw gone;
            }
            stream.publisher(executor).subscribe(new AnswerWriter(message,
                    exchange.getResponseBody(), (verdict, failure) -> {
                        count(verdict);
                        exchange.close();
                        finish(session);
                    }));
        } else {
            stream.answer().whenCompleteAsync((answer, failure) -> {
                try {
                    Verdict verdict = failure != null
                            ? new Verdict(Verdict.PERSON, null, failure.getMessage())
                            : Verdict.of(answer.text(), answer.finishReason(), message);
                    count(verdict);
                    reply(exchange, 200, verdict.json());
                } catch (IOException gone) {
                    exchange.close();
                } finally {
                    finish(session);
                }
            }, executor);
        }
    }

    private void finish(Session session) {
        if (session != null) {
            session.close();
        }
        permits.release();
    }

    private void count(Verdict verdict) {
        counts.computeIfAbsent(verdict == null ? "gone" : verdict.queue(), name -> new LongAdder())
                .increment();
    }

    private void queues(HttpExchange exchange) throws IOException {
        ObjectNode node = Ticket.JSON.createObjectNode();
        counts.forEach((queue, count) -> node.put(queue, count.sum()));
        reply(exchange, 200, node.toString());
    }

    /** The text, or null when the bytes are not UTF-8. */
    private static String utf8(byte[] bytes) {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
        } catch (CharacterCodingException failure) {
            return null;
        }
    }

    private static int status(FathomException failure) {
        return switch (failure.status()) {
            case CONTEXT_FULL -> 413;
            case INVALID_ARGUMENT, TEMPLATE -> 400;
            case BUDGET, SHUTDOWN, NO_MEMORY -> 503;
            default -> 500;
        };
    }

    private static String error(String message) {
        return Ticket.JSON.createObjectNode().put("error", message).toString();
    }

    private static void reply(HttpExchange exchange, int status, String json) throws IOException {
        byte[] bytes = (json + "\n").getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, bytes.length);
        exchange.getResponseBody().write(bytes);
        exchange.close();
    }

    /** Takes no new requests and lets running ones end. */
    @Override
    public void close() {
        http.stop(STOP_SECONDS);
        executor.shutdown();
    }
}
