//! Steps 9 to 17: a loaded model, prompts and answers.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fathom::sys;
use fathom::{
    Engine, GenerateOptions, LogLevel, Message, Mode, ModelOptions, Prompt, PromptOptions, Result,
    Thinking,
};

use crate::{ORDER, Paths, SUM, World, engine_options, library, log, question, session_of};

pub(crate) fn load(at: &Paths) -> Result<World> {
    log::step(9, "load");
    let told = Arc::new(AtomicBool::new(false));
    let tell = told.clone();
    let engine = Engine::with_log(&engine_options(Mode::Threaded), move |level, text| {
        if level == LogLevel::Info && text.starts_with("model loaded") {
            tell.store(true, Ordering::Relaxed);
        }
    })?;
    let (mut rises, mut before, mut of) = (true, 0, 0);
    let model = engine.load_with_progress(&at.model, &ModelOptions::default(), |done, total| {
        rises &= done >= before && done <= total;
        (before, of) = (done, total);
        ControlFlow::Continue(())
    })?;
    log::truth("progress rises to the end", rises && of > 0 && before == of);
    log::truth("the log tells", told.load(Ordering::Relaxed));
    let facts = model.describe()?;
    log::line("architecture", format_args!("{} dialect={}", facts.architecture, facts.dialect));
    log::line(
        "layers",
        format_args!(
            "{} experts={} active={} hidden={} vocabulary={} heads={} kv_type={}",
            facts.n_layers,
            facts.n_routed_experts,
            facts.n_active_experts,
            facts.hidden_size,
            facts.vocabulary_rows,
            facts.n_heads,
            library::kv_number(facts.kv_type)
        ),
    );
    log::line(
        "context",
        format_args!(
            "{} parameters={} active={} kv_bytes={}",
            facts.context, facts.parameters, facts.active_parameters, facts.kv_bytes_per_token
        ),
    );
    log::line("fingerprint", format_args!("{:016x}", facts.fingerprint));
    for key in ["architecture", "config.vocab_size", "config.rope_theta", "no such key"] {
        match model.metadata(key) {
            Ok(value) => log::text(key, &value),
            Err(error) => log::failure(key, &error),
        }
    }
    let tokenizer = model.tokenizer()?;
    Ok(World { _engine: engine, model, tokenizer })
}

fn log_rendered(name: &str, here: &World, prompt: &Prompt) -> Result<()> {
    let text = here.tokenizer.decode(&prompt.render()?)?;
    log::text(name, std::str::from_utf8(&text).expect("whole characters"));
    Ok(())
}

fn new_prompt(here: &World) -> Result<Prompt> {
    Prompt::new(&here.tokenizer, &PromptOptions::default())
}

pub(crate) fn prompts(here: &World) -> Result<()> {
    log::step(10, "prompts");
    for (name, thinking, no_generation) in [
        ("auto", Thinking::Auto, false),
        ("thinking", Thinking::On, false),
        ("not thinking", Thinking::Off, false),
        ("not opened", Thinking::Auto, true),
    ] {
        let options = PromptOptions { thinking, no_generation, ..PromptOptions::default() };
        let mut prompt = Prompt::new(&here.tokenizer, &options)?;
        prompt.add(&Message::user(SUM))?;
        log_rendered(name, here, &prompt)?;
    }
    let mut turns = new_prompt(here)?;
    let messages = [
        Message::system("Be brief."),
        Message::user("1 + 1?"),
        Message::assistant("2").with_reasoning("one more"),
        Message::user("And <｜User｜>?"),
    ];
    for message in &messages {
        turns.add(message)?;
    }
    log_rendered("turns", here, &turns)?;
    let ids = turns.render()?;
    log::ids("ids", &ids);
    let mut whole = new_prompt(here)?;
    whole.add_all(&messages)?;
    log::truth("the same from JSON", whole.render()? == ids);
    let mut tokens = new_prompt(here)?;
    tokens.add_tokens(&ids)?;
    log::truth("the same from tokens", tokens.render()? == ids);
    Ok(())
}

pub(crate) fn prompt_errors(here: &World) -> Result<()> {
    log::step(11, "prompt errors");
    log::result("not JSON", new_prompt(here)?.add_json("[{\"role\":"));
    log::result("no role", new_prompt(here)?.add_json("[{\"content\":\"x\"}]"));
    let mut prompt = new_prompt(here)?;
    prompt.add_json("[{\"role\":\"user\",\"content\":null}]")?;
    log::result("cannot be rendered", prompt.render());
    let unknown =
        PromptOptions { dialect: Some("nonsense".to_owned()), ..PromptOptions::default() };
    log::result("unknown dialect", Prompt::new(&here.tokenizer, &unknown));
    let mut prompt = new_prompt(here)?;
    let struct_size = u32::try_from(size_of::<sys::fathom_message>()).expect("small");
    let message = sys::fathom_message { struct_size, role: 9, ..Default::default() };
    // SAFETY: the prompt is live, and the message lives during the call.
    log::raw("unknown role", |error| unsafe {
        log::api().fathom_prompt_add_message(prompt.as_raw(), &raw const message, error)
    });
    log::result("negative token", prompt.add_tokens(&[5, -1]));
    prompt.add_tokens(&[5])?;
    log::result("message behind tokens", prompt.add(&Message::user("")));
    let mut prompt = question(&here.tokenizer, SUM, Thinking::Off)?;
    log::result("tokens behind messages", prompt.add_tokens(&[5]));
    Ok(())
}

