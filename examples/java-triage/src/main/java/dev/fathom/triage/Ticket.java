package dev.fathom.triage;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.time.DateTimeException;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * What the model read in a message. Nothing of it is believed before it was checked: an answer of a
 * model is input like any other.
 *
 * @param id the customer's ticket number; null when the message has none
 * @param customer who writes; null when the message does not say
 * @param product what it is about; null when the message does not say
 * @param priority how much it hurries; null when the message does not say
 * @param date since when; null when the message does not say
 */
record Ticket(String id, String customer, String product, Priority priority, LocalDate date) {
    private static final List<String> FIELDS =
            List.of("type", "id", "customer", "product", "priority", "date");
    private static final int TEXT_MAX = 200;

    static final ObjectMapper JSON = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build();

    /** How much a ticket hurries, and whose desk it goes to. */
    enum Priority {
        URGENT("on-call"), HIGH("today"), NORMAL("week"), LOW("backlog");

        final String queue;

        Priority(String queue) {
            this.queue = queue;
        }

        /** As the model writes it. */
        String word() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** An answer that is no ticket; the message says why. */
    static final class Unreadable extends Exception {
        private static final long serialVersionUID = 1;

        Unreadable(String reason) {
            super(reason);
        }
    }

    /** The ticket in an answer. Customer and id must be in the message, or they are invented. */
    static Ticket parse(String answer, String message) throws Unreadable {
        JsonNode node;
        try {
            node = JSON.readTree(answer);
        } catch (JsonProcessingException failure) {
            throw new Unreadable("the answer is not JSON: " + failure.getOriginalMessage());
        }
        List<String> found = new ArrayList<>();
        node.fieldNames().forEachRemaining(found::add);
        if (!found.equals(FIELDS)) {
            throw new Unreadable("the answer has fields " + found + ", wanted " + FIELDS);
        }
        if (!node.get("type").asText().equals("ticket")) {
            throw new Unreadable("the message reads like an " + node.get("type").asText());
        }
        Ticket ticket = new Ticket(text(node, "id"), text(node, "customer"), text(node, "product"),
                priority(node), date(node));
        for (String copied : new String[] {ticket.id, ticket.customer}) {
            if (copied != null && !message.contains(copied)) {
                throw new Unreadable("'" + copied + "' is not in the message");
            }
        }
        return ticket;
    }

    /** The desk that it goes to; one that does not say how much it hurries is a normal one. */
    String queue() {
        return (priority == null ? Priority.NORMAL : priority).queue;
    }

    private static String text(JsonNode node, String field) throws Unreadable {
        JsonNode value = node.get(field);
        if (value.isNull()) {
            return null;
        }
        if (!value.isTextual() || value.asText().isEmpty() || value.asText().length() > TEXT_MAX) {
            throw new Unreadable(field + " is " + value + ", wanted a text or null");
        }
        return value.asText();
    }

    private static Priority priority(JsonNode node) throws Unreadable {
        if (node.get("priority").isNull()) {
            return null;
        }
        for (Priority priority : Priority.values()) {
            if (priority.word().equals(node.get("priority").asText())) {
                return priority;
            }
        }
        throw new Unreadable("priority is " + node.get("priority") + ", wanted urgent, high, "
                + "normal, low or null");
    }

    private static LocalDate date(JsonNode node) throws Unreadable {
        String text = text(node, "date");
        try {
            return text == null ? null : LocalDate.parse(text);
        } catch (DateTimeException failure) {
            throw new Unreadable("date is " + text + ", wanted year-month-day");
        }
    }
}
