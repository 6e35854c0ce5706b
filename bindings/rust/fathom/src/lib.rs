#![doc = include_str!("../README.md")]

mod engine;
mod error;
mod events;
mod message;
mod model;
mod prompt;
mod raw;
mod session;
mod tokenizer;
mod waiter;

use std::ffi::{CStr, CString};
use std::path::Path;
use std::ptr;

pub use fathom_sys as sys;

pub use engine::{CpuLevel, DeviceKind, Engine, EngineOptions, EngineStats, LogLevel, Mode};
pub use error::{Error, ErrorKind, Result};
pub use events::{
    Canceller, Event, EventKind, EventStream, Events, Finish, Logprob, Text, TokenIds, Usage,
};
pub use message::{Function, FunctionCall, Message, Role, Tool, ToolCall};
pub use model::{KvType, MemoryPlan, Model, ModelDescription, ModelOptions};
pub use prompt::{Prompt, PromptOptions, Thinking};
pub use session::{GenerateOptions, Session, SessionDescription, SessionOptions};
pub use tokenizer::{Tokenizer, TokenizerDescription};

/// Loads the library from this path and nowhere else. Without it the first call that needs the
/// library looks for it, as the front page says.
///
/// # Errors
/// The file is not there or does not fit, or a library was loaded before.
pub fn load_library(path: impl AsRef<Path>) -> Result<()> {
    sys::load_from(path)?;
    Ok(())
}

/// The interface version of the library that runs, as major and minor.
///
/// # Errors
/// The library was not found.
pub fn abi_version() -> Result<(u32, u32)> {
    // SAFETY: it takes nothing and returns a number.
    let version = unsafe { raw::api()?.fathom_abi_version() };
    Ok((version >> 16, version & 0xffff))
}

/// What the library was built from and with, as one line of JSON. Paste it into a support ticket.
///
/// # Errors
/// The library was not found.
pub fn build_info() -> Result<&'static str> {
    // SAFETY: the text is static and NUL-terminated.
    let info = unsafe { CStr::from_ptr(raw::api()?.fathom_build_info_json()) };
    info.to_str().map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}

/// Whether the library has a capability: `arch.deepseek_v3`, `dialect.deepseek-v3.1`,
/// `dtype.f8_e4m3`, `backend.cpu`.
///
/// # Errors
/// The library was not found.
pub fn is_supported(feature: &str) -> Result<bool> {
    let api = raw::api()?;
    let Ok(feature) = CString::new(feature) else { return Ok(false) };
    // SAFETY: the name is NUL-terminated.
    Ok(unsafe { api.fathom_feature_supported(feature.as_ptr()) } != 0)
}

/// Lists the devices that an engine can use.
///
/// # Errors
/// The library was not found.
pub fn devices() -> Result<Vec<Device>> {
    let api = raw::api()?;
    let mut count = 0;
    // SAFETY: without an array only the count is written.
    raw::check(api, |error| unsafe {
        api.fathom_devices_query(ptr::null_mut(), &raw mut count, error)
    })?;
    let mut devices = vec![raw::sized!(fathom_device_info {}); count as usize];
    // SAFETY: the array has room for `count` devices.
    raw::check(api, |error| unsafe {
        api.fathom_devices_query(devices.as_mut_ptr(), &raw mut count, error)
    })?;
    Ok(devices.iter().map(Device::from_raw).collect())
}

raw::facts! {
    /// A device that an engine can use.
    Device = fathom_device_info {
        /// What it is.
        kind: DeviceKind,
        /// Number within its kind, from 0.
        index: u32,
        /// Processors that this process may use.
        n_processors: u32,
        /// Bytes of memory.
        memory_total: u64,
        /// Bytes free for new work, as the system reports it.
        memory_available: u64,
        /// For people.
        name: String,
        /// Best instruction set, `avx512_bf16` for instance.
        level: String,
    }
}
