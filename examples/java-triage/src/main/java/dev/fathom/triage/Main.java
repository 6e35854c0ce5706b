package dev.fathom.triage;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Path;

/** Usage: java -jar fathom-triage.jar MODEL [PORT] */
public final class Main {
    private Main() {}

    /** Serves until it is told to stop. */
    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 1 || arguments.length > 2) {
            System.err.println("usage: java -jar fathom-triage.jar MODEL [PORT]");
            System.exit(2);
        }
        // A client that takes longer for its request or its answer loses its connection: seconds.
        System.setProperty("sun.net.httpserver.maxReqTime", "20");
        System.setProperty("sun.net.httpserver.maxRspTime", "120");
        int port = arguments.length == 2 ? Integer.parseInt(arguments[1]) : 8080;
        TicketReader reader = new TicketReader(Path.of(arguments[0]));
        TriageServer server = new TriageServer(reader,
                new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            server.close();
            reader.close();
        }));
        server.start();
        System.out.println("triage: listening on port " + server.port());
    }
}
