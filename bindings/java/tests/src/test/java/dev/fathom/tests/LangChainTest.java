package dev.fathom.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.fathom.Thinking;
import dev.fathom.langchain4j.FathomChatModel;
import dev.fathom.langchain4j.FathomStreamingChatModel;
import dev.langchain4j.agent.tool.ToolSpecification;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.exception.UnsupportedFeatureException;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.request.ChatRequestParameters;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.PartialResponse;
import dev.langchain4j.model.chat.response.PartialResponseContext;
import dev.langchain4j.model.chat.response.PartialThinking;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.output.FinishReason;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class LangChainTest {
    private static final ChatRequestParameters NOTHING = ChatRequestParameters.builder().build();
    private static Demo demo;

    @BeforeAll
    static void open() {
        demo = Demo.threaded();
    }

    @AfterAll
    static void close() {
        demo.awaitNoPages();
        demo.close();
    }

    /** Collects what a handler is told. */
    private static class Handler implements StreamingChatResponseHandler {
        final StringBuilder text = new StringBuilder();
        final StringBuilder thinking = new StringBuilder();
        final CompletableFuture<ChatResponse> response = new CompletableFuture<>();

        @Override
        public void onPartialResponse(String piece) {
            text.append(piece);
        }

        @Override
        public void onPartialThinking(PartialThinking piece) {
            thinking.append(piece.text());
        }

        @Override
        public void onCompleteResponse(ChatResponse whole) {
            response.complete(whole);
        }

        @Override
        public void onError(Throwable failure) {
            response.completeExceptionally(failure);
        }
    }

    // If this fails, the answer, its reasoning or its counts get lost between the two libraries.
    @Test
    void chats() {
        FathomChatModel model = new FathomChatModel(demo.model, Thinking.ON, NOTHING);
        ChatResponse response = model.chat(UserMessage.from(Demo.SUM));
        assertEquals("46", response.aiMessage().text());
        assertTrue(response.aiMessage().thinking().startsWith("b1a2+b3a4"));
        assertEquals(FinishReason.STOP, response.finishReason());
        assertEquals(15, response.tokenUsage().inputTokenCount());
        assertEquals(41, response.tokenUsage().outputTokenCount());
        response = model.chat(UserMessage.from(Demo.SUM), AiMessage.from("46"),
                UserMessage.from("What is 5 + 46?"));
        assertEquals("100", response.aiMessage().text()); // As the conformance script has it.
    }

    // If this fails, parameters of a request or of the model do not reach the library.
    @Test
    void parametersArrive() {
        FathomChatModel model = new FathomChatModel(demo.model, Thinking.OFF,
                ChatRequestParameters.builder().maxOutputTokens(2).build());
        ChatRequest.Builder request = ChatRequest.builder().messages(UserMessage.from(Demo.SUM));
        ChatResponse response = model.chat(request.build());
        assertEquals(2, response.tokenUsage().outputTokenCount());
        assertEquals(FinishReason.LENGTH, response.finishReason());
        response = model.chat(request.maxOutputTokens(9).stopSequences(List.of("a")).build());
        assertEquals(FinishReason.STOP, response.finishReason());
        assertTrue(!response.aiMessage().text().contains("a"));
    }

    // If this fails, what the library cannot do is dropped in silence.
    @Test
    void refusesWhatItCannotDo() {
        FathomChatModel model = new FathomChatModel(demo.model);
        ToolSpecification tool = ToolSpecification.builder().name("clock").build();
        assertThrows(UnsupportedFeatureException.class, () -> model.chat(ChatRequest.builder()
                .messages(UserMessage.from("Hi")).toolSpecifications(List.of(tool)).build()));
    }

    // If this fails, a streamed answer differs from the whole one.
    @Test
    void streams() {
        Handler handler = new Handler();
        new FathomStreamingChatModel(demo.model, Thinking.ON, NOTHING).chat(Demo.SUM, handler);
        ChatResponse response = handler.response.join();
        assertEquals("46", response.aiMessage().text());
        assertEquals("46", handler.text.toString());
        assertEquals(response.aiMessage().thinking(), handler.thinking.toString());
    }

    // If this fails, a handler that cancels or throws leaves the model at work.
    @Test
    void handlersMayCancelAndThrow() {
        FathomStreamingChatModel model = new FathomStreamingChatModel(demo.model, Thinking.OFF,
                ChatRequestParameters.builder().temperature(50.0).build());
        CompletableFuture<Boolean> cancelled = new CompletableFuture<>();
        model.chat("Hi", new Handler() {
            @Override
            public void onPartialResponse(PartialResponse piece, PartialResponseContext context) {
                context.streamingHandle().cancel();
                cancelled.complete(context.streamingHandle().isCancelled());
            }
        });
        assertTrue(cancelled.orTimeout(30, TimeUnit.SECONDS).join());
        Handler throwing = new Handler() {
            @Override
            public void onPartialResponse(String piece) {
                throw new ArithmeticException("the handler's own mistake");
            }
        };
        model.chat("Hi", throwing);
        Throwable failure = assertThrows(java.util.concurrent.CompletionException.class,
                () -> throwing.response.orTimeout(30, TimeUnit.SECONDS).join()).getCause();
        assertInstanceOf(ArithmeticException.class, failure);
        Demo.await("both to end", () -> demo.engine.stats().nSessions() == 0);
    }
}
