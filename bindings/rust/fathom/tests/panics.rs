//! Panics of the host stay on the host's side.

mod common;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use fathom::{Engine, EngineOptions, ErrorKind, GenerateOptions, LogLevel, ModelOptions};

/// A consumer that dies in the middle would take the engine, or its KV pages, with it.
#[test]
fn a_panic_while_reading_leaves_the_engine_alive() {
    let engine = common::engine();
    let model = common::model(&engine);
    let endless = GenerateOptions { ignore_end_of_turn: true, ..GenerateOptions::default() };
    let all_read = Arc::new(Barrier::new(8));
    let consumers: Vec<_> = (0..8)
        .map(|_| {
            let (model, endless, all_read) = (model.clone(), endless.clone(), all_read.clone());
            std::thread::spawn(move || {
                let mut session = common::session(&model);
                let mut events = session.generate(&common::sum(&model), &endless).unwrap();
                events.next().unwrap().unwrap();
                all_read.wait();
                panic!("the consumer dies");
            })
        })
        .collect();
    for consumer in consumers {
        consumer.join().unwrap_err();
    }
    common::wait_until_empty(&engine);
    let mut session = common::session(&model);
    let events = session.generate(&common::sum(&model), &GenerateOptions::default()).unwrap();
    assert_eq!(events.into_text().unwrap(), "5789");
}

/// A panic would unwind through C++ frames, or the caller would not hear of it.
#[test]
fn a_panic_while_loading_comes_out_at_the_caller() {
    let engine = common::engine();
    let options = ModelOptions::default();
    let loading = catch_unwind(AssertUnwindSafe(|| {
        engine.load_with_progress(common::folder(), &options, |_, _| panic!("enough"))
    }));
    assert_eq!(loading.unwrap_err().downcast_ref(), Some(&"enough"));

    let (mut last, mut of) = (0, 0);
    let seen = |done, total| {
        (last, of) = (done, total);
        ControlFlow::Continue(())
    };
    engine.load_with_progress(common::folder(), &options, seen).unwrap();
    assert!(last == of && of > 1 << 20);
    let stop = |_, _| ControlFlow::Break(());
    let error = engine.load_with_progress(common::folder(), &options, stop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(engine.stats().unwrap().n_models, 0);
}

/// A log function with a mistake in it would end the process.
#[test]
fn a_panic_while_logging_ends_at_the_hook() {
    struct Token(Arc<AtomicUsize>);
    impl Drop for Token {
        fn drop(&mut self) {
            self.0.store(usize::MAX, Ordering::Relaxed);
        }
    }
    let n_records = Arc::new(AtomicUsize::new(0));
    let token = Token(n_records.clone());
    let engine = Engine::with_log(&EngineOptions::default(), move |level, text| {
        token.0.fetch_add(1, Ordering::Relaxed);
        assert!(level == LogLevel::Warning, "not a warning: {text}");
    })
    .unwrap();
    let model = common::model(&engine);
    assert!(n_records.load(Ordering::Relaxed) > 0, "loading is logged");
    drop(engine);
    assert!(n_records.load(Ordering::Relaxed) < usize::MAX, "the model keeps the hook");
    drop(model);
    assert_eq!(n_records.load(Ordering::Relaxed), usize::MAX, "the hook is freed");
}
