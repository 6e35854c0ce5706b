package dev.fathom.langchain4j;

import dev.fathom.Event;
import dev.fathom.EventStream;
import dev.fathom.FathomException;
import dev.fathom.FinishReason;
import dev.fathom.Model;
import dev.fathom.Session;
import dev.fathom.Thinking;
import dev.langchain4j.model.chat.StreamingChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.request.ChatRequestParameters;
import dev.langchain4j.model.chat.response.PartialResponse;
import dev.langchain4j.model.chat.response.PartialResponseContext;
import dev.langchain4j.model.chat.response.PartialThinking;
import dev.langchain4j.model.chat.response.PartialThinkingContext;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.chat.response.StreamingHandle;
import java.util.concurrent.Flow;

/**
 * A streaming chat model in this process. The model stays the caller's to close. A handler is
 * called by one thread at a time of the common pool; a slow one holds up its own answer alone, and
 * one that throws is told by onError() and called no more.
 */
public final class FathomStreamingChatModel implements StreamingChatModel {
    private final Chat chat;
    private final ChatRequestParameters defaults;

    /** A chat model that reasons when the dialect does, with greedy decoding. */
    public FathomStreamingChatModel(Model model) {
        this(model, Thinking.AUTO, ChatRequestParameters.builder().build());
    }

    /** A chat model; {@code defaults} apply where a request says nothing. */
    public FathomStreamingChatModel(Model model, Thinking thinking,
            ChatRequestParameters defaults) {
        this.chat = new Chat(model, thinking);
        this.defaults = defaults;
    }

    @Override
    public ChatRequestParameters defaultRequestParameters() {
        return defaults;
    }

    @Override
    public void doChat(ChatRequest request, StreamingChatResponseHandler handler) {
        Session session = chat.newSession();
        EventStream stream;
        try {
            stream = chat.generate(session, request);
        } catch (Throwable failure) {
            session.close();
            throw failure;
        }
        stream.publisher().subscribe(new Forwarder(session, handler));
    }

    /** Events to a handler, which may cancel. */
    private static final class Forwarder implements Flow.Subscriber<Event>, StreamingHandle {
        private final Session session;
        private final StreamingChatResponseHandler handler;
        private final StringBuilder reasoning = new StringBuilder();
        private final StringBuilder text = new StringBuilder();
        private Flow.Subscription subscription;
        private Event.Done done;
        private volatile boolean cancelled;

        Forwarder(Session session, StreamingChatResponseHandler handler) {
            this.session = session;
            this.handler = handler;
        }

        @Override
        public void onSubscribe(Flow.Subscription given) {
            subscription = given;
            given.request(Long.MAX_VALUE);
        }

        @Override
        public void onNext(Event event) {
            if (event instanceof Event.Reasoning piece) {
                reasoning.append(piece.text());
                handler.onPartialThinking(new PartialThinking(piece.text()),
                        new PartialThinkingContext(this));
            } else if (event instanceof Event.Text piece) {
                text.append(piece.text());
                handler.onPartialResponse(new PartialResponse(piece.text()),
                        new PartialResponseContext(this));
            } else if (event instanceof Event.Done last) {
                done = last;
            }
        }

        @Override
        public void onError(Throwable failure) {
            session.close();
            handler.onError(failure);
        }

        @Override
        public void onComplete() {
            if (done.finishReason() == FinishReason.ERROR) {
                onError(new FathomException(done.status(), done.message()));
                return;
            }
            session.close();
            handler.onCompleteResponse(Chat.response(text.toString(), reasoning.toString(),
                    done.finishReason(), done.usage()));
        }

        @Override
        public void cancel() {
            cancelled = true;
            subscription.cancel();
            session.close();
        }

        @Override
        public boolean isCancelled() {
            return cancelled;
        }
    }
}
