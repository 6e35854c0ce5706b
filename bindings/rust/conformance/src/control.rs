//! Steps 18 to 25: ends, errors and order.

use std::ffi::CStr;
use std::ptr;
use std::time::Duration;

use fathom::sys;
use fathom::{
    Engine, EngineOptions, Events, GenerateOptions, Mode, ModelOptions, Prompt, PromptOptions,
    Result, Session, SessionOptions, Thinking,
};

use crate::{
    Paths, SUM, World, endless, engine_of, engine_options, log, model_in, question, session_of,
};

/// An answer that was dropped runs until the step that notices.
fn wait_until_free(session: &Session) -> Result<()> {
    while session.describe()?.running {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

pub(crate) fn cancel(here: &World) -> Result<()> {
    log::step(18, "cancel");
    let prompt = question(&here.tokenizer, SUM, Thinking::On)?;
    let mut session = session_of(&here.model)?;
    let mut events = endless(&mut session, &prompt)?;
    let descriptor = events.notify_descriptor()?;
    log::truth("notify handle", descriptor >= 0 && descriptor == events.notify_descriptor()?);
    let mut n_seen = 0;
    while n_seen == 0 {
        n_seen = events.next().expect("it is endless")?.ids.len() as u64;
    }
    events.cancel();
    events.canceller().cancel();
    log::end("cancelled", &mut events, n_seen)?;
    drop(endless(&mut session, &prompt)?);
    wait_until_free(&session)?;
    let one = GenerateOptions { max_tokens: 1, ..GenerateOptions::default() };
    log::end("released, then again", &mut session.generate(&prompt, &one)?, 0)?;
    drop(events);
    session_released(here, &prompt);
    Ok(())
}

/// Here the events of an answer keep its session, so the raw layer has to release it.
fn session_released(here: &World, prompt: &Prompt) {
    let api = log::api();
    let mut options: sys::fathom_generate_options = sized();
    options.flags = sys::FATHOM_GENERATE_IGNORE_EOS;
    let mut event: sys::fathom_event = sized();
    let mut usage: sys::fathom_usage = sized();
    let (mut session, mut stream) = (ptr::null_mut(), ptr::null_mut());
    let (model, none) = (here.model.as_raw(), ptr::null_mut());
    let mut n_seen = 0;
    // SAFETY: all handles are live until they are released, each once.
    unsafe {
        let mut ok = api.fathom_session_create(model, ptr::null(), &raw mut session, none);
        let (prompt, options) = (prompt.as_raw(), &raw const options);
        ok |= api.fathom_session_generate(session, prompt, options, &raw mut stream, none);
        api.fathom_session_release(session);
        while ok == sys::FATHOM_OK && event.type_ != sys::FATHOM_EVENT_DONE {
            ok = api.fathom_stream_next(stream, u64::MAX, &raw mut event, none);
            n_seen += event.n_ids;
        }
        ok |= api.fathom_stream_usage(stream, &raw mut usage, none);
        api.fathom_stream_release(stream);
        assert_eq!(ok, sys::FATHOM_OK);
    }
    assert_eq!(event.finish_reason, sys::FATHOM_FINISH_CANCELLED);
    log::line("session released", format_args!("CANCELLED {}", log::status_name(event.status)));
    let counts = usage.finished == 1 && usage.reasoning_tokens + usage.output_tokens == n_seen;
    log::truth("usage counts the ids", counts);
}

/// A struct of the raw layer with its size set, as the library does it for those who cannot.
pub(crate) fn sized<T: Default>() -> T {
    let mut structure = T::default();
    let size = u32::try_from(size_of::<T>()).expect("small");
    // SAFETY: every struct that is given here begins with its size, a `u32`.
    unsafe { (&raw mut structure).cast::<u32>().write(size) };
    structure
}

pub(crate) fn deadline(here: &World) -> Result<()> {
    log::step(19, "deadline");
    let prompt = question(&here.tokenizer, SUM, Thinking::On)?;
    let mut session = session_of(&here.model)?;
    let until = |deadline| GenerateOptions {
        ignore_end_of_turn: true,
        deadline: Some(deadline),
        ..GenerateOptions::default()
    };
    log::events(&mut session.generate(&prompt, &until(Duration::from_nanos(1)))?)?;
    let mut events = session.generate(&prompt, &until(Duration::from_millis(100)))?;
    // Nobody reads, so the answer cannot reach its end before.
    wait_until_free(&session)?;
    log::end("while it waits for its reader", &mut events, 0)
}

pub(crate) fn busy(here: &World) -> Result<()> {
    log::step(20, "busy");
    let prompt = question(&here.tokenizer, SUM, Thinking::On)?;
    let mut session = session_of(&here.model)?;
    let mut events = endless(&mut session, &prompt)?;
    log::truth("running", session.describe()?.running);
    log::result("generate", session.generate(&prompt, &GenerateOptions::default()));
    log::result("truncate", session.truncate(0));
    events.cancel();
    log::end("cancelled", &mut events, 0)?;
    log::truth("running", session.describe()?.running);
    log::result("truncate too far", session.truncate(1_000_000));
    Ok(())
}

pub(crate) fn generate_errors(at: &Paths, here: &World) -> Result<()> {
    log::step(21, "generate errors");
    let prompt = question(&here.tokenizer, SUM, Thinking::On)?;
    let mut session = session_of(&here.model)?;
    let raw = |name: &str, session: &Session, options: &sys::fathom_generate_options| {
        let mut stream = ptr::null_mut();
        // SAFETY: session and prompt are live, and the options live during the call.
        log::raw(name, |error| unsafe {
            let (session, prompt) = (session.as_raw(), prompt.as_raw());
            log::api().fathom_session_generate(session, prompt, options, &raw mut stream, error)
        });
        assert!(stream.is_null());
    };
    raw("flags", &session, &sys::fathom_generate_options { flags: 0x8000_0000, ..sized() });
    let mut refused = |name: &str, options: GenerateOptions| {
        log::result(name, session.generate(&prompt, &options));
    };
    let base = GenerateOptions::default;
    refused("temperature", GenerateOptions { temperature: -1.0, ..base() });
    let session_now = session_of(&here.model)?;
    raw("top_k", &session_now, &sys::fathom_generate_options { top_k: -1, ..sized() });
    refused("top_p", GenerateOptions { top_p: 1.5, ..base() });
    refused("min_p", GenerateOptions { min_p: -0.5, ..base() });
    refused("repetition_penalty", GenerateOptions { repetition_penalty: -1.0, ..base() });
    refused("presence_penalty", GenerateOptions { presence_penalty: 3.0, ..base() });
    refused("frequency_penalty", GenerateOptions { frequency_penalty: -3.0, ..base() });
    refused("logprobs", GenerateOptions { logprobs: Some(21), ..base() });
    refused("stop string", GenerateOptions { stop: vec![String::new()], ..base() });
    refused("stop id", GenerateOptions { stop_ids: vec![1_000_000], ..base() });
    let empty = Prompt::new(&here.tokenizer, &PromptOptions::default())?;
    log::result("empty prompt", session.generate(&empty, &base()));
    let mut small = here.model.session(&SessionOptions { context: 8 })?;
    log::result("context full", small.generate(&prompt, &base()));
    let long = here.model.session(&SessionOptions { context: 1 << 30 });
    log::result("context of a session", long);
    // A page and a bit.
    let few_pages = EngineOptions { kv_cache_bytes: 64 * 1024, ..engine_options(Mode::Threaded) };
    let model = model_in(&Engine::new(&few_pages)?, &at.model)?;
    let many = GenerateOptions { max_tokens: 900, ..base() };
    log::result("no room in the KV cache", session_of(&model)?.generate(&prompt, &many));
    Ok(())
}

fn log_stats(engine: &Engine) -> Result<()> {
    let stats = engine.stats()?;
    log::line(
        "stats",
        format_args!(
            "models={} sessions={} waiting={} running={} pages={}/{} steps={} prefill={} \
             decode={} device={}",
            stats.n_models,
            stats.n_sessions,
            stats.n_waiting,
            stats.n_running,
            stats.kv_pages_used,
            stats.kv_pages,
            stats.n_steps,
            stats.prefill_tokens,
            stats.decode_tokens,
            log::status_name(stats.device_status)
        ),
    );
    let counted = stats.memory_bytes > 0
        && (stats.n_steps == 0) == (stats.step_ns_total == 0)
        && stats.backend_ns_total <= stats.step_ns_total;
    log::truth("memory and time are counted", counted);
    Ok(())
}

pub(crate) fn manual(at: &Paths) -> Result<()> {
    log::step(22, "manual engine");
    let engine = engine_of(Mode::Manual)?;
    let threaded = engine_of(Mode::Threaded)?;
    let model = model_in(&engine, &at.model)?;
    let mut sessions = [session_of(&model)?, session_of(&model)?];
    let prompt = question(&model.tokenizer()?, SUM, Thinking::On)?;
    let four = GenerateOptions { max_tokens: 4, ..GenerateOptions::default() };
    let mut first = sessions[0].generate(&prompt, &four)?;
    let mut second = sessions[1].generate(&prompt, &four)?;
    log_stats(&engine)?;
    log::result("poll", first.next_within(Duration::ZERO));
    log::result("wait", Events::wait_any(&[&first, &second], Duration::ZERO));
    let mut n_steps = 1;
    while engine.step(Duration::ZERO)? {
        n_steps += 1;
    }
    log::line("steps", n_steps);
    let mut seen = [false; 2];
    for _ in 0..100 {
        seen[Events::wait_any(&[&first, &second], Duration::ZERO)?] = true;
    }
    log::truth("both come up", seen == [true; 2]);
    log::events(&mut first)?;
    log::events(&mut second)?;
    log_stats(&engine)?;
    log::result("step of a threaded engine", threaded.step(Duration::ZERO));
    let (streams, mut ready) = ([first.as_raw(), second.as_raw()], 9);
    // SAFETY: engine and streams are live.
    log::raw("wait for a stream of another engine", |error| unsafe {
        let (engine, streams) = (threaded.as_raw(), streams.as_ptr());
        log::api().fathom_engine_wait_any(engine, streams, 2, 0, &raw mut ready, error)
    });
    Ok(())
}

pub(crate) fn shutdown(at: &Paths) -> Result<()> {
    log::step(23, "shutdown");
    let engine = engine_of(Mode::Threaded)?;
    let model = model_in(&engine, &at.model)?;
    let mut session = session_of(&model)?;
    let prompt = question(&model.tokenizer()?, SUM, Thinking::On)?;
    let mut events = endless(&mut session, &prompt)?;
    log::result("with a running stream", engine.shutdown(Duration::ZERO));
    log::end("its stream", &mut events, 0)?;
    log::result("again", engine.shutdown(Duration::MAX));
    log::result("generate", session.generate(&prompt, &GenerateOptions::default()));
    log::result("session", session_of(&model));
    log::result("load", engine.load(&at.model, &ModelOptions::default()));
    log::result("idle", engine_of(Mode::Threaded)?.shutdown(Duration::MAX));
    Ok(())
}

pub(crate) fn release_order(at: &Paths) -> Result<()> {
    log::step(24, "parents released first");
    let engine = engine_of(Mode::Threaded)?;
    let model = model_in(&engine, &at.model)?;
    let mut session = session_of(&model)?;
    let tokenizer = model.tokenizer()?;
    drop((engine, model));
    let prompt = question(&tokenizer, SUM, Thinking::Off)?;
    drop(tokenizer);
    let two = GenerateOptions { max_tokens: 2, ..GenerateOptions::default() };
    let mut events = session.generate(&prompt, &two)?;
    drop(prompt);
    log::events(&mut events)?;
    drop(session);
    log::usage(&events)
}

/// A zero of whatever type an argument has: NULL, or 0.
trait Nothing {
    const NOTHING: Self;
}

impl<T> Nothing for *const T {
    const NOTHING: Self = ptr::null();
}

impl<T> Nothing for *mut T {
    const NOTHING: Self = ptr::null_mut();
}

macro_rules! zeros {
    ($($type:ident)*) => {
        $(impl Nothing for $type {
            const NOTHING: Self = 0;
        })*
    };
}

zeros! { i32 u32 u64 }

/// Calls a function that can fail with nothing but room for an error.
trait CallWithNothing<Arguments> {
    /// # Safety
    /// The function takes NULL and 0 for everything.
    unsafe fn call_with_nothing(self, error: *mut *mut sys::fathom_error) -> i32;
}

macro_rules! callable {
    ($($argument:ident)*) => {
        impl<$($argument: Nothing),*> CallWithNothing<($($argument,)*)>
            for unsafe extern "C" fn($($argument,)* *mut *mut sys::fathom_error) -> i32
        {
            unsafe fn call_with_nothing(self, error: *mut *mut sys::fathom_error) -> i32 {
                // SAFETY: the caller's promise.
                unsafe { self($($argument::NOTHING,)* error) }
            }
        }
    };
}

callable! { A B }
callable! { A B C }
callable! { A B C D }
callable! { A B C D E }
callable! { A B C D E F G }

pub(crate) fn nothing() {
    log::step(25, "nothing");
    let api = log::api();
    macro_rules! nothing {
        ($($function:ident)*) => {
            $(log::raw(stringify!($function), |error| {
                // SAFETY: the functions say so: NULL is refused.
                unsafe { api.$function.call_with_nothing(error) }
            });)*
        };
    }
    nothing! {
        fathom_devices_query fathom_engine_create fathom_engine_shutdown fathom_engine_step
        fathom_engine_wait_any fathom_engine_stats_read fathom_model_estimate fathom_model_load
        fathom_model_describe fathom_model_metadata_get fathom_model_tokenizer
        fathom_model_inspect fathom_tokenizer_open fathom_tokenizer_encode
        fathom_tokenizer_decode fathom_tokenizer_describe fathom_prompt_create
        fathom_prompt_add_message fathom_prompt_add_tokens fathom_prompt_add_openai_json
        fathom_prompt_render fathom_session_create fathom_session_generate
        fathom_session_truncate fathom_session_describe fathom_stream_next fathom_stream_usage
        fathom_stream_notify_handle
    }
    // SAFETY: NULL does nothing here, and the texts are static.
    unsafe {
        api.fathom_stream_cancel(ptr::null_mut());
        api.fathom_stream_release(ptr::null_mut());
        api.fathom_session_release(ptr::null_mut());
        api.fathom_prompt_release(ptr::null_mut());
        api.fathom_tokenizer_release(ptr::null_mut());
        api.fathom_model_release(ptr::null_mut());
        api.fathom_engine_release(ptr::null_mut());
        api.fathom_buffer_release(ptr::null_mut());
        api.fathom_error_release(ptr::null_mut());
        let code = api.fathom_error_code(ptr::null());
        log::line("error of nothing", log::status_name(code));
        let message = CStr::from_ptr(api.fathom_error_message(ptr::null()));
        log::line("message of nothing", format_args!("{} bytes", message.count_bytes()));
        let data = api.fathom_buffer_data(ptr::null(), ptr::null_mut());
        log::truth("buffer of nothing", data.is_null());
        log::line("feature of nothing", api.fathom_feature_supported(ptr::null()));
    }
}
