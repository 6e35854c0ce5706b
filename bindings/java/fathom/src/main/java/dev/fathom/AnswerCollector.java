package dev.fathom;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Flow;

/** Joins the events of a stream. */
final class AnswerCollector implements Flow.Subscriber<Event> {
    private final CompletableFuture<Answer> answer = new CompletableFuture<>();
    private final StringBuilder reasoning = new StringBuilder();
    private final StringBuilder text = new StringBuilder();

    private Event.Done done;

    private AnswerCollector() {}

    static CompletableFuture<Answer> collect(EventStream stream) {
        AnswerCollector collector = new AnswerCollector();
        stream.publisher().subscribe(collector);
        return collector.answer;
    }

    @Override
    public void onSubscribe(Flow.Subscription subscription) {
        // Also when the future is completed by somebody else, the rest is of no use.
        answer.whenComplete((result, failure) -> subscription.cancel());
        subscription.request(Long.MAX_VALUE);
    }

    @Override
    public void onNext(Event event) {
        if (event instanceof Event.Reasoning piece) {
            reasoning.append(piece.text());
        } else if (event instanceof Event.Text piece) {
            text.append(piece.text());
        } else if (event instanceof Event.Done last) {
            Failed.check(last);
            done = last;
        }
    }

    @Override
    public void onError(Throwable failure) {
        answer.completeExceptionally(failure);
    }

    @Override
    public void onComplete() {
        // Not before, so that the stream is closed when the answer is there.
        answer.complete(new Answer(reasoning.toString(), text.toString(), done.finishReason(),
                done.usage()));
    }
}
