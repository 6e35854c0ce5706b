//! Steps 26 and 27: appended after the others.

use std::ptr;

use fathom::sys;
use fathom::{DeviceKind, Engine, EngineOptions, Mode, Result, Thinking};

use crate::control::sized;
use crate::{Paths, SUM, endless, engine_of, engine_options, log, model_in, question, session_of};

pub(crate) fn engine_devices(at: &Paths) {
    log::step(26, "devices of engines");
    let unknown = EngineOptions { device: DeviceKind::Other(9), ..engine_options(Mode::Threaded) };
    log::result("unknown device", Engine::new(&unknown));
    let elsewhere = EngineOptions {
        device: DeviceKind::Cuda,
        plugin_folder: Some(at.folders.clone()),
        ..engine_options(Mode::Threaded)
    };
    log::result("no plugin there", Engine::new(&elsewhere));
    // An error has no place for a plan, so the raw layer has to show that there is one.
    let tight = sys::fathom_engine_options { memory_budget: 1 << 20, ..sized() };
    let path = at.model.as_os_str().as_encoded_bytes();
    let (data, path_bytes) = (path.as_ptr().cast(), path.len() as u64);
    let source = sys::fathom_source { path: data, path_bytes, ..sized() };
    let mut plan: sys::fathom_memory_plan = sized();
    // SAFETY: everything that is pointed to lives during the call.
    log::raw("estimate over budget", |error| unsafe {
        let (options, source, plan) = (&raw const tight, &raw const source, &raw mut plan);
        log::api().fathom_model_estimate(options, source, ptr::null(), plan, error)
    });
    log::truth("planned all the same", plan.total_bytes > tight.memory_budget);
}

pub(crate) fn released(at: &Paths) -> Result<()> {
    log::step(27, "released");
    let owned_engine = engine_of(Mode::Threaded)?;
    let owned_model = model_in(&owned_engine, &at.model)?;
    let mut owned_session = session_of(&owned_model)?;
    let owned_tokenizer = owned_model.tokenizer()?;
    let owned_prompt = question(&owned_tokenizer, SUM, Thinking::Off)?;
    let events = endless(&mut owned_session, &owned_prompt)?;
    let (engine, model) = (owned_engine.as_raw(), owned_model.as_raw());
    let (tokenizer, prompt) = (owned_tokenizer.as_raw(), owned_prompt.as_raw());
    let (session, stream) = (owned_session.as_raw(), events.as_raw());
    drop((events, owned_session, owned_prompt, owned_tokenizer, owned_model, owned_engine));
    let api = log::api();
    // SAFETY: the header allows a handle that was just released: nothing happens, or an error.
    unsafe {
        api.fathom_stream_release(stream);
        api.fathom_session_release(session);
        api.fathom_prompt_release(prompt);
        api.fathom_tokenizer_release(tokenizer);
        api.fathom_model_release(model);
        api.fathom_engine_release(engine);
        log::raw("engine", |error| api.fathom_engine_stats_read(engine, &mut sized(), error));
        log::raw("model", |error| api.fathom_model_describe(model, &mut sized(), error));
        log::raw("tokenizer", |error| {
            api.fathom_tokenizer_describe(tokenizer, &mut sized(), error)
        });
        log::raw("prompt", |error| {
            api.fathom_prompt_render(prompt, ptr::null_mut(), 0, &mut 0, error)
        });
        log::raw("session", |error| api.fathom_session_describe(session, &mut sized(), error));
        log::raw("stream", |error| api.fathom_stream_usage(stream, &mut sized(), error));
        api.fathom_stream_cancel(stream);
    }
    Ok(())
}
