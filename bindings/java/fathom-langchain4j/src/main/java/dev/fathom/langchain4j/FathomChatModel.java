package dev.fathom.langchain4j;

import dev.fathom.Event;
import dev.fathom.EventStream;
import dev.fathom.FathomException;
import dev.fathom.FinishReason;
import dev.fathom.Model;
import dev.fathom.Session;
import dev.fathom.Thinking;
import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.request.ChatRequestParameters;
import dev.langchain4j.model.chat.response.ChatResponse;

/**
 * A chat model in this process. The model stays the caller's to close. Tools and response formats
 * are refused. Interrupting a caller cancels its answer.
 */
public final class FathomChatModel implements ChatModel {
    private final Chat chat;
    private final ChatRequestParameters defaults;

    /** A chat model that reasons when the dialect does, with greedy decoding. */
    public FathomChatModel(Model model) {
        this(model, Thinking.AUTO, ChatRequestParameters.builder().build());
    }

    /** A chat model; {@code defaults} apply where a request says nothing. */
    public FathomChatModel(Model model, Thinking thinking, ChatRequestParameters defaults) {
        this.chat = new Chat(model, thinking);
        this.defaults = defaults;
    }

    @Override
    public ChatRequestParameters defaultRequestParameters() {
        return defaults;
    }

    @Override
    public ChatResponse doChat(ChatRequest request) {
        StringBuilder reasoning = new StringBuilder();
        StringBuilder text = new StringBuilder();
        // Read by the caller's own thread, so that interrupting it is noticed.
        try (Session session = chat.newSession();
                EventStream stream = chat.generate(session, request)) {
            while (true) {
                Event event = stream.next();
                if (event instanceof Event.Reasoning piece) {
                    reasoning.append(piece.text());
                } else if (event instanceof Event.Text piece) {
                    text.append(piece.text());
                } else if (event instanceof Event.Done done) {
                    if (done.finishReason() == FinishReason.ERROR) {
                        throw new FathomException(done.status(), done.message());
                    }
                    return Chat.response(text.toString(), reasoning.toString(),
                            done.finishReason(), done.usage());
                }
            }
        }
    }
}
