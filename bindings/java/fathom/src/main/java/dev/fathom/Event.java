package dev.fathom;

import java.util.List;

/** One event of a stream. */
public sealed interface Event {
    /** 0, 1, 2, ... within the stream. */
    long sequence();

    /**
     * Prompt tokens were computed.
     *
     * @param sequence number within the stream
     * @param tokensDone prompt tokens computed
     * @param tokensTotal prompt tokens to compute
     */
    record Progress(long sequence, long tokensDone, long tokensTotal) implements Event {}

    /**
     * A piece of the model's reasoning.
     *
     * @param sequence number within the stream
     * @param text whole characters
     * @param ids tokens generated since the event before; not copied
     */
    record Reasoning(long sequence, String text, int[] ids) implements Event {}

    /**
     * A piece of the answer.
     *
     * @param sequence number within the stream
     * @param text whole characters
     * @param ids tokens generated since the event before; not copied
     */
    record Text(long sequence, String text, int[] ids) implements Event {}

    /**
     * Log-probabilities: of prompt tokens, or of the tokens of the event before.
     *
     * @param sequence number within the stream
     * @param logprobs each token, then its {@link Logprob#nAbove} alternatives
     */
    record Logprobs(long sequence, List<Logprob> logprobs) implements Event {}

    /**
     * The last event.
     *
     * @param sequence number within the stream
     * @param finishReason why the answer ended
     * @param status OK, or what failed
     * @param message what failed, in words
     * @param ids tokens generated since the event before; not copied
     * @param usage exact counts of the stream
     */
    record Done(long sequence, FinishReason finishReason, Status status, String message, int[] ids,
            Usage usage) implements Event {}

    /**
     * A token with its log-probability, natural logarithm, before temperature and penalties.
     *
     * @param token token id
     * @param position position in the transcript
     * @param logprob log P(token | everything before)
     * @param nAbove alternatives that follow for this position
     */
    record Logprob(int token, int position, float logprob, int nAbove) {}
}