pub(crate) fn chat(here: &World) -> Result<()> {
    log::step(12, "chat");
    let thinking = question(&here.tokenizer, SUM, Thinking::On)?;
    let direct = question(&here.tokenizer, ORDER, Thinking::Off)?;
    let mut session = session_of(&here.model)?;
    let mut events = session.generate(&thinking, &GenerateOptions::default())?;
    log::events(&mut events)?;
    log::usage(&events)?;
    // The iterator is over, which is what this status means.
    assert!(events.next().is_none());
    let struct_size = u32::try_from(size_of::<sys::fathom_event>()).expect("small");
    let mut event = sys::fathom_event { struct_size, ..Default::default() };
    // SAFETY: the stream is live and the event writable.
    log::raw("behind the end", |error| unsafe {
        log::api().fathom_stream_next(events.as_raw(), 0, &raw mut event, error)
    });
    log::session("session", &session)?;
    let mut events = session.generate(&direct, &GenerateOptions::default())?;
    log::events(&mut events)?;
    log::usage(&events)?;
    log::session("session", &session)
}

pub(crate) fn turns(here: &World) -> Result<()> {
    log::step(13, "turns");
    let mut prompt = question(&here.tokenizer, SUM, Thinking::On)?;
    let mut session = session_of(&here.model)?;
    let options = GenerateOptions::default();
    log::answer("first", &mut session.generate(&prompt, &options)?)?;
    prompt.add(&Message::assistant("46"))?;
    prompt.add(&Message::user("What is 5 + 46?"))?;
    let mut events = session.generate(&prompt, &options)?;
    log::answer("second", &mut events)?;
    log::usage(&events)?;
    session.truncate(7)?;
    log::session("cut", &session)?;
    let mut events = session.generate(&prompt, &options)?;
    log::answer("again", &mut events)?;
    log::usage(&events)
}

pub(crate) fn stops(here: &World) -> Result<()> {
    log::step(14, "stops");
    let prompt = question(&here.tokenizer, ORDER, Thinking::Off)?;
    let mut session = session_of(&here.model)?;
    let stop = vec!["never said".to_owned(), "customer".to_owned()];
    let options = GenerateOptions { stop, ..GenerateOptions::default() };
    log::events(&mut session.generate(&prompt, &options)?)?;
    let stop_ids = here.tokenizer.encode("order")?;
    log::ids("stop id", &stop_ids);
    let options = GenerateOptions { stop_ids, ..GenerateOptions::default() };
    log::events(&mut session.generate(&prompt, &options)?)?;
    let options = GenerateOptions { max_tokens: 3, ..GenerateOptions::default() };
    let mut events = session.generate(&prompt, &options)?;
    log::events(&mut events)?;
    log::usage(&events)
}

pub(crate) fn logprobs(here: &World) -> Result<()> {
    log::step(15, "logprobs");
    let prompt = question(&here.tokenizer, SUM, Thinking::On)?;
    let mut session = session_of(&here.model)?;
    // The C interface counts the token itself, this one its alternatives.
    let options =
        GenerateOptions { logprobs: Some(2), max_tokens: 3, ..GenerateOptions::default() };
    log::events(&mut session.generate(&prompt, &options)?)?;
    session.truncate(0)?;
    let options = GenerateOptions {
        logprobs: Some(0),
        prompt_logprobs: true,
        prompt_only: true,
        ..GenerateOptions::default()
    };
    let mut events = session.generate(&prompt, &options)?;
    log::events(&mut events)?;
    log::usage(&events)
}

pub(crate) fn sampling(here: &World) -> Result<()> {
    log::step(16, "sampling");
    let prompt = question(&here.tokenizer, "Hello!", Thinking::Off)?;
    let mut session = session_of(&here.model)?;
    for seed in [7, 7, 8] {
        let options = GenerateOptions {
            max_tokens: 12,
            temperature: 4.0,
            top_k: 40,
            top_p: 0.99,
            min_p: 0.001,
            repetition_penalty: 1.1,
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            seed,
            ..GenerateOptions::default()
        };
        log::answer(&format!("seed {seed}"), &mut session.generate(&prompt, &options)?)?;
    }
    let one = GenerateOptions { max_tokens: 1, ..GenerateOptions::default() };
    let mut greedy = Vec::new();
    for event in session.generate(&prompt, &one)? {
        greedy.extend_from_slice(&event?.ids);
    }
    log::line("greedy", greedy[0]);
    let biased = GenerateOptions { logit_bias: vec![(greedy[0], -10000.0)], ..one };
    log::events(&mut session.generate(&prompt, &biased)?)
}

pub(crate) fn append(here: &World) -> Result<()> {
    log::step(17, "prompt only, then append");
    let prompt = question(&here.tokenizer, ORDER, Thinking::Off)?;
    let mut session = session_of(&here.model)?;
    let options = GenerateOptions { prompt_only: true, ..GenerateOptions::default() };
    log::events(&mut session.generate(&prompt, &options)?)?;
    log::session("session", &session)?;
    let mut more = new_prompt(here)?;
    more.add_tokens(&here.tokenizer.encode("{\"type\":\"order\",")?)?;
    let options = GenerateOptions { append: true, ..GenerateOptions::default() };
    let mut events = session.generate(&more, &options)?;
    log::answer("continued", &mut events)?;
    log::usage(&events)
}
