use std::ffi::{c_char, c_void};
use std::fmt;
use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fathom_sys as sys;

use crate::model::{Model, ModelOptions};
use crate::raw::{self, FromField, Handle, facts, sized};
use crate::{ErrorKind, Result};

/// Who runs the engine's steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// A thread of the engine's own.
    #[default]
    Threaded,
    /// The host, by calling [`Engine::step`].
    Manual,
}

/// The instruction set that the engine uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CpuLevel {
    /// The best that the processor has.
    #[default]
    Auto,
    /// Plain C++.
    Scalar,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL.
    Avx512,
    /// AVX-512 with BF16 dot products.
    Avx512Bf16,
}

/// The kind of a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DeviceKind {
    /// A processor of this machine.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by the plugin `libfathom_cuda.so.1` and the driver's `libcuda.so.1`.
    Cuda,
    /// A kind that is younger than this crate, by its number in the C interface.
    Other(i32),
}

impl DeviceKind {
    fn to_raw(self) -> i32 {
        match self {
            Self::Cpu => sys::FATHOM_DEVICE_CPU,
            Self::Cuda => sys::FATHOM_DEVICE_CUDA,
            Self::Other(kind) => kind,
        }
    }
}

impl FromField<i32> for DeviceKind {
    fn from_field(field: &i32) -> Self {
        match *field {
            sys::FATHOM_DEVICE_CPU => Self::Cpu,
            sys::FATHOM_DEVICE_CUDA => Self::Cuda,
            other => Self::Other(other),
        }
    }
}

/// How much a log record matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Something that a person should look at.
    Warning,
    /// Something that happens once in a while: a model was loaded.
    Info,
}

/// Options of an engine; the default is zero everywhere, and zero is the library's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineOptions {
    /// Who runs the steps.
    pub mode: Mode,
    /// Computing threads, 1 to 1024; 0: one a usable processor.
    pub n_threads: u32,
    /// The instruction set; a level that the processor lacks is an error.
    pub cpu_level: CpuLevel,
    /// The same model, prompt, options and seed give the same tokens, whatever else runs. Costs
    /// prefill time on long prompts.
    pub deterministic: bool,
    /// Most tokens in one step, 1 to 65536; 0: 512.
    pub max_batch_rows: u32,
    /// Most sequences in one step, 1 to 4096; 0: 64.
    pub max_sequences: u32,
    /// Most bytes for weights, KV cache and workspace together; 0: no limit.
    pub memory_budget: u64,
    /// Bytes for the KV cache of each model; 0: what one session of its default context needs.
    pub kv_cache_bytes: u64,
    /// What computes. What a device lacks is an error; no other device takes its place.
    pub device: DeviceKind,
    /// Which of several devices of that kind, from 0.
    pub device_index: u32,
    /// Folder of the driver's library; `None`: the system's.
    pub driver_folder: Option<PathBuf>,
    /// Folder of the device's plugin; `None`: beside the library.
    pub plugin_folder: Option<PathBuf>,
}

impl EngineOptions {
    /// Borrows from `self`.
    pub(crate) fn to_raw(&self) -> sys::fathom_engine_options {
        let folder = |folder: &Option<PathBuf>| {
            raw::path_parts(folder.as_deref().unwrap_or_else(|| Path::new("")))
        };
        let (driver_folder, driver_folder_bytes) = folder(&self.driver_folder);
        let (plugin_folder, plugin_folder_bytes) = folder(&self.plugin_folder);
        sized!(fathom_engine_options {
            mode: match self.mode {
                Mode::Threaded => sys::FATHOM_MODE_THREADED,
                Mode::Manual => sys::FATHOM_MODE_MANUAL,
            },
            n_threads: raw::count(self.n_threads),
            cpu_level: match self.cpu_level {
                CpuLevel::Auto => sys::FATHOM_CPU_AUTO,
                CpuLevel::Scalar => sys::FATHOM_CPU_SCALAR,
                CpuLevel::Avx2 => sys::FATHOM_CPU_AVX2,
                CpuLevel::Avx512 => sys::FATHOM_CPU_AVX512,
                CpuLevel::Avx512Bf16 => sys::FATHOM_CPU_AVX512_BF16,
            },
            deterministic: self.deterministic.into(),
            max_batch_rows: raw::count(self.max_batch_rows),
            max_sequences: raw::count(self.max_sequences),
            memory_budget: self.memory_budget,
            kv_cache_bytes: self.kv_cache_bytes,
            device: self.device.to_raw(),
            device_index: raw::count(self.device_index),
            driver_folder: driver_folder,
            driver_folder_bytes: driver_folder_bytes,
            plugin_folder: plugin_folder,
            plugin_folder_bytes: plugin_folder_bytes,
        })
    }
}

type LogHook = Box<dyn Fn(LogLevel, &str) + Send + Sync>;

/// Threads, memory and schedule. Most programs have one.
///
/// A clone is the same engine. It ends when the last clone and everything that was made with it are
/// dropped, in any order.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

/// Fields are dropped in this order: the engine has ended before its hook goes.
struct Shared {
    handle: Handle<sys::fathom_engine>,
    _log: Option<Box<LogHook>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("handle", &self.handle().raw()).finish_non_exhaustive()
    }
}

impl Engine {
    /// The C handle, for what this crate has no call for. It stays this object's.
    #[must_use]
    pub fn as_raw(&self) -> *mut sys::fathom_engine {
        self.handle().raw()
    }

    /// Creates an engine, loading the library if this is the first use of it.
    ///
    /// # Errors
    /// The library was not found, an option is out of range, or the system refused memory.
    pub fn new(options: &EngineOptions) -> Result<Self> {
        Self::create(options, None)
    }

