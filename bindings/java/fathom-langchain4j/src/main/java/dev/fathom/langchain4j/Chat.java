package dev.fathom.langchain4j;

import dev.fathom.EventStream;
import dev.fathom.GenerateOptions;
import dev.fathom.Message;
import dev.fathom.Model;
import dev.fathom.Prompt;
import dev.fathom.PromptOptions;
import dev.fathom.Role;
import dev.fathom.Session;
import dev.fathom.Thinking;
import dev.fathom.Tokenizer;
import dev.fathom.Usage;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.ChatMessage;
import dev.langchain4j.data.message.SystemMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.exception.UnsupportedFeatureException;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.request.ChatRequestParameters;
import dev.langchain4j.model.chat.request.ResponseFormat;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.output.FinishReason;
import dev.langchain4j.model.output.TokenUsage;

/** LangChain4j's requests and responses as Fathom's. What Fathom cannot do is refused by name. */
final class Chat {
    private final Model model;
    private final Thinking thinking;

    Chat(Model model, Thinking thinking) {
        this.model = model;
        this.thinking = thinking;
    }

    Session newSession() {
        return model.newSession();
    }

    EventStream generate(Session session, ChatRequest request) {
        GenerateOptions options = options(request.parameters());
        try (Tokenizer tokenizer = model.tokenizer();
                Prompt prompt = new Prompt(tokenizer, new PromptOptions().thinking(thinking))) {
            for (ChatMessage message : request.messages()) {
                prompt.add(message(message));
            }
            return session.generate(prompt, options);
        }
    }

    private static Message message(ChatMessage message) {
        if (message instanceof SystemMessage system) {
            return Message.system(system.text());
        }
        if (message instanceof UserMessage user && user.hasSingleText()) {
            return Message.user(user.singleText());
        }
        if (message instanceof AiMessage answer && !answer.hasToolExecutionRequests()) {
            return new Message(Role.ASSISTANT, answer.text(), answer.thinking());
        }
        throw new UnsupportedFeatureException("a message of type " + message.type()
                + " with anything but one text");
    }

    private static GenerateOptions options(ChatRequestParameters parameters) {
        if (!parameters.toolSpecifications().isEmpty() || parameters.toolChoice() != null) {
            throw new UnsupportedFeatureException("tools");
        }
        if (parameters.responseFormat() != null
                && !parameters.responseFormat().equals(ResponseFormat.TEXT)) {
            throw new UnsupportedFeatureException("a response format other than text");
        }
        if (parameters.modelName() != null) {
            throw new UnsupportedFeatureException("modelName: the model is given when loading");
        }
        GenerateOptions options = new GenerateOptions();
        if (parameters.temperature() != null) {
            options.temperature(parameters.temperature());
        }
        if (parameters.topP() != null) {
            options.topP(parameters.topP());
        }
        if (parameters.topK() != null) {
            options.topK(parameters.topK());
        }
        if (parameters.frequencyPenalty() != null) {
            options.frequencyPenalty(parameters.frequencyPenalty());
        }
        if (parameters.presencePenalty() != null) {
            options.presencePenalty(parameters.presencePenalty());
        }
        if (parameters.maxOutputTokens() != null) {
            options.maxTokens(parameters.maxOutputTokens());
        }
        return options.stop(parameters.stopSequences().toArray(String[]::new));
    }

    static ChatResponse response(String text, String reasoning, dev.fathom.FinishReason reason,
            Usage usage) {
        return ChatResponse.builder()
                .aiMessage(AiMessage.builder().text(text)
                        .thinking(reasoning.isEmpty() ? null : reasoning).build())
                .tokenUsage(new TokenUsage(
                        Math.toIntExact(usage.promptFresh() + usage.promptCached()),
                        Math.toIntExact(usage.reasoningTokens() + usage.outputTokens())))
                .finishReason(switch (reason) {
                    case END_OF_TURN, STOP -> FinishReason.STOP;
                    case LENGTH -> FinishReason.LENGTH;
                    case CANCELLED, DEADLINE, ERROR -> FinishReason.OTHER;
                })
                .build();
    }
}
