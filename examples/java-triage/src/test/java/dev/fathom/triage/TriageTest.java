package dev.fathom.triage;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.fathom.GenerateOptions;
import dev.fathom.Session;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class TriageTest {
    private static final Path DEMO =
            Path.of(System.getProperty("fathom.repository"), "examples/demo-model");
    private static final String URGENT = "Hello, Case FE-77-69. We cannot work. Suric Hutin cannot "
            + "use the small door any more.";
    private static final Map<String, String> QUEUES = Map.of("urgent", "on-call", "high", "today",
            "normal", "week", "null", "week", "low", "backlog");
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    private static TicketReader reader;
    private static TriageServer server;

    @BeforeAll
    static void start() throws IOException {
        reader = new TicketReader(DEMO.resolve("model"));
        server = new TriageServer(reader,
                new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
        server.start();
    }

    @AfterAll
    static void stop() {
        await("all sessions closed", () -> reader.stats().nSessions() == 0);
        assertEquals(0, reader.stats().kvPagesUsed());
        server.close();
        reader.close();
    }

    private static void await(String what, BooleanSupplier condition) {
        long start = System.nanoTime();
        while (!condition.getAsBoolean()) {
            assertTrue(System.nanoTime() - start < 30_000_000_000L, "in vain: " + what);
            LockSupport.parkNanos(1_000_000);
        }
    }

    private static HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(
                URI.create("http://127.0.0.1:" + server.port() + path));
    }

    private static HttpResponse<String> post(byte[] body) throws Exception {
        return CLIENT.send(request("/tickets").POST(BodyPublishers.ofByteArray(body)).build(),
                BodyHandlers.ofString());
    }

    private static JsonNode json(String text) {
        try {
            return Ticket.JSON.readTree(text);
        } catch (IOException failure) {
            throw new java.io.UncheckedIOException(failure);
        }
    }

    // If this fails, messages go to wrong desks, or many at once hinder each other.
    @Test
    void sortsTickets() throws Exception {
        List<JsonNode> problems;
        try (Stream<String> lines = Files.lines(DEMO.resolve("problems/json.jsonl"))) {
            problems = lines.map(TriageTest::json)
                    .filter(line -> line.get("kind").asText().equals("json/ticket"))
                    .limit(60).toList();
        }
        List<CompletableFuture<HttpResponse<String>>> replies = new ArrayList<>();
        for (JsonNode problem : problems) {
            replies.add(CLIENT.sendAsync(request("/tickets").POST(
                    BodyPublishers.ofString(problem.get("user").asText())).build(),
                    BodyHandlers.ofString()));
        }
        int right = 0;
        for (int i = 0; i < problems.size(); i++) {
            assertEquals(200, replies.get(i).join().statusCode());
            JsonNode found = json(replies.get(i).join().body());
            JsonNode wanted = json(problems.get(i).get("answer").asText());
            String queue = QUEUES.get(wanted.get("priority").asText());
            boolean same = found.get("queue").asText().equals(queue);
            for (String field : List.of("id", "customer", "product", "priority", "date")) {
                same = same && wanted.get(field).equals(found.get(field));
            }
            right += same ? 1 : 0;
        }
        // The demo model reads 97 to 98 in 100 of these; see its README.
        assertTrue(right >= 55, right + " of 60");
        JsonNode queues = json(CLIENT.send(request("/queues").build(), BodyHandlers.ofString())
                .body());
        assertTrue(queues.get("on-call").asInt() > 0, queues.toString());
    }

    // If this fails, a client that streams sees other words than the verdict is made of.
    @Test
    void streams() throws Exception {
        HttpResponse<Stream<String>> reply = CLIENT.send(request("/tickets")
                .header("Accept", "text/event-stream").POST(BodyPublishers.ofString(URGENT))
                .build(), BodyHandlers.ofLines());
        assertEquals("text/event-stream", reply.headers().firstValue("Content-Type").get());
        List<String> lines = reply.body().toList();
        StringBuilder text = new StringBuilder();
        int pieces = 0;
        for (int i = 0; i < lines.size(); i++) {
            if (lines.get(i).equals("event: text")) {
                text.append(json(lines.get(i + 1).substring("data: ".length())).asText());
                pieces++;
            }
        }
        assertTrue(pieces > 10, pieces + " pieces");
        assertEquals("FE-77-69", json(text.toString()).get("id").asText());
        assertEquals("event: triage", lines.get(lines.size() - 3));
        assertEquals("{\"queue\":\"on-call\",\"id\":\"FE-77-69\",\"customer\":\"Suric Hutin\","
                + "\"product\":\"small door\",\"priority\":\"urgent\",\"date\":null}",
                lines.get(lines.size() - 2).substring("data: ".length()));
    }

    // If this fails, the model computes on for a client that does not read.
    @Test
    void slowClientsSlowTheModel() {
        Semaphore room = new Semaphore(5); // Writes that the client has room for.
        OutputStream client = new OutputStream() {
            @Override
            public void write(int one) {
                throw new UnsupportedOperationException();
            }

            @Override
            public void write(byte[] bytes) {
                room.acquireUninterruptibly();
            }
        };
        try (Session session = reader.newSession()) {
            long before = reader.stats().decodeTokens();
            CompletableFuture<Throwable> end = new CompletableFuture<>();
            reader.read(session, URGENT, new GenerateOptions().ignoreEos(true).maxTokens(800))
                    .publisher().subscribe(new AnswerWriter(URGENT, client,
                            (verdict, failure) -> end.complete(failure)));
            await("five writes", () -> room.availablePermits() == 0 && room.hasQueuedThreads());
            long steps;
            do { // Until the engine has nothing more to do.
                steps = reader.stats().nSteps();
                LockSupport.parkNanos(50_000_000);
            } while (steps != reader.stats().nSteps());
            long computed = reader.stats().decodeTokens() - before;
            assertTrue(computed < 100, computed + " tokens for a client that took five");
            assertTrue(session.describe().running());
            room.release(100_000);
            end.join();
            assertTrue(reader.stats().decodeTokens() - before >= 800);
        }
    }

    // If this fails, the model computes on for a client that went away.
    @Test
    void goneClientsStopTheModel() {
        try (Session session = reader.newSession()) {
            CompletableFuture<Throwable> end = new CompletableFuture<>();
            OutputStream client = new OutputStream() {
                @Override
                public void write(int one) throws IOException {
                    throw new IOException("connection reset");
                }
            };
            reader.read(session, URGENT, new GenerateOptions().ignoreEos(true))
                    .publisher().subscribe(new AnswerWriter(URGENT, client,
                            (verdict, failure) -> end.complete(failure)));
            assertEquals("connection reset", end.join().getCause().getMessage());
            await("the stream to end", () -> !session.describe().running());
        }
    }

    // If this fails, disconnecting at random takes places or sessions with it.
    @Test
    void manyClientsDisconnect() throws Exception {
        for (int i = 0; i < 100; i++) {
            try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), server.port())) {
                String head = "POST /tickets HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
                        + "Content-Length: " + URGENT.length() + "\r\n\r\n";
                socket.getOutputStream().write((head + URGENT).getBytes(StandardCharsets.UTF_8));
                socket.setSoLinger(true, 0); // A reset, not a polite end.
                for (int read = 0; read < i * 3; read++) {
                    socket.getInputStream().read();
                }
            }
        }
        await("all sessions closed", () -> reader.stats().nSessions() == 0);
        assertEquals(200, post(URGENT.getBytes(StandardCharsets.UTF_8)).statusCode());
    }

    // If this fails, what a client must not send reaches the model.
    @Test
    void limits() throws Exception {
        assertEquals(400, post(new byte[0]).statusCode());
        assertEquals(400, post(new byte[] {(byte) 0xff, (byte) 0xfe}).statusCode());
        assertEquals(413, post("x".repeat(4097).getBytes(StandardCharsets.UTF_8)).statusCode());
        HttpResponse<String> reply = post("1 ".repeat(2048).getBytes(StandardCharsets.UTF_8));
        assertEquals(413, reply.statusCode(), reply.body()); // More tokens than the context has.
        assertEquals(405, CLIENT.send(request("/tickets").build(), BodyHandlers.ofString())
                .statusCode());
        assertEquals(404, CLIENT.send(request("/tickets/7").build(), BodyHandlers.ofString())
                .statusCode());
        reply = CLIENT.send(request("/healthz").build(), BodyHandlers.ofString());
        assertEquals("{\"status\":\"OK\"}\n", reply.body());
    }

    // If this fails, an answer of the model is believed without a look.
    @Test
    void answersAreChecked() throws Exception {
        String right = "{\"type\":\"ticket\",\"id\":\"A-1\",\"customer\":null,\"product\":\"fan\","
                + "\"priority\":\"low\",\"date\":\"2027-04-15\"}";
        assertEquals("backlog", Ticket.parse(right, "about A-1").queue());
        for (String[] change : new String[][] {{"ticket\"", "order\""}, {"low", "whatever"},
                {"-15", "-99"}, {"\"fan\"", "7"}, {"\"fan\"", "\"\""}, {"}", ",\"x\":1}"},
                {"}", "} and more"}, {"null", "\"Somebody Else\""}, {"A-1", "A-2"},
                {"\"date\"", "\"id\""}}) {
            String wrong = right.replace(change[0], change[1]);
            assertThrows(Ticket.Unreadable.class, () -> Ticket.parse(wrong, "about A-1"), wrong);
        }
        HttpResponse<String> reply = post("What is 12 + 34?".getBytes(StandardCharsets.UTF_8));
        assertEquals("person", json(reply.body()).get("queue").asText());
    }
}
