//! Answers of the demo model, through the iterator and through the stream.

mod common;

use std::time::Duration;

use fathom::{
    Engine, ErrorKind, EventKind, Events, Finish, GenerateOptions, Message, Model, ModelOptions,
    Prompt, PromptOptions, Session, Thinking, Tokenizer,
};
use futures::executor::block_on;
use futures::{StreamExt, TryStreamExt, future};

/// Objects could not go where the header lets them go, and a prompt where it does not.
#[test]
fn threads_get_what_the_header_promises() {
    fn shared<T: Send + Sync + Clone>() {}
    fn sent<T: Send>() {}
    shared::<Engine>();
    shared::<Model>();
    shared::<Tokenizer>();
    shared::<fathom::Canceller>();
    sent::<Session>();
    sent::<Prompt>();
    sent::<Events>();
}

/// Somebody would read another text than the model wrote, or the wrong counts on a bill.
#[test]
fn an_answer_arrives_whole() {
    let engine = common::engine();
    let model = common::model(&engine);
    let mut session = common::session(&model);
    let prompt = common::sum(&model);
    let mut events = session.generate(&prompt, &GenerateOptions::default()).unwrap();

    let (mut reasoning, mut text, mut ids) = (String::new(), String::new(), Vec::new());
    let mut last = None;
    for (number, event) in events.by_ref().enumerate() {
        let event = event.unwrap();
        assert_eq!(event.sequence, number as u64);
        ids.extend_from_slice(&event.ids);
        match event.kind {
            EventKind::Reasoning(piece) => reasoning.push_str(&piece),
            EventKind::Text(piece) => text.push_str(&piece),
            EventKind::Progress { done, total } => assert!(done <= total),
            EventKind::Done(finish) => last = Some(finish),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!((text.as_str(), last), ("5789", Some(Finish::EndOfTurn)));
    assert!(events.next().is_none() && events.next_within(Duration::MAX).unwrap().is_none());
    let tokenizer = model.tokenizer().unwrap();
    let written = String::from_utf8(tokenizer.decode(&ids).unwrap()).unwrap();
    assert!(written.starts_with(&reasoning) && written.contains("</think>5789"), "{written}");

    let usage = events.usage().unwrap();
    assert!(usage.finished && usage.prompt_cached == 0);
    assert_eq!(usage.prompt_fresh, prompt.render().unwrap().len() as u64);
    assert_eq!(usage.reasoning_tokens + usage.output_tokens, ids.len() as u64);
    let facts = session.describe().unwrap();
    assert!(!facts.running && facts.n_tokens >= usage.prompt_fresh + ids.len() as u64 - 1);

    // The same question again is not computed again.
    let again = session.generate(&prompt, &GenerateOptions::default()).unwrap();
    assert_eq!(again.into_text().unwrap(), "5789");
    session.truncate(3).unwrap();
    assert_eq!(session.describe().unwrap().n_tokens, 3);
    assert_eq!(session.truncate(4).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

/// The asynchronous reader would get another answer, or each stream a thread of its own.
#[test]
fn streams_give_what_iterators_give_with_one_waiter_for_all() {
    const N: usize = 24;
    let engine = common::engine();
    let model = common::model(&engine);
    let options = GenerateOptions { logprobs: Some(2), ..GenerateOptions::default() };
    let numbers: Vec<_> = (0..N).map(|i| format!("What is {} + 38?", 11 + i)).collect();
    let ask = |text: &String| {
        let prompt = common::prompt(&model, Thinking::On, text);
        common::session(&model).generate(&prompt, &options).unwrap()
    };
    let iterated: Vec<Vec<_>> =
        numbers.iter().map(|text| ask(text).map(Result::unwrap).collect()).collect();

    let streams: Vec<_> = numbers.iter().map(|text| ask(text).into_stream()).collect();
    let waiting = future::join_all(streams.into_iter().map(TryStreamExt::try_collect::<Vec<_>>));
    let streamed: Vec<_> = block_on(waiting).into_iter().map(Result::unwrap).collect();
    assert_eq!(common::threads_named("fathom-waiter"), 1);
    for (streamed, iterated) in streamed.iter().zip(&iterated) {
        // Progress comes per step, and steps depend on what else runs.
        let content = |events: &[fathom::Event]| -> Vec<EventKind> {
            let is_content = |kind: &EventKind| !matches!(kind, EventKind::Progress { .. });
            events.iter().map(|event| event.kind.clone()).filter(is_content).collect()
        };
        assert_eq!(content(streamed), content(iterated));
        let n_logprobs = content(streamed)
            .iter()
            .map(|kind| if let EventKind::Logprobs(list) = kind { list.len() } else { 0 })
            .sum::<usize>();
        assert!(n_logprobs > 0 && n_logprobs % 3 == 0, "each token brings two alternatives");
    }
}

/// A host could not end what nobody reads any more, or a session would stay busy.
#[test]
fn dropping_and_cancelling_end_an_answer() {
    let engine = common::engine();
    let model = common::model(&engine);
    let mut session = common::session(&model);
    let prompt = common::sum(&model);
    let endless = GenerateOptions { ignore_end_of_turn: true, ..GenerateOptions::default() };

    let mut events = session.generate(&prompt, &endless).unwrap();
    assert_eq!(session.generate(&prompt, &endless).unwrap_err().kind(), ErrorKind::Busy);
    events.next().unwrap().unwrap();
    let canceller = events.canceller();
    std::thread::spawn(move || canceller.cancel()).join().unwrap();
    let last = events.map(Result::unwrap).last().unwrap();
    assert_eq!(last.kind, EventKind::Done(Finish::Cancelled));

    // A session that is dropped goes with its last answer.
    let events = common::session(&model).generate(&prompt, &GenerateOptions::default()).unwrap();
    assert_eq!(events.into_text().unwrap(), "5789");
    // Dropped, though a canceller is left, and dropped by a task that waits.
    let events = session.generate(&prompt, &endless).unwrap();
    let canceller = events.canceller();
    drop(events);
    common::wait_until("the session is free", || !session.describe().unwrap().running);
    canceller.cancel();
    let events = session.generate(&prompt, &endless).unwrap();
    block_on(async {
        let read: Vec<_> = events.into_stream().take(70).try_collect().await.unwrap();
        assert_eq!(read.len(), 70);
    });
    common::wait_until("the session is free", || !session.describe().unwrap().running);
    drop((session, canceller));
    common::wait_until_empty(&engine);
}

/// An option would be lost between here and the library.
#[test]
fn options_arrive() {
    let engine = common::engine();
    let model = common::model(&engine);
    let mut session = common::session(&model);
    let prompt = common::sum(&model);
    let mut finish = |options: &GenerateOptions| {
        let mut events = session.generate(&prompt, options).unwrap();
        let text =
            events.by_ref().map(Result::unwrap).fold(String::new(), |text, event| {
                match event.kind {
                    EventKind::Text(piece) | EventKind::Reasoning(piece) => text + &piece,
                    EventKind::Done(finish) => format!("{text}|{finish:?}"),
                    _ => text,
                }
            });
        (text, events.usage().unwrap())
    };
    let defaults = GenerateOptions::default();
    let (whole, _) = finish(&defaults);
    assert!(whole.ends_with("5789|EndOfTurn"), "{whole}");

    let (text, usage) = finish(&GenerateOptions { max_tokens: 5, ..defaults.clone() });
    assert!(text.ends_with("|Length") && usage.reasoning_tokens == 5, "{text}");
    let (text, _) = finish(&GenerateOptions { stop: vec!["8".into()], ..defaults.clone() });
    assert!(text.ends_with("57|Stop"), "{text}");
    let (text, usage) = finish(&GenerateOptions { prompt_only: true, ..defaults.clone() });
    assert!(text == "|Length" && usage.output_tokens + usage.reasoning_tokens == 0);
    let passed = GenerateOptions { deadline: Some(Duration::ZERO), ..defaults.clone() };
    assert!(finish(&passed).0.ends_with("|Deadline"));
    let wanted = model.tokenizer().unwrap().encode("c").unwrap()[0];
    let biased =
        GenerateOptions { logit_bias: vec![(wanted, 1e4)], max_tokens: 3, ..defaults.clone() };
    assert_eq!(finish(&biased).0, "ccc|Length");
    let stopped = GenerateOptions { stop_ids: vec![wanted], ..biased };
    assert!(finish(&stopped).0.ends_with("|Stop"));
    let hot = |seed| GenerateOptions { seed, temperature: 5.0, max_tokens: 40, ..defaults.clone() };
    assert_eq!(finish(&hot(1)).0, finish(&hot(1)).0);
    assert_ne!(finish(&hot(1)).0, finish(&hot(2)).0);
    let cold = GenerateOptions { temperature: 1e-9, ..defaults.clone() };
    let error = session.generate(&prompt, &cold).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("temperature"), "{error}");
}

/// A host that owns its threads could not run the model at all, or could not wait for many.
#[test]
fn a_manual_engine_moves_when_it_is_stepped() {
    let options = fathom::EngineOptions {
        mode: fathom::Mode::Manual,
        n_threads: 1,
        kv_cache_bytes: 8 << 20,
        ..Default::default()
    };
    let engine = Engine::new(&options).unwrap();
    let model = common::model(&engine);
    let (prompt, few) =
        (common::sum(&model), GenerateOptions { max_tokens: 8, ..Default::default() });
    let mut sessions = [common::session(&model), common::session(&model)];
    let [mut first, mut second] = sessions.each_mut().map(|s| s.generate(&prompt, &few).unwrap());
    assert_eq!(first.next_within(Duration::ZERO).unwrap_err().kind(), ErrorKind::Timeout);
    let timeout = Events::wait_any(&[&first, &second], Duration::from_millis(1)).unwrap_err();
    assert_eq!(timeout.kind(), ErrorKind::Timeout);
    while engine.step(Duration::ZERO).unwrap() {}
    let ready = Events::wait_any(&[&first, &second], Duration::MAX).unwrap();
    assert!(ready < 2);
    assert_eq!(first.by_ref().count(), second.by_ref().count());
    let none = Events::wait_any(&[], Duration::ZERO).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::InvalidArgument);

    engine.shutdown(Duration::ZERO).unwrap();
    let refused = sessions[0].generate(&prompt, &few).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Shutdown);
}

/// Conversations would be rendered otherwise than the same messages one by one.
#[test]
fn prompts_take_messages_json_and_tokens() {
    let tokenizer = Tokenizer::open(common::folder()).unwrap();
    let new = || Prompt::new(&tokenizer, &PromptOptions::default()).unwrap();
    let messages = [
        Message::system("Be brief."),
        Message::user("<｜User｜>What is 1 + 1?"),
        Message::assistant("2").with_reasoning("c1"),
        Message::user("What is 2 + 2?"),
    ];
    let mut one_by_one = new();
    for message in &messages {
        one_by_one.add(message).unwrap();
    }
    let mut all = new();
    all.add_all(&messages).unwrap();
    let ids = one_by_one.render().unwrap();
    assert_eq!(ids, all.render().unwrap());
    let mut raw = Prompt::raw().unwrap();
    raw.add_tokens(&ids).unwrap();
    assert_eq!(raw.render().unwrap(), ids);
    assert_eq!(all.add_json("[{}]").unwrap_err().kind(), ErrorKind::Format);
    assert_eq!(all.add_tokens(&ids).unwrap_err().kind(), ErrorKind::BadState);

    // Text never becomes a control token unless it is trusted.
    let end = "<｜end▁of▁sentence｜>";
    let trusted = tokenizer.encode_trusted(end, false).unwrap();
    assert_eq!(trusted, [tokenizer.describe().unwrap().eos_id.unwrap()]);
    assert!(tokenizer.encode(end).unwrap().len() > 1);
    assert_eq!(tokenizer.decode(&trusted).unwrap(), end.as_bytes());
    assert_eq!(tokenizer.decode_text(&trusted).unwrap(), b"");
    assert!(tokenizer.encode("").unwrap().is_empty());
}

/// Facts would be garbled, or a wrong folder not be told from a broken one.
#[test]
fn facts_and_failures_are_told() {
    assert!(fathom::abi_version().unwrap() >= (1, 0));
    assert!(fathom::build_info().unwrap().starts_with('{'));
    assert!(fathom::is_supported("backend.cpu").unwrap());
    assert!(!fathom::is_supported("a\0b").unwrap());
    let devices = fathom::devices().unwrap();
    assert!(devices[0].n_processors > 0 && !devices[0].name.is_empty());

    let engine = common::engine();
    let model = common::model(&engine);
    let facts = model.describe().unwrap();
    assert_eq!((facts.n_layers, facts.architecture.as_str()), (4, "deepseek_v3"));
    assert_eq!(model.metadata("config.num_hidden_layers").unwrap(), "4");
    assert_eq!(model.metadata("no\0such").unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(model.metadata("no such").unwrap_err().kind(), ErrorKind::InvalidArgument);
    let described = model.tokenizer().unwrap().describe().unwrap();
    assert_eq!(described, Tokenizer::open(common::folder()).unwrap().describe().unwrap());
    let (engine_options, options) = (fathom::EngineOptions::default(), ModelOptions::default());
    let plan = Model::estimate(&engine_options, common::folder(), &options).unwrap();
    assert_eq!(plan.weight_bytes, facts.weight_bytes);
    let json = Model::inspect(&engine_options, common::folder(), &options).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&json).unwrap().is_object());

    let error = engine.load("/no/such/folder", &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().ends_with("(FATHOM_IO)"), "{error}");
    assert!(error.message().contains("/no/such/folder"), "{error}");
    let gpu = fathom::EngineOptions {
        device: fathom::DeviceKind::Cuda,
        driver_folder: Some("/no/such/driver".into()),
        plugin_folder: Some("/no/such/plugin".into()),
        ..Default::default()
    };
    let error = Engine::new(&gpu).unwrap_err();
    assert!(error.message().contains("/no/such/plugin"), "{error}");
    let unknown = ModelOptions { dialect: Some("klingon".into()), ..options };
    let error = engine.load(common::folder(), &unknown).unwrap_err();
    assert!(error.message().contains("klingon"), "{error}");
}
