use std::any::Any;
use std::ffi::{CString, c_void};
use std::fmt;
use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use fathom_sys as sys;

use crate::engine::{Engine, EngineOptions};
use crate::raw::{self, FromField, Handle, facts, sized};
use crate::session::{Session, SessionOptions};
use crate::tokenizer::Tokenizer;
use crate::{Error, ErrorKind, Result};

/// The type of the values in the KV cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KvType {
    /// The type that fits the weights: F32 for F32, else BF16.
    #[default]
    Auto,
    /// BF16.
    Bf16,
    /// F32.
    F32,
}

impl FromField<i32> for KvType {
    fn from_field(field: &i32) -> Self {
        match *field {
            sys::FATHOM_KV_BF16 => Self::Bf16,
            sys::FATHOM_KV_F32 => Self::F32,
            _ => Self::Auto,
        }
    }
}

/// Options of a model; the default is the library's everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelOptions {
    /// The type of the KV cache.
    pub kv_type: KvType,
    /// Most tokens in a session; 0: the smaller of 4096 and what the checkpoint allows.
    pub context: u64,
    /// A dialect's name, `deepseek-v3.1` for instance; `None`: recognised from the folder.
    pub dialect: Option<String>,
}

impl ModelOptions {
    /// Borrows from `self`.
    fn to_raw(&self) -> sys::fathom_model_options {
        let (dialect, dialect_bytes) = raw::text_parts(self.dialect.as_deref().unwrap_or_default());
        sized!(fathom_model_options {
            kv_type: match self.kv_type {
                KvType::Auto => sys::FATHOM_KV_AUTO,
                KvType::Bf16 => sys::FATHOM_KV_BF16,
                KvType::F32 => sys::FATHOM_KV_F32,
            },
            context: self.context,
            dialect: dialect,
            dialect_bytes: dialect_bytes,
        })
    }
}

pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// A loaded checkpoint. A clone is the same model.
#[derive(Clone)]
pub struct Model {
    handle: Arc<Handle<sys::fathom_model>>,
    engine: Engine,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("handle", &self.handle.raw()).finish_non_exhaustive()
    }
}

impl Model {
    /// The C handle, for what this crate has no call for. It stays this object's.
    #[must_use]
    pub fn as_raw(&self) -> *mut sys::fathom_model {
        self.handle.raw()
    }

    pub(crate) fn load(
        engine: &Engine,
        folder: &Path,
        options: &ModelOptions,
        progress: Option<Progress<'_>>,
    ) -> Result<Self> {
        let api = engine.handle().api;
        let source = raw::source_of(folder);
        let mut options = options.to_raw();
        let mut watcher = Watcher { progress, panic: None };
        if watcher.progress.is_some() {
            options.progress = Some(progress_trampoline);
            options.progress_user_data = (&raw mut watcher).cast();
        }
        // SAFETY: everything that is pointed to lives during the call, and the engine is live.
        let loaded = Handle::from_call(api, |model, error| unsafe {
            let engine = engine.handle().raw();
            api.fathom_model_load(engine, &raw const source, &raw const options, model, error)
        });
        if let Some(payload) = watcher.panic {
            panic::resume_unwind(payload);
        }
        Ok(Self { handle: Arc::new(loaded?), engine: engine.clone() })
    }

    /// What loading a folder will take, from its headers alone.
    ///
    /// # Errors
    /// What [`Engine::load`] would say of the same headers. The plan of a folder that does not fit
    /// into a memory budget is to be had without that budget.
    pub fn estimate(
        engine_options: &EngineOptions,
        folder: impl AsRef<Path>,
        options: &ModelOptions,
    ) -> Result<MemoryPlan> {
        let api = raw::api()?;
        let engine = engine_options.to_raw();
        let (source, options) = (raw::source_of(folder.as_ref()), options.to_raw());
        // SAFETY: everything that is pointed to lives during the call.
        MemoryPlan::read(api, |plan, error| unsafe {
            let (engine, options) = (&raw const engine, &raw const options);
            api.fathom_model_estimate(engine, &raw const source, options, plan, error)
        })
    }

    /// All that the headers of a folder say, as JSON.
    ///
    /// # Errors
    /// As [`estimate`](Self::estimate).
    pub fn inspect(
        engine_options: &EngineOptions,
        folder: impl AsRef<Path>,
        options: &ModelOptions,
    ) -> Result<String> {
        let api = raw::api()?;
        let engine = engine_options.to_raw();
        let (source, options) = (raw::source_of(folder.as_ref()), options.to_raw());
        // SAFETY: everything that is pointed to lives during the call.
        let json = Handle::<sys::fathom_buffer>::from_call(api, |json, error| unsafe {
            let (engine, options) = (&raw const engine, &raw const options);
            api.fathom_model_inspect(engine, &raw const source, options, json, error)
        })?;
        Ok(json.to_text())
    }

