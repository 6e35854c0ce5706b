//! The demo model and its problems, for every test.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fathom::{
    Engine, EngineOptions, Message, Model, ModelOptions, Prompt, PromptOptions, Session,
    SessionOptions, Thinking,
};

pub fn folder() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.join("../../../examples/demo-model/model")
}

pub fn engine() -> Engine {
    let options = EngineOptions {
        deterministic: true,
        n_threads: 1,
        kv_cache_bytes: 8 << 20,
        ..EngineOptions::default()
    };
    Engine::new(&options).expect("FATHOM_LIBRARY names the library")
}

pub fn model(engine: &Engine) -> Model {
    engine.load(folder(), &ModelOptions::default()).expect("the demo model is in the tree")
}

pub fn session(model: &Model) -> Session {
    model.session(&SessionOptions::default()).unwrap()
}

pub fn prompt(model: &Model, thinking: Thinking, text: &str) -> Prompt {
    let options = PromptOptions { thinking, ..PromptOptions::default() };
    let mut prompt = Prompt::new(&model.tokenizer().unwrap(), &options).unwrap();
    prompt.add(&Message::user(text)).unwrap();
    prompt
}

/// The demo model works on this for about a hundred tokens.
pub fn sum(model: &Model) -> Prompt {
    prompt(model, Thinking::On, "What is 4812 + 977?")
}

/// Waits for what the engine does within a step.
pub fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !there() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// Waits until no page of the engine is used and no session is open.
pub fn wait_until_empty(engine: &Engine) {
    wait_until("pages and sessions come back", || {
        let stats = engine.stats().unwrap();
        stats.kv_pages_used == 0 && stats.n_sessions == 0 && stats.n_running == 0
    });
}

/// How many entries a folder of `/proc/self` has: descriptors in `fd`, threads in `task`.
pub fn entries(folder: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{folder}")).unwrap().count()
}

/// How many threads of this process have this name.
pub fn threads_named(name: &str) -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok())
        .filter(|comm| comm.trim_end() == name)
        .count()
}
