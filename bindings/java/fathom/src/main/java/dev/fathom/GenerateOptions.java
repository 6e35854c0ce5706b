package dev.fathom;

import dev.fathom.spi.Constants;
import dev.fathom.spi.Layout;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Options of one answer. What is not set is the library's default: greedy, no limit. */
public final class GenerateOptions {
    private int flags;
    private long maxTokens;
    private float temperature;
    private int topK;
    private float topP;
    private float minP;
    private float repetitionPenalty;
    private float presencePenalty;
    private float frequencyPenalty;
    private int logprobs;
    private long seed;
    private Map<Integer, Float> logitBias = Map.of();
    private List<String> stop = List.of();
    private int[] stopIds = {};
    private Duration deadline;

    /** All defaults. */
    public GenerateOptions() {}

    private GenerateOptions flag(int flag, boolean value) {
        flags = value ? flags | flag : flags & ~flag;
        return this;
    }

    /** Append the prompt to the transcript instead of replacing it. */
    public GenerateOptions append(boolean value) {
        return flag(Constants.GENERATE_APPEND, value);
    }

    /** Compute the prompt and stop; no token is generated. */
    public GenerateOptions promptOnly(boolean value) {
        return flag(Constants.GENERATE_PROMPT_ONLY, value);
    }

    /** Deliver the log-probability of every prompt token after the first that is computed. */
    public GenerateOptions promptLogprobs(boolean value) {
        return flag(Constants.GENERATE_PROMPT_LOGPROBS, value);
    }

    /** Do not stop at the dialect's end of turn. */
    public GenerateOptions ignoreEos(boolean value) {
        return flag(Constants.GENERATE_IGNORE_EOS, value);
    }

    /** Most tokens to generate; 0: what the context leaves. */
    public GenerateOptions maxTokens(long value) {
        maxTokens = value;
        return this;
    }

    /** 0: greedy; else 0.01 to 100. */
    public GenerateOptions temperature(double value) {
        temperature = (float) value;
        return this;
    }

    /** Keep the k most likely tokens; 0: all. */
    public GenerateOptions topK(int value) {
        topK = value;
        return this;
    }

    /** Keep the smallest set with this probability; 0 or 1: all. */
    public GenerateOptions topP(double value) {
        topP = (float) value;
        return this;
    }

    /** Drop tokens below this share of the best one's probability. */
    public GenerateOptions minP(double value) {
        minP = (float) value;
        return this;
    }

    /** Divides positive logits of tokens seen; 0 or 1: none. */
    public GenerateOptions repetitionPenalty(double value) {
        repetitionPenalty = (float) value;
        return this;
    }

    /** Subtracted once from logits of generated tokens, -2 to 2. */
    public GenerateOptions presencePenalty(double value) {
        presencePenalty = (float) value;
        return this;
    }

    /** Subtracted for each occurrence, -2 to 2. */
    public GenerateOptions frequencyPenalty(double value) {
        frequencyPenalty = (float) value;
        return this;
    }

    /** 1 + the number of alternatives to deliver with each log-probability, 1 to 21; 0: none. */
    public GenerateOptions logprobs(int value) {
        logprobs = value;
        return this;
    }

    /** Randomness is a function of seed and position alone. */
    public GenerateOptions seed(long value) {
        seed = value;
        return this;
    }

    /** Token ids and what to add to their logits. */
    public GenerateOptions logitBias(Map<Integer, Float> value) {
        // Copied in the order given, which is the order that an error's index speaks of.
        logitBias = new LinkedHashMap<>(value);
        return this;
    }

    /** Strings that end the answer; the text before one is delivered. */
    public GenerateOptions stop(String... value) {
        stop = List.of(value);
        return this;
    }

    /** Token ids that end the answer, beside the dialect's own. */
    public GenerateOptions stopIds(int... value) {
        stopIds = value.clone();
        return this;
    }

    /** Time from now after which the answer ends with {@link FinishReason#DEADLINE}. */
    public GenerateOptions deadline(Duration value) {
        deadline = value;
        return this;
    }

    static long address(GenerateOptions options, Scratch scratch) {
        return options == null ? 0 : options.write(scratch).address();
    }

    private Struct write(Scratch scratch) {
        return scratch.sized(Layout.GenerateOptions.ID, Layout.GenerateOptions.SIZE)
                .set(Layout.GenerateOptions.FLAGS, flags)
                .set(Layout.GenerateOptions.MAX_TOKENS, maxTokens)
                .set(Layout.GenerateOptions.TEMPERATURE, temperature)
                .set(Layout.GenerateOptions.TOP_K, topK)
                .set(Layout.GenerateOptions.TOP_P, topP)
                .set(Layout.GenerateOptions.MIN_P, minP)
                .set(Layout.GenerateOptions.REPETITION_PENALTY, repetitionPenalty)
                .set(Layout.GenerateOptions.PRESENCE_PENALTY, presencePenalty)
                .set(Layout.GenerateOptions.FREQUENCY_PENALTY, frequencyPenalty)
                .set(Layout.GenerateOptions.LOGPROBS, logprobs)
                .set(Layout.GenerateOptions.SEED, seed)
                .set(Layout.GenerateOptions.LOGIT_BIAS, writeBias(scratch))
                .set(Layout.GenerateOptions.N_LOGIT_BIAS, (long) logitBias.size())
                .set(Layout.GenerateOptions.STOP, writeStop(scratch))
                .set(Layout.GenerateOptions.N_STOP, (long) stop.size())
                .set(Layout.GenerateOptions.STOP_IDS, scratch.ints(stopIds))
                .set(Layout.GenerateOptions.N_STOP_IDS, (long) stopIds.length)
                .set(Layout.GenerateOptions.DEADLINE_NS, deadline);
    }

    private long writeBias(Scratch scratch) {
        if (logitBias.isEmpty()) {
            return 0;
        }
        Struct array = scratch.room(Layout.LogitBias.SIZE * logitBias.size());
        int at = 0;
        for (Map.Entry<Integer, Float> entry : logitBias.entrySet()) {
            array.set(at + Layout.LogitBias.TOKEN, entry.getKey().intValue())
                    .set(at + Layout.LogitBias.BIAS, entry.getValue().floatValue());
            at += Layout.LogitBias.SIZE;
        }
        return array.address();
    }

    private long writeStop(Scratch scratch) {
        if (stop.isEmpty()) {
            return 0;
        }
        Struct array = scratch.room(Layout.Text.SIZE * stop.size());
        int at = 0;
        for (String text : stop) {
            scratch.text(array, at + Layout.Text.DATA, at + Layout.Text.BYTES, text);
            at += Layout.Text.SIZE;
        }
        return array.address();
    }
}
