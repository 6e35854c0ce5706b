package dev.fathom;

/**
 * A whole answer.
 *
 * @param reasoning the model's reasoning; empty for none
 * @param text the answer
 * @param finishReason why it ended, never {@link FinishReason#ERROR}
 * @param usage exact counts
 */
public record Answer(String reasoning, String text, FinishReason finishReason, Usage usage) {}
