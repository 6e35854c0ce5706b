//! Steps 1 to 8: the library without a loaded model.

use std::ops::ControlFlow;
use std::path::Path;
use std::ptr;

use fathom::sys;
use fathom::{Engine, EngineOptions, KvType, Mode, Model, ModelOptions, Result, Tokenizer};

use crate::{Paths, engine_of, engine_options, log};

pub(crate) fn versions() -> Result<()> {
    log::step(1, "library");
    let (major, minor) = fathom::abi_version()?;
    log::line("abi major", major);
    let version = major << 16 | minor;
    log::truth("minor is the header's or later", version >= sys::FATHOM_ABI_VERSION);
    let info: serde_json::Value =
        serde_json::from_str(fathom::build_info()?).expect("the build info is JSON");
    log::truth("build info names its version", info["version"].is_string());
    for name in
        ["arch.deepseek_v3", "backend.cpu", "dialect.deepseek-v3.1", "tokenizer.json", "arch.llama"]
    {
        log::truth(name, fathom::is_supported(name)?);
    }
    for status in -1..=sys::FATHOM_INTERNAL + 1 {
        log::line(&format!("status {status}"), log::status_name(status));
    }
    Ok(())
}

pub(crate) fn structs() {
    log::step(2, "structs");
    let api = log::api();
    macro_rules! initialised {
        ($($type:ident $name:literal $id:ident,)*) => {
            $({
                let size = size_of::<sys::$type>();
                let mut room = [0xffff_ffff_u32; 256];
                let number = u32::try_from(size).expect("a struct is small");
                // SAFETY: there is room for every struct.
                let status = unsafe {
                    api.fathom_struct_init(room.as_mut_ptr().cast(), sys::$id, number)
                };
                log::line($name, log::status_name(status));
                let rest_zero = room[1..size / 4].iter().all(|&word| word == 0);
                log::line("size", format_args!("{}, rest zero: {}", room[0], i32::from(rest_zero)));
                assert_eq!(room[size / 4], 0xffff_ffff);
            })*
        };
    }
    initialised! {
        fathom_engine_options "engine_options" FATHOM_STRUCT_ENGINE_OPTIONS,
        fathom_engine_stats "engine_stats" FATHOM_STRUCT_ENGINE_STATS,
        fathom_device_info "device_info" FATHOM_STRUCT_DEVICE_INFO,
        fathom_source "source" FATHOM_STRUCT_SOURCE,
        fathom_model_options "model_options" FATHOM_STRUCT_MODEL_OPTIONS,
        fathom_model_description "model_description" FATHOM_STRUCT_MODEL_DESCRIPTION,
        fathom_memory_plan "memory_plan" FATHOM_STRUCT_MEMORY_PLAN,
        fathom_tokenizer_description "tokenizer_description" FATHOM_STRUCT_TOKENIZER_DESCRIPTION,
        fathom_prompt_options "prompt_options" FATHOM_STRUCT_PROMPT_OPTIONS,
        fathom_message "message" FATHOM_STRUCT_MESSAGE,
        fathom_session_options "session_options" FATHOM_STRUCT_SESSION_OPTIONS,
        fathom_session_description "session_description" FATHOM_STRUCT_SESSION_DESCRIPTION,
        fathom_generate_options "generate_options" FATHOM_STRUCT_GENERATE_OPTIONS,
        fathom_event "event" FATHOM_STRUCT_EVENT,
        fathom_usage "usage" FATHOM_STRUCT_USAGE,
    }
    let mut room = [0_u32; 256];
    let somewhere = room.as_mut_ptr().cast();
    // SAFETY: there is room for every struct, and NULL is refused.
    let [unknown, small, none] = unsafe {
        [
            api.fathom_struct_init(somewhere, 0, 64),
            api.fathom_struct_init(somewhere, sys::FATHOM_STRUCT_USAGE, 8),
            api.fathom_struct_init(ptr::null_mut(), sys::FATHOM_STRUCT_USAGE, 64),
        ]
    };
    log::line("unknown id", log::status_name(unknown));
    log::line("too small", log::status_name(small));
    log::line("no struct", log::status_name(none));
}

