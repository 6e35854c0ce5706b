package dev.fathom.triage;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.fathom.FinishReason;

/**
 * Where a message goes.
 *
 * @param queue the desk; "person" when the message could not be read by the model
 * @param ticket what was read; null for "person"
 * @param reason why a person has to look; null when none has to
 */
record Verdict(String queue, Ticket ticket, String reason) {
    static final String PERSON = "person";

    /** The verdict on a whole answer. */
    static Verdict of(String answer, FinishReason finish, String message) {
        if (finish != FinishReason.END_OF_TURN) {
            return new Verdict(PERSON, null, "the answer ended with " + finish);
        }
        try {
            Ticket ticket = Ticket.parse(answer, message);
            return new Verdict(ticket.queue(), ticket, null);
        } catch (Ticket.Unreadable failure) {
            return new Verdict(PERSON, null, failure.getMessage());
        }
    }

    /** One line. */
    String json() {
        ObjectNode node = Ticket.JSON.createObjectNode().put("queue", queue);
        if (ticket != null) {
            node.put("id", ticket.id()).put("customer", ticket.customer())
                    .put("product", ticket.product())
                    .put("priority", ticket.priority() == null ? null : ticket.priority().word())
                    .put("date", ticket.date() == null ? null : ticket.date().toString());
        } else {
            node.put("reason", reason);
        }
        return node.toString();
    }
}
