use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;

use fathom_sys as sys;

use crate::message::{Message, Role};
use crate::raw::{self, Handle, sized};
use crate::tokenizer::{Tokenizer, fill};
use crate::{Error, ErrorKind, Result};

/// Whether an answer begins with reasoning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Thinking {
    /// The dialect's own default.
    #[default]
    Auto,
    /// With reasoning, where the dialect can.
    On,
    /// Without reasoning, where the dialect can.
    Off,
}

/// Options of a prompt; the default is the library's everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptOptions {
    /// Whether the answer begins with reasoning.
    pub thinking: Thinking,
    /// Do not open the assistant's turn at the end.
    pub no_generation: bool,
    /// Name of a dialect; `None`: as recognised from the folder.
    pub dialect: Option<String>,
}

/// A conversation under construction. Text never becomes a control token.
///
/// It may move between threads, but only one at a time may use it.
pub struct Prompt {
    handle: Handle<sys::fathom_prompt>,
    /// Two threads inside one prompt would get [`ErrorKind::Busy`]; the compiler says it earlier.
    _not_sync: PhantomData<Cell<()>>,
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prompt").field("handle", &self.handle.raw()).finish_non_exhaustive()
    }
}

impl Prompt {
    /// The C handle, for what this crate has no call for. It stays this object's.
    #[must_use]
    pub fn as_raw(&self) -> *mut sys::fathom_prompt {
        self.handle.raw()
    }

    /// Starts a conversation.
    ///
    /// # Errors
    /// There is no such dialect.
    pub fn new(tokenizer: &Tokenizer, options: &PromptOptions) -> Result<Self> {
        Self::create(Some(tokenizer), options)
    }

    /// A prompt that takes only raw tokens, for a model whose folder has no tokenizer.
    ///
    /// # Errors
    /// The library was not found.
    pub fn raw() -> Result<Self> {
        Self::create(None, &PromptOptions::default())
    }

    fn create(tokenizer: Option<&Tokenizer>, options: &PromptOptions) -> Result<Self> {
        let api = raw::api()?;
        let (dialect, bytes) = raw::text_parts(options.dialect.as_deref().unwrap_or_default());
        let options = sized!(fathom_prompt_options {
            thinking: match options.thinking {
                Thinking::Auto => sys::FATHOM_THINKING_AUTO,
                Thinking::On => sys::FATHOM_THINKING_ON,
                Thinking::Off => sys::FATHOM_THINKING_OFF,
            },
            no_generation: options.no_generation.into(),
            dialect: dialect,
            dialect_bytes: bytes,
        });
        let tokenizer = tokenizer.map_or(ptr::null_mut(), |tokenizer| tokenizer.handle().raw());
        // SAFETY: the options live during the call; the tokenizer is live or NULL.
        let handle = Handle::from_call(api, |prompt, error| unsafe {
            api.fathom_prompt_create(tokenizer, &raw const options, prompt, error)
        })?;
        Ok(Self { handle, _not_sync: PhantomData })
    }

    pub(crate) fn handle(&self) -> &Handle<sys::fathom_prompt> {
        &self.handle
    }

    /// Adds one turn.
    ///
    /// # Errors
    /// The prompt holds raw tokens, or its dialect is `raw`.
    pub fn add(&mut self, message: &Message) -> Result<()> {
        if !message.tool_calls.is_empty() || message.tool_call_id.is_some() {
            return self.add_all(std::slice::from_ref(message));
        }
        let (text, text_bytes) = raw::text_parts(message.content.as_deref().unwrap_or_default());
        let (reasoning, reasoning_bytes) =
            raw::text_parts(message.reasoning_content.as_deref().unwrap_or_default());
        let message = sized!(fathom_message {
            role: match message.role {
                Role::System => sys::FATHOM_ROLE_SYSTEM,
                Role::User => sys::FATHOM_ROLE_USER,
                Role::Assistant => sys::FATHOM_ROLE_ASSISTANT,
                Role::Tool => sys::FATHOM_ROLE_TOOL,
            },
            text: text,
            text_bytes: text_bytes,
            reasoning: reasoning,
            reasoning_bytes: reasoning_bytes,
        });
        let handle = &self.handle;
        // SAFETY: the prompt is live, and the message lives during the call.
        raw::check(handle, |error| unsafe {
            handle.fathom_prompt_add_message(handle.raw(), &raw const message, error)
        })
    }

    /// Adds a whole conversation, all of it or nothing.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_all(&mut self, messages: &[Message]) -> Result<()> {
        let json = serde_json::to_string(messages)
            .map_err(|error| Error::new(ErrorKind::Format, error.to_string()))?;
        self.add_json(&json)
    }

    /// Adds a whole conversation as JSON text, an array in the shape of `OpenAI`'s `messages`.
    ///
    /// # Errors
    /// The text is not that; the message names the element and field.
    pub fn add_json(&mut self, json: &str) -> Result<()> {
        let handle = &self.handle;
        let (json, bytes) = raw::text_parts(json);
        // SAFETY: the prompt is live, and the text lives during the call.
        raw::check(handle, |error| unsafe {
            handle.fathom_prompt_add_openai_json(handle.raw(), json, bytes, error)
        })
    }

    /// Adds exact token ids, control tokens included. Not mixed with messages.
    ///
    /// # Errors
    /// An id is out of range, or the prompt holds messages.
    pub fn add_tokens(&mut self, ids: &[i32]) -> Result<()> {
        let handle = &self.handle;
        let (ids, n_ids) = raw::parts(ids);
        // SAFETY: the prompt is live, and the ids live during the call.
        raw::check(handle, |error| unsafe {
            handle.fathom_prompt_add_tokens(handle.raw(), ids, n_ids, error)
        })
    }

    /// The exact ids that the model would see.
    ///
    /// # Errors
    /// The dialect cannot render this conversation.
    pub fn render(&self) -> Result<Vec<i32>> {
        let handle = &self.handle;
        // SAFETY: the prompt is live, and `ids` has room for `capacity`.
        fill(handle, |ids, capacity, count, error| unsafe {
            handle.fathom_prompt_render(handle.raw(), ids, capacity, count, error)
        })
    }
}
