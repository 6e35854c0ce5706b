//! The conformance script of `bindings/conformance` in Rust, through the public API of `fathom`.
//!
//! Usage: `conformance MODEL FOLDERS`. The raw layer is used where the README of the script says
//! so, and for what the types here have no value for: unknown flags, roles and modes, negative
//! counts, reading behind the end (an iterator is over), and a session that is released under its
//! answer (here the events keep it alive).

mod chat;
mod control;
mod later;
mod library;
mod log;

use std::path::{Path, PathBuf};

use fathom::{
    CpuLevel, Engine, EngineOptions, Events, GenerateOptions, Message, Mode, Model, ModelOptions,
    Prompt, PromptOptions, Result, Session, SessionOptions, Thinking, Tokenizer,
};

const SUM: &str = "What is 12 + 34?";
const ORDER: &str = "Hello, Dodan Trikin called and asked for 265 of the plastic keyboard. We need \
                     it on 2027-04-15. Best regards";

struct Paths {
    model: PathBuf,
    folders: PathBuf,
}

/// What most steps use: a threaded engine and the demo model in it.
struct World {
    _engine: Engine,
    model: Model,
    tokenizer: Tokenizer,
}

/// Deterministic, one thread, plain C++ arithmetic: the same log on every machine.
fn engine_options(mode: Mode) -> EngineOptions {
    EngineOptions {
        mode,
        n_threads: 1,
        cpu_level: CpuLevel::Scalar,
        deterministic: true,
        ..EngineOptions::default()
    }
}

fn engine_of(mode: Mode) -> Result<Engine> {
    Engine::new(&engine_options(mode))
}

fn model_in(engine: &Engine, folder: &Path) -> Result<Model> {
    engine.load(folder, &ModelOptions::default())
}

fn session_of(model: &Model) -> Result<Session> {
    model.session(&SessionOptions::default())
}

/// A prompt of one user message.
fn question(tokenizer: &Tokenizer, text: &str, thinking: Thinking) -> Result<Prompt> {
    let mut prompt =
        Prompt::new(tokenizer, &PromptOptions { thinking, ..PromptOptions::default() })?;
    prompt.add(&Message::user(text))?;
    Ok(prompt)
}

/// An answer that does not end by itself while nobody reads it.
fn endless(session: &mut Session, prompt: &Prompt) -> Result<Events> {
    let options = GenerateOptions { ignore_end_of_turn: true, ..GenerateOptions::default() };
    session.generate(prompt, &options)
}

fn run(at: &Paths) -> Result<()> {
    library::versions()?;
    library::structs();
    library::devices()?;
    library::tokenizer(at)?;
    library::tokenizer_errors(at)?;
    library::estimate(at)?;
    library::load_errors(at)?;
    library::engine_errors();
    let here = chat::load(at)?;
    chat::prompts(&here)?;
    chat::prompt_errors(&here)?;
    chat::chat(&here)?;
    chat::turns(&here)?;
    chat::stops(&here)?;
    chat::logprobs(&here)?;
    chat::sampling(&here)?;
    chat::append(&here)?;
    control::cancel(&here)?;
    control::deadline(&here)?;
    control::busy(&here)?;
    control::generate_errors(at, &here)?;
    drop(here);
    control::manual(at)?;
    control::shutdown(at)?;
    control::release_order(at)?;
    control::nothing();
    later::engine_devices(at);
    later::released(at)?;
    Ok(())
}

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(model), Some(folders), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: conformance MODEL FOLDERS");
        return 2.into();
    };
    match run(&Paths { model, folders }) {
        Ok(()) => 0.into(),
        Err(error) => {
            eprintln!("conformance: {error}");
            1.into()
        }
    }
}