pub(crate) fn devices() -> Result<()> {
    log::step(3, "devices");
    let devices = fathom::devices()?;
    let is_cpu = |device: &&fathom::Device| device.kind == fathom::DeviceKind::Cpu;
    log::line("cpus", devices.iter().filter(is_cpu).count());
    let whole = devices.iter().all(|device| {
        !device.name.is_empty()
            && device.memory_total > 0
            && device.memory_available <= device.memory_total
            && device.n_processors > 0
    });
    log::truth("each has a name, memory and processors", whole);
    Ok(())
}

fn utf8(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("whole characters")
}

pub(crate) fn tokenizer(at: &Paths) -> Result<()> {
    log::step(4, "tokenizer");
    let tokenizer = Tokenizer::open(&at.model)?;
    let facts = tokenizer.describe()?;
    let number = |id: Option<i32>| id.unwrap_or(-1);
    log::line(
        "tokens",
        format_args!(
            "{} bos={} eos={} pad={} adds_bos={}",
            facts.n_tokens,
            number(facts.bos_id),
            number(facts.eos_id),
            number(facts.pad_id),
            i32::from(facts.adds_bos)
        ),
    );
    log::line("fingerprint", format_args!("{:016x}", facts.fingerprint));
    log::line("dialect", facts.dialect);
    let ids = tokenizer.encode("What is 12 + 34?\nnaïve \"quoted\"")?;
    log::ids("text", &ids);
    log::text("decoded", &utf8(tokenizer.decode(&ids)?));
    log::ids("empty", &tokenizer.encode("")?);
    log::ids("marker as text", &tokenizer.encode("<｜User｜>Hi")?);
    let ids = tokenizer.encode_trusted("<｜User｜>Hi", true)?;
    log::ids("marker as token", &ids);
    log::text("decoded", &utf8(tokenizer.decode(&ids)?));
    log::text("without special tokens", &utf8(tokenizer.decode_text(&ids)?));
    Ok(())
}

pub(crate) fn tokenizer_errors(at: &Paths) -> Result<()> {
    log::step(5, "tokenizer errors");
    let tokenizer = Tokenizer::open(&at.model)?;
    let error = tokenizer.decode(&[5, 1_000_000]).expect_err("there is no such token");
    log::truth("message names the id", error.message().contains("1000000"));
    log::failure("id out of range", &error);
    let (api, raw) = (log::api(), tokenizer.as_raw());
    let (mut count, mut room) = (0, [0_i32; 1]);
    // SAFETY: texts and rooms are as long as the numbers say.
    unsafe {
        log::raw("unknown flag", |error| {
            let (text, flags) = (c"a b".as_ptr(), 0x8000_0000);
            api.fathom_tokenizer_encode(
                raw,
                text,
                3,
                flags,
                ptr::null_mut(),
                0,
                &raw mut count,
                error,
            )
        });
        log::raw("no room", |error| {
            let (text, ids) = (c"What is this?".as_ptr(), room.as_mut_ptr());
            api.fathom_tokenizer_encode(raw, text, 13, 0, ids, 1, &raw mut count, error)
        });
    }
    log::line("wanted room", count);
    log::result("no folder", Tokenizer::open("/nowhere/at/all"));
    log::result("no path", Tokenizer::open(""));
    Ok(())
}

pub(crate) fn kv_number(kv_type: KvType) -> i32 {
    match kv_type {
        KvType::Bf16 => sys::FATHOM_KV_BF16,
        KvType::F32 => sys::FATHOM_KV_F32,
        _ => sys::FATHOM_KV_AUTO,
    }
}

