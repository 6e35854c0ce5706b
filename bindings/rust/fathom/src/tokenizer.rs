use std::fmt;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use fathom_sys as sys;

use crate::Result;
use crate::raw::{self, Api, Handle, facts};

/// Text to token ids and back. A clone is the same tokenizer.
#[derive(Clone)]
pub struct Tokenizer {
    handle: Arc<Handle<sys::fathom_tokenizer>>,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("handle", &self.handle.raw()).finish()
    }
}

impl Tokenizer {
    /// The C handle, for what this crate has no call for. It stays this object's.
    #[must_use]
    pub fn as_raw(&self) -> *mut sys::fathom_tokenizer {
        self.handle.raw()
    }

    /// Opens the tokenizer of a folder without any weights.
    ///
    /// # Errors
    /// The folder cannot be read or its tokenizer is not one that this library knows.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let api = raw::api()?;
        let source = raw::source_of(folder.as_ref());
        // SAFETY: the source lives during the call.
        let handle = Handle::from_call(api, |tokenizer, error| unsafe {
            api.fathom_tokenizer_open(&raw const source, tokenizer, error)
        })?;
        Ok(Self::from_handle(handle))
    }

    pub(crate) fn from_handle(handle: Handle<sys::fathom_tokenizer>) -> Self {
        Self { handle: Arc::new(handle) }
    }

    pub(crate) fn handle(&self) -> &Handle<sys::fathom_tokenizer> {
        &self.handle
    }

    /// Text to ids. No text whatsoever yields a control token.
    ///
    /// # Errors
    /// The system refused memory.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>> {
        self.encode_with(text, 0)
    }

    /// [`encode`](Self::encode), but spellings of added tokens become these tokens, and `bos` puts
    /// the beginning-of-sentence token first. Only for text that you trust.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_trusted(&self, text: &str, bos: bool) -> Result<Vec<i32>> {
        let bos = if bos { sys::FATHOM_ENCODE_BOS } else { 0 };
        self.encode_with(text, sys::FATHOM_ENCODE_SPECIAL | bos)
    }

    fn encode_with(&self, text: &str, flags: u32) -> Result<Vec<i32>> {
        let handle = self.handle();
        let (data, bytes) = raw::text_parts(text);
        fill(handle, |ids, capacity, count, error| {
            // SAFETY: the tokenizer is live, the text valid, and `ids` has room for `capacity`.
            unsafe {
                let raw = handle.raw();
                handle.fathom_tokenizer_encode(raw, data, bytes, flags, ids, capacity, count, error)
            }
        })
    }

    /// Ids to bytes, exactly; a token may hold part of a character, so this is no `String`.
    ///
    /// # Errors
    /// An id is out of range; the message names it.
    pub fn decode(&self, ids: &[i32]) -> Result<Vec<u8>> {
        self.decode_with(ids, 0)
    }

    /// [`decode`](Self::decode) without tokens that the tokenizer marks as special.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_text(&self, ids: &[i32]) -> Result<Vec<u8>> {
        self.decode_with(ids, sys::FATHOM_DECODE_SKIP_SPECIAL)
    }

    fn decode_with(&self, ids: &[i32], flags: u32) -> Result<Vec<u8>> {
        let handle = self.handle();
        let (ids, n_ids) = raw::parts(ids);
        fill(handle, |bytes: *mut u8, capacity, count, error| {
            // SAFETY: the tokenizer is live, the ids valid, and `bytes` has room for `capacity`.
            unsafe {
                let (raw, text) = (handle.raw(), bytes.cast());
                handle.fathom_tokenizer_decode(raw, ids, n_ids, flags, text, capacity, count, error)
            }
        })
    }

    /// Facts about the tokenizer.
    ///
    /// # Errors
    /// None that a correct library would give.
    pub fn describe(&self) -> Result<TokenizerDescription> {
        let handle = self.handle();
        // SAFETY: the tokenizer is live.
        TokenizerDescription::read(handle, |description, error| unsafe {
            handle.fathom_tokenizer_describe(handle.raw(), description, error)
        })
    }
}

/// Makes a call twice: for the count, then for the elements.
pub(crate) fn fill<T: Clone + Default>(
    api: &Api,
    mut call: impl FnMut(*mut T, u64, *mut u64, *mut *mut sys::fathom_error) -> i32,
) -> Result<Vec<T>> {
    let mut count = 0;
    raw::check(api, |error| call(ptr::null_mut(), 0, &raw mut count, error))?;
    let mut elements = vec![T::default(); usize::try_from(count).unwrap_or(usize::MAX)];
    if !elements.is_empty() {
        raw::check(api, |error| call(elements.as_mut_ptr(), count, &raw mut count, error))?;
    }
    Ok(elements)
}

facts! {
    /// Facts about a tokenizer.
    TokenizerDescription = fathom_tokenizer_description {
        /// Ids are 0 to `n_tokens - 1`.
        n_tokens: u32,
        /// Beginning of sentence.
        bos_id: Option<i32>,
        /// End of sentence.
        eos_id: Option<i32>,
        /// Padding.
        pad_id: Option<i32>,
        /// Whether prompts of this tokenizer begin with `bos_id`.
        adds_bos: bool,
        /// Hash of the tokenizer's file.
        fingerprint: u64,
        /// Dialect recognised from the folder; `raw` when none.
        dialect: String,
    }
}
