use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fathom_sys as sys;

use crate::Result;
use crate::events::Events;
use crate::model::Model;
use crate::prompt::Prompt;
use crate::raw::{self, Handle, facts, sized};

/// Options of a session; the default is the library's everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// Most tokens in this session, at most the model's; 0: the model's.
    pub context: u64,
}

/// Options of one answer; the default is greedy decoding to the end of the turn.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the C interface")]
pub struct GenerateOptions {
    /// Append the prompt to the transcript instead of replacing it.
    pub append: bool,
    /// Compute the prompt and stop; no token is generated.
    pub prompt_only: bool,
    /// Deliver the log-probability of every prompt token after the first that is computed.
    pub prompt_logprobs: bool,
    /// Do not stop at the dialect's end of turn.
    pub ignore_end_of_turn: bool,
    /// Most tokens to generate; 0: what the context leaves.
    pub max_tokens: u64,
    /// 0: greedy; else 0.01 to 100.
    pub temperature: f32,
    /// Keep the k most likely tokens; 0: all.
    pub top_k: u32,
    /// Keep the smallest set with this probability; 0 or 1: all.
    pub top_p: f32,
    /// Drop tokens below this share of the best one's probability.
    pub min_p: f32,
    /// Divides positive logits of tokens seen; 0 or 1: none.
    pub repetition_penalty: f32,
    /// Subtracted once from logits of generated tokens, -2 to 2.
    pub presence_penalty: f32,
    /// Subtracted for each occurrence, -2 to 2.
    pub frequency_penalty: f32,
    /// Deliver each token's log-probability and this many alternatives, 0 to 20.
    pub logprobs: Option<u32>,
    /// Randomness is a function of seed and position alone.
    pub seed: u64,
    /// Tokens and what is added to their logits, -1e4 to 1e4; at most 1024.
    pub logit_bias: Vec<(i32, f32)>,
    /// Stop strings; the text before one is delivered. At most 64.
    pub stop: Vec<String>,
    /// Stop token ids beside the dialect's own. At most 64.
    pub stop_ids: Vec<i32>,
    /// Time from now after which the answer ends.
    pub deadline: Option<Duration>,
}

impl GenerateOptions {
    /// Makes a call with the options as the C interface takes them.
    fn with_raw<T>(&self, call: impl FnOnce(&sys::fathom_generate_options) -> T) -> T {
        let bias: Vec<_> = self
            .logit_bias
            .iter()
            .map(|&(token, bias)| sys::fathom_logit_bias { token, bias })
            .collect();
        let stop: Vec<_> = self
            .stop
            .iter()
            .map(|text| sys::fathom_text { data: text.as_ptr().cast(), bytes: text.len() as u64 })
            .collect();
        let flags = [
            (self.append, sys::FATHOM_GENERATE_APPEND),
            (self.prompt_only, sys::FATHOM_GENERATE_PROMPT_ONLY),
            (self.prompt_logprobs, sys::FATHOM_GENERATE_PROMPT_LOGPROBS),
            (self.ignore_end_of_turn, sys::FATHOM_GENERATE_IGNORE_EOS),
        ];
        let (logit_bias, n_logit_bias) = raw::parts(&bias);
        let (stop, n_stop) = raw::parts(&stop);
        let (stop_ids, n_stop_ids) = raw::parts(&self.stop_ids);
        call(&sized!(fathom_generate_options {
            flags: flags.iter().filter(|(on, _)| *on).map(|(_, flag)| flag).sum(),
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            top_k: raw::count(self.top_k),
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            logprobs: self.logprobs.map_or(0, |n| raw::count(n.saturating_add(1))),
            seed: self.seed,
            logit_bias: logit_bias,
            n_logit_bias: n_logit_bias,
            stop: stop,
            n_stop: n_stop,
            stop_ids: stop_ids,
            n_stop_ids: n_stop_ids,
            // Zero means none there; whoever gives a deadline of zero wants it to have passed.
            deadline_ns: self.deadline.map_or(0, |time| raw::nanoseconds(time).max(1)),
        }))
    }
}

/// One conversation's place in the KV cache.
///
/// Send the whole conversation each time: what the last transcript and the new prompt share at
/// their beginning is not computed again.
pub struct Session {
    handle: Arc<Handle<sys::fathom_session>>,
    model: Model,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("handle", &self.handle.raw()).finish_non_exhaustive()
    }
}

impl Session {
    /// The C handle, for what this crate has no call for. It stays this object's.
    #[must_use]
    pub fn as_raw(&self) -> *mut sys::fathom_session {
        self.handle.raw()
    }

    pub(crate) fn create(model: &Model, options: &SessionOptions) -> Result<Self> {
        let options = sized!(fathom_session_options { context: options.context });
        let api = model.handle().api;
        // SAFETY: the model is live, and the options live during the call.
        let handle = Handle::from_call(api, |session, error| unsafe {
            api.fathom_session_create(model.handle().raw(), &raw const options, session, error)
        })?;
        Ok(Self { handle: Arc::new(handle), model: model.clone() })
    }

    /// The model that it belongs to.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Asks for an answer and returns at once; the work happens in the engine's steps.
    ///
    /// The events do not borrow the session, so they may go to another thread or task. While they
    /// run the session is busy; dropping them cancels.
    ///
    /// ```no_run
    /// # fn ask(session: &mut fathom::Session, prompt: &fathom::Prompt) -> fathom::Result<()> {
    /// use fathom::{EventKind, GenerateOptions};
    ///
    /// let options = GenerateOptions { temperature: 0.6, seed: 7, ..Default::default() };
    /// for event in session.generate(prompt, &options)? {
    ///     match event?.kind {
    ///         EventKind::Reasoning(piece) => eprint!("{piece}"),
    ///         EventKind::Text(piece) => print!("{piece}"),
    ///         EventKind::Done(finish) => println!("\n{finish:?}"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// An answer is running, the prompt does not fit, the dialect cannot render it, or an option is
    /// out of range.
    pub fn generate(&mut self, prompt: &Prompt, options: &GenerateOptions) -> Result<Events> {
        let handle = &self.handle;
        let stream = options.with_raw(|options| {
            // SAFETY: session and prompt are live, and the options live during the call.
            Handle::from_call(handle.api, |stream, error| unsafe {
                let prompt = prompt.handle().raw();
                handle.fathom_session_generate(handle.raw(), prompt, options, stream, error)
            })
        })?;
        Ok(Events::new(stream, self.handle.clone(), self.model.engine().clone()))
    }

    /// Cuts the transcript to its first `n_tokens`, to edit or repeat a turn.
    ///
    /// # Errors
    /// An answer is running, or the transcript is shorter.
    pub fn truncate(&mut self, n_tokens: u64) -> Result<()> {
        let handle = &self.handle;
        // SAFETY: the session is live.
        raw::check(handle, |error| unsafe {
            handle.fathom_session_truncate(handle.raw(), n_tokens, error)
        })
    }

    /// Facts about the session, also while an answer runs.
    ///
    /// # Errors
    /// None that a correct library would give.
    pub fn describe(&self) -> Result<SessionDescription> {
        let handle = &self.handle;
        // SAFETY: the session is live.
        SessionDescription::read(handle, |description, error| unsafe {
            handle.fathom_session_describe(handle.raw(), description, error)
        })
    }
}

facts! {
    /// Facts about a session.
    SessionDescription = fathom_session_description {
        /// Whether an answer runs.
        running: bool,
        /// Tokens in the transcript.
        n_tokens: u64,
        /// Most tokens.
        context: u64,
        /// KV cache that the session holds now.
        kv_bytes: u64,
    }
}
