package dev.fathom;

/**
 * One turn of a conversation.
 *
 * @param role who says it
 * @param text what was said; never parsed for control tokens
 * @param reasoning of an assistant, before the text; null for none
 */
public record Message(Role role, String text, String reasoning) {
    /** A turn without reasoning. */
    public Message(Role role, String text) {
        this(role, text, null);
    }

    /** What the person or program asks. */
    public static Message user(String text) {
        return new Message(Role.USER, text);
    }

    /** Instructions from the operator. */
    public static Message system(String text) {
        return new Message(Role.SYSTEM, text);
    }

    /** What the model answered earlier. */
    public static Message assistant(String text) {
        return new Message(Role.ASSISTANT, text);
    }
}