    /// [`new`](Self::new) with a function that receives the engine's log, on whatever thread.
    ///
    /// The function must not call back into this crate. A panic in it ends at the hook.
    ///
    /// ```no_run
    /// use fathom::{Engine, EngineOptions, LogLevel};
    ///
    /// let engine = Engine::with_log(&EngineOptions::default(), |level, text| match level {
    ///     LogLevel::Warning => eprintln!("warning: {text}"),
    ///     LogLevel::Info => eprintln!("{text}"),
    /// })?;
    /// # Ok::<(), fathom::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_log(
        options: &EngineOptions,
        log: impl Fn(LogLevel, &str) + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::create(options, Some(Box::new(Box::new(log))))
    }

    fn create(options: &EngineOptions, log: Option<Box<LogHook>>) -> Result<Self> {
        let api = raw::api()?;
        let mut raw_options = options.to_raw();
        if let Some(hook) = &log {
            raw_options.log = Some(log_trampoline);
            raw_options.log_user_data = (&raw const **hook).cast_mut().cast();
        }
        // SAFETY: the options live during the call, the hook longer than the engine.
        let handle = Handle::from_call(api, |engine, error| unsafe {
            api.fathom_engine_create(&raw const raw_options, engine, error)
        })?;
        Ok(Self { shared: Arc::new(Shared { handle, _log: log }) })
    }

    pub(crate) fn handle(&self) -> &Handle<sys::fathom_engine> {
        &self.shared.handle
    }

    /// Loads a checkpoint folder. Blocks; a failure leaves no trace.
    ///
    /// # Errors
    /// The folder cannot be read, is no checkpoint that this library knows, or does not fit.
    pub fn load(&self, folder: impl AsRef<Path>, options: &ModelOptions) -> Result<Model> {
        Model::load(self, folder.as_ref(), options, None)
    }

    /// [`load`](Self::load) with a function that is told how far it is, in bytes done of bytes in
    /// all, and that may break it off. A panic in it breaks it off, too, and goes on here.
    ///
    /// # Errors
    /// As [`load`](Self::load), and [`ErrorKind::Cancelled`] when the function broke it off.
    pub fn load_with_progress(
        &self,
        folder: impl AsRef<Path>,
        options: &ModelOptions,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Model> {
        Model::load(self, folder.as_ref(), options, Some(&mut progress))
    }

    /// Runs steps on this thread until the time is used up, at least one: [`Mode::Manual`] only.
    /// Says whether work is left.
    ///
    /// # Errors
    /// The engine has a thread of its own, or another thread is inside this call.
    pub fn step(&self, budget: Duration) -> Result<bool> {
        let handle = self.handle();
        let mut more = 0;
        // SAFETY: the engine is live and `more` writable.
        raw::check(handle, |error| unsafe {
            let budget = raw::nanoseconds(budget);
            handle.fathom_engine_step(handle.raw(), budget, &raw mut more, error)
        })?;
        Ok(more != 0)
    }

    /// Lets running streams finish until the time is over, then cancels them. New work is refused
    /// from the first moment; afterwards no thread of the engine runs. Idempotent.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when streams were cancelled.
    pub fn shutdown(&self, timeout: Duration) -> Result<()> {
        let handle = self.handle();
        // SAFETY: the engine is live.
        raw::check(handle, |error| unsafe {
            handle.fathom_engine_shutdown(handle.raw(), raw::nanoseconds(timeout), error)
        })
    }

    /// Reads the counters. Cheap.
    ///
    /// # Errors
    /// None that a correct library would give.
    pub fn stats(&self) -> Result<EngineStats> {
        let handle = self.handle();
        // SAFETY: the engine is live.
        EngineStats::read(handle, |stats, error| unsafe {
            handle.fathom_engine_stats_read(handle.raw(), stats, error)
        })
    }
}

facts! {
    /// A snapshot of an engine's counters.
    EngineStats = fathom_engine_stats {
        /// 0, or the status of the failure that made the engine unusable.
        device_status: i32,
        /// Loaded models.
        n_models: u64,
        /// Open sessions.
        n_sessions: u64,
        /// Streams waiting for their first step.
        n_waiting: u64,
        /// Streams with a place in the batch.
        n_running: u64,
        /// KV pages of all models, 64 tokens each.
        kv_pages: u64,
        /// Of these, pages that hold tokens.
        kv_pages_used: u64,
        /// Steps since creation.
        n_steps: u64,
        /// Prompt tokens computed.
        prefill_tokens: u64,
        /// Tokens generated.
        decode_tokens: u64,
        /// Weights, KV cache and workspace now.
        memory_bytes: u64,
        /// Nanoseconds inside steps.
        step_ns_total: u64,
        /// Of these, inside the backend's kernels.
        backend_ns_total: u64,
    }
}

impl EngineStats {
    /// The failure that made the engine unusable, if there was one.
    #[must_use]
    pub fn device_failure(&self) -> Option<ErrorKind> {
        ErrorKind::of_status(self.device_status)
    }
}

/// Takes one log record to the closure; nothing that it throws may reach the library's frames.
unsafe extern "C" fn log_trampoline(
    user_data: *mut c_void,
    level: i32,
    text: *const c_char,
    bytes: u64,
) {
    let level = if level == sys::FATHOM_LOG_WARNING { LogLevel::Warning } else { LogLevel::Info };
    // The payload of a panic may panic when it is dropped, so it is forgotten.
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: `create` gave this pointer, and the hook lives longer than the engine; the text
        // is valid during the call.
        let (hook, text) = unsafe { (&*user_data.cast::<LogHook>(), raw::lossy(text, bytes)) };
        hook(level, &text);
    })) {
        std::mem::forget(payload);
    }
}