pub(crate) fn estimate(at: &Paths) -> Result<()> {
    log::step(6, "estimate and inspect");
    let engine = engine_options(Mode::Threaded);
    let options = ModelOptions { context: 256, ..ModelOptions::default() };
    let plan = Model::estimate(&engine, &at.model, &options)?;
    log::line(
        "plan",
        format_args!(
            "kv_type={} context={} kv_cache={}",
            kv_number(plan.kv_type),
            plan.context,
            plan.kv_cache_bytes
        ),
    );
    let (latent, whole) = (plan.kv_bytes_per_token, plan.mha_bytes_per_token);
    log::line("a token", format_args!("{latent} bytes, with all heads {whole}"));
    let (all, active) = (plan.parameters, plan.active_parameters);
    log::line("parameters", format_args!("{all}, active {active}"));
    log::line("file bytes", plan.file_bytes);
    let together = plan.weight_bytes + plan.workspace_bytes + plan.kv_cache_bytes;
    log::truth("adds up", plan.total_bytes == together);
    let json = Model::inspect(&engine, &at.model, &options)?;
    let parsed: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    log::truth("inspected", parsed.is_object() && json.contains("\"deepseek_v3\""));
    Ok(())
}

pub(crate) fn load_errors(at: &Paths) -> Result<()> {
    log::step(7, "load errors");
    let engine = engine_of(Mode::Threaded)?;
    let options = ModelOptions::default();
    let refused = |name: &str, folder: &Path, options: &ModelOptions| {
        log::result(name, engine.load(folder, options));
    };
    refused("no folder", Path::new("/nowhere/at/all"), &options);
    refused("no path", Path::new(""), &options);
    refused("broken config", &at.folders.join("broken"), &options);
    refused("another architecture", &at.folders.join("unsupported"), &options);
    let cancelled = engine.load_with_progress(&at.model, &options, |_, _| ControlFlow::Break(()));
    log::result("cancelled", cancelled);
    let long = ModelOptions { context: 1 << 30, ..ModelOptions::default() };
    refused("context too long", &at.model, &long);
    let dialect = ModelOptions { dialect: Some("nonsense".to_owned()), ..ModelOptions::default() };
    refused("unknown dialect", &at.model, &dialect);
    let tight = EngineOptions { memory_budget: 1 << 20, ..engine_options(Mode::Threaded) };
    log::result("over budget", Engine::new(&tight)?.load(&at.model, &options));
    Ok(())
}

pub(crate) fn engine_errors() {
    #[repr(C)]
    #[derive(Default)]
    struct Newer {
        known: sys::fathom_engine_options,
        later: u64,
    }
    log::step(8, "engine errors");
    let many = EngineOptions { n_threads: 1025, ..EngineOptions::default() };
    log::result("too many threads", Engine::new(&many));
    let struct_size = u32::try_from(size_of::<sys::fathom_engine_options>()).expect("small");
    let known = sys::fathom_engine_options { struct_size, ..Default::default() };
    let refused = |name: &str, options: &sys::fathom_engine_options| {
        let mut engine = ptr::null_mut();
        // SAFETY: the options are as long as they say, or say too little.
        log::raw(name, |error| unsafe {
            log::api().fathom_engine_create(options, &raw mut engine, error)
        });
        assert!(engine.is_null());
    };
    refused("negative threads", &sys::fathom_engine_options { n_threads: -1, ..known });
    refused("unknown mode", &sys::fathom_engine_options { mode: 2, ..known });
    refused("struct too small", &sys::fathom_engine_options { struct_size: 4, ..known });
    let mut newer = Newer { known, later: 1 };
    newer.known.struct_size += 8;
    assert_eq!(newer.later, 1);
    let mut engine = ptr::null_mut();
    // SAFETY: the options are as long as they say.
    log::raw("field of a newer library", |error| unsafe {
        log::api().fathom_engine_create((&raw const newer).cast(), &raw mut engine, error)
    });
}