    /// The engine that it was loaded into.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn handle(&self) -> &Handle<sys::fathom_model> {
        &self.handle
    }

    /// Facts about the model.
    ///
    /// # Errors
    /// None that a correct library would give.
    pub fn describe(&self) -> Result<ModelDescription> {
        let handle = self.handle();
        // SAFETY: the model is live.
        ModelDescription::read(handle, |description, error| unsafe {
            handle.fathom_model_describe(handle.raw(), description, error)
        })
    }

    /// One of an open list of facts: every scalar of `config.json` (`config.rope_theta`),
    /// `dialect`, `architecture`, `backend`.
    ///
    /// # Errors
    /// There is no such key.
    pub fn metadata(&self, key: &str) -> Result<String> {
        let handle = self.handle();
        let key = CString::new(key)
            .map_err(|_| Error::new(ErrorKind::InvalidArgument, "metadata: the key holds a NUL"))?;
        let (mut value, mut bytes) = (ptr::null(), 0);
        // SAFETY: the model is live, the key is NUL-terminated, and the value belongs to the model.
        unsafe {
            raw::check(handle, |error| {
                let (value, bytes) = (&raw mut value, &raw mut bytes);
                handle.fathom_model_metadata_get(handle.raw(), key.as_ptr(), value, bytes, error)
            })?;
            Ok(raw::lossy(value, bytes))
        }
    }

    /// The model's tokenizer.
    ///
    /// # Errors
    /// The folder has none.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let handle = self.handle();
        // SAFETY: the model is live.
        let tokenizer = Handle::from_call(handle.api, |tokenizer, error| unsafe {
            handle.fathom_model_tokenizer(handle.raw(), tokenizer, error)
        })?;
        Ok(Tokenizer::from_handle(tokenizer))
    }

    /// Opens a session.
    ///
    /// # Errors
    /// An option is out of range, or the engine is shutting down.
    pub fn session(&self, options: &SessionOptions) -> Result<Session> {
        Session::create(self, options)
    }
}

/// What the trampoline gets to see of the caller.
struct Watcher<'a> {
    progress: Option<Progress<'a>>,
    panic: Option<Box<dyn Any + Send>>,
}

/// Asks the closure whether to go on. A panic is kept for the frames on the other side.
unsafe extern "C" fn progress_trampoline(user_data: *mut c_void, done: u64, total: u64) -> i32 {
    // SAFETY: `load` gave this pointer and waits on this thread.
    let watcher = unsafe { &mut *user_data.cast::<Watcher<'_>>() };
    let Some(progress) = watcher.progress.as_mut() else { return 0 };
    match panic::catch_unwind(AssertUnwindSafe(|| progress(done, total))) {
        Ok(ControlFlow::Continue(())) => 0,
        Ok(ControlFlow::Break(())) => 1,
        Err(payload) => {
            watcher.panic = Some(payload);
            1
        }
    }
}

facts! {
    /// What loading a checkpoint will take.
    MemoryPlan = fathom_memory_plan {
        /// The type of the KV cache.
        kv_type: KvType,
        /// Weights in memory.
        weight_bytes: u64,
        /// Activations and scratch.
        workspace_bytes: u64,
        /// KV cache.
        kv_cache_bytes: u64,
        /// The three together.
        total_bytes: u64,
        /// KV cache of one token, all layers.
        kv_bytes_per_token: u64,
        /// The same if keys and values were cached for each head.
        mha_bytes_per_token: u64,
        /// Tokens of one session.
        context: u64,
        /// Parameters of the model, without layers not loaded.
        parameters: u64,
        /// Parameters that one token uses.
        active_parameters: u64,
        /// Bytes of all tensors in the files.
        file_bytes: u64,
    }
}

facts! {
    /// Facts about a loaded model.
    ModelDescription = fathom_model_description {
        /// Decoder layers, without multi-token-prediction layers.
        n_layers: u32,
        /// Routed experts in a layer; 0: none.
        n_routed_experts: u32,
        /// Routed experts a token uses in a layer.
        n_active_experts: u32,
        /// Width of the residual stream.
        hidden_size: u32,
        /// Rows of the head, padding included.
        vocabulary_rows: u32,
        /// Attention heads.
        n_heads: u32,
        /// The type of the KV cache.
        kv_type: KvType,
        /// Most tokens in a session.
        context: u64,
        /// Parameters loaded.
        parameters: u64,
        /// Parameters that one token uses.
        active_parameters: u64,
        /// Weights in memory.
        weight_bytes: u64,
        /// Activations and scratch.
        workspace_bytes: u64,
        /// KV cache.
        kv_cache_bytes: u64,
        /// KV cache of one token.
        kv_bytes_per_token: u64,
        /// Hash of config and tensor headers.
        fingerprint: u64,
        /// `model_type` of `config.json`.
        architecture: String,
        /// Name of the dialect; `raw` for a base model.
        dialect: String,
    }
}
