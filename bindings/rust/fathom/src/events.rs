//! An answer on its way: what every token passes through.

#![expect(clippy::inline_always, reason = "measured: without it an event misses its bar")]

use std::ffi::c_char;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Deref;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use fathom_sys as sys;
use smallvec::SmallVec;

use crate::engine::Engine;
use crate::raw::{self, Handle, facts, sized};
use crate::waiter::Watch;
use crate::{Error, ErrorKind, Result};

/// A piece of text. It derefs to [`str`]; what a token usually is fits in without an allocation.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text(SmallVec<[u8; 24]>);

impl Text {
    /// Copies what is lent.
    ///
    /// # Safety
    /// Unless it is NULL, `data` is valid for `bytes` bytes.
    #[inline(always)]
    unsafe fn copy(data: *const c_char, bytes: u64) -> Self {
        // SAFETY: the caller's promise.
        let bytes = unsafe { raw::slice_of(data.cast::<u8>(), bytes) };
        // The library promises UTF-8; what is none anyway must not become a `str`.
        if !bytes.is_ascii() && str::from_utf8(bytes).is_err() {
            return Self(SmallVec::from(String::from_utf8_lossy(bytes).as_bytes()));
        }
        Self(SmallVec::from_slice(bytes))
    }

    /// The text.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> &str {
        // SAFETY: `copy` has put UTF-8 there, and nothing else puts anything there.
        unsafe { str::from_utf8_unchecked(&self.0) }
    }
}

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.as_str().to_owned()
    }
}

/// Token ids of one event. It derefs to `[i32]`; up to four fit in without an allocation.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TokenIds(SmallVec<[i32; 4]>);

impl TokenIds {
    /// Nearly always there is one id, which is not worth the general way.
    #[inline]
    fn copy(ids: &[i32]) -> Self {
        Self(match *ids {
            [id] => SmallVec::from_buf_and_len([id, 0, 0, 0], 1),
            _ => SmallVec::from_slice(ids),
        })
    }
}

impl Deref for TokenIds {
    type Target = [i32];

    #[inline]
    fn deref(&self) -> &[i32] {
        &self.0
    }
}

impl fmt::Debug for TokenIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// A token with its log-probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logprob {
    /// Token id.
    pub token: i32,
    /// Position in the transcript.
    pub position: i32,
    /// log P(token | everything before), the natural logarithm.
    pub logprob: f32,
    /// Alternatives for this position that follow in the list.
    pub n_above: i32,
}

impl Logprob {
    fn from_raw(raw: &sys::fathom_logprob) -> Self {
        let &sys::fathom_logprob { token, position, logprob, n_above } = raw;
        Self { token, position, logprob, n_above }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Finish {
    /// The model ended its turn.
    EndOfTurn,
    /// The most tokens or the context are used up, or the prompt alone was asked for.
    Length,
    /// A stop string or stop id appeared.
    Stop,
    /// It was cancelled.
    Cancelled,
    /// Its deadline passed.
    Deadline,
    /// A reason that is younger than this crate.
    Other(i32),
}

/// What an event brings.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// Prompt tokens were computed.
    Progress {
        /// How many.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// A piece of the model's reasoning.
    Reasoning(Text),
    /// A piece of the answer.
    Text(Text),
    /// Log-probabilities of prompt tokens, or of the tokens of the event before: each token, then
    /// its alternatives.
    Logprobs(Vec<Logprob>),
    /// The last event.
    Done(Finish),
    /// A kind that is younger than this crate; it may be ignored.
    Other(i32),
}

/// One event of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// 0, 1, 2, ... within the answer.
    pub sequence: u64,
    /// Tokens generated since the event before.
    pub ids: TokenIds,
    /// What it brings.
    pub kind: EventKind,
}

impl Event {
    /// The piece of the answer that it brings, if it does.
    #[must_use]
    #[inline]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            EventKind::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }
}

impl EventKind {
    /// Copies what the library lends until its next call; an answer that failed is its error.
    ///
    /// # Safety
    /// The event was filled by the last call of `fathom_stream_next`.
    #[inline(always)]
    unsafe fn copy(event: &sys::fathom_event) -> Result<Self> {
        // SAFETY: the caller's promise: pointers and counts belong together and are valid now.
        let text = || unsafe { Text::copy(event.text, event.text_bytes) };
        Ok(match event.type_ {
            sys::FATHOM_EVENT_TEXT => Self::Text(text()),
            sys::FATHOM_EVENT_REASONING => Self::Reasoning(text()),
            sys::FATHOM_EVENT_PROGRESS => {
                Self::Progress { done: event.tokens_done, total: event.tokens_total }
            }
            sys::FATHOM_EVENT_LOGPROBS => {
                // SAFETY: as above.
                let logprobs = unsafe { raw::slice_of(event.logprobs, event.n_logprobs) };
                Self::Logprobs(logprobs.iter().map(Logprob::from_raw).collect())
            }
            sys::FATHOM_EVENT_DONE => Self::Done(match event.finish_reason {
                sys::FATHOM_FINISH_END_OF_TURN => Finish::EndOfTurn,
                sys::FATHOM_FINISH_LENGTH => Finish::Length,
                sys::FATHOM_FINISH_STOP => Finish::Stop,
                sys::FATHOM_FINISH_CANCELLED => Finish::Cancelled,
                sys::FATHOM_FINISH_DEADLINE => Finish::Deadline,
                sys::FATHOM_FINISH_ERROR => {
                    let kind = ErrorKind::of_status(event.status).unwrap_or(ErrorKind::Internal);
                    return Err(Error::new(kind, text().as_str()));
                }
                other => Finish::Other(other),
            }),
            other => Self::Other(other),
        })
    }
}

/// One answer on its way: an [`Iterator`] that waits for each event, or, by
/// [`into_stream`](Self::into_stream), a stream for asynchronous code.
///
/// It ends after [`EventKind::Done`], or after the error that stands in its place. Dropping the
/// events cancels the answer and frees its place in the batch. They keep their session alive.
pub struct Events {
    stream: Arc<SharedStream>,
    /// Keeps `struct_size`, so that a call needs not set it.
    event: sys::fathom_event,
    ended: bool,
    watch: Option<Watch>,
}

/// Fields are dropped in this order: the stream before the session, which would cancel it, and the
/// engine's hooks last.
struct SharedStream {
    handle: Handle<sys::fathom_stream>,
    _session: Arc<Handle<sys::fathom_session>>,
    engine: Engine,
}

impl SharedStream {
    fn cancel(&self) {
        // SAFETY: the stream is live.
        unsafe { self.handle.fathom_stream_cancel(self.handle.raw()) }
    }
}

// SAFETY: the pointers in `event` are only followed right after the call that filled them in.
unsafe impl Send for Events {}
// SAFETY: as above; a shared reference does not reach them.
unsafe impl Sync for Events {}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("handle", &self.stream.handle.raw())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Events {
    /// The C handle, for what this crate has no call for. It stays this object's.
    #[must_use]
    pub fn as_raw(&self) -> *mut sys::fathom_stream {
        self.stream.handle.raw()
    }

    pub(crate) fn new(
        handle: Handle<sys::fathom_stream>,
        session: Arc<Handle<sys::fathom_session>>,
        engine: Engine,
    ) -> Self {
        let event = sized!(fathom_event {});
        let stream = Arc::new(SharedStream { handle, _session: session, engine });
        Self { stream, event, ended: false, watch: None }
    }

    /// The engine that the answer comes from.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.stream.engine
    }

    /// Waits at most this long for the next event; `None` after the last one.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when none came in time; what made the answer fail, as its last event.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Event>> {
        self.pull(raw::nanoseconds(timeout)).transpose()
    }

    /// The path of every event. Inside of its caller the event stays in registers; a move of what
    /// was only just written to memory would cost as much as all the rest.
    #[inline(always)]
    fn pull(&mut self, timeout_ns: u64) -> Option<Result<Event>> {
        if self.ended {
            return None;
        }
        let stream = &self.stream.handle;
        // SAFETY: the stream is live and the event writable; a message is fetched only when the
        // call failed, and then the stream has not moved.
        let status = unsafe {
            let event = &raw mut self.event;
            (stream.fathom_stream_next)(stream.raw(), timeout_ns, event, ptr::null_mut())
        };
        if status != sys::FATHOM_OK {
            return Some(Err(self.failure(status)));
        }
        // SAFETY: the call above filled it in.
        let kind = match unsafe { EventKind::copy(&self.event) } {
            Ok(kind) => kind,
            Err(error) => {
                self.ended = true;
                return Some(Err(error));
            }
        };
        self.ended = matches!(kind, EventKind::Done(_));
        // SAFETY: as above.
        let ids = unsafe { raw::slice_of(self.event.ids, self.event.n_ids) };
        let ids = TokenIds::copy(ids);
        Some(Ok(Event { sequence: self.event.sequence, ids, kind }))
    }

    #[cold]
    fn failure(&mut self, status: i32) -> Error {
        let kind = ErrorKind::of_status(status).unwrap_or(ErrorKind::Internal);
        self.ended = kind != ErrorKind::Timeout;
        let message = match kind {
            ErrorKind::Timeout => "stream: no event came in time",
            ErrorKind::BadState => "stream: its last event was delivered, or the process forked",
            _ => "stream: the next event was refused",
        };
        Error::new(kind, message)
    }

    /// Asks the answer to end within one step; [`Finish::Cancelled`] follows.
    pub fn cancel(&self) {
        self.stream.cancel();
    }

    /// What cancels the answer from elsewhere, while somebody else waits for its events.
    ///
    /// ```no_run
    /// # fn read(events: fathom::Events) -> fathom::Result<()> {
    /// let canceller = events.canceller();
    /// let reader = std::thread::spawn(move || events.into_text());
    /// canceller.cancel();
    /// println!("{}", reader.join().unwrap()?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller { stream: Arc::downgrade(&self.stream) }
    }

    /// The counts so far, final once `finished` is true.
    ///
    /// # Errors
    /// None that a correct library would give.
    pub fn usage(&self) -> Result<Usage> {
        let stream = &self.stream.handle;
        // SAFETY: the stream is live.
        Usage::read(stream, |usage, error| unsafe {
            stream.fathom_stream_usage(stream.raw(), usage, error)
        })
    }

    /// A descriptor that polls readable while there is an event, for an event loop of your own. It
    /// belongs to the events: poll it, do not read or close it.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn notify_descriptor(&self) -> Result<RawFd> {
        let stream = &self.stream.handle;
        let mut descriptor = -1;
        // SAFETY: the stream is live and `descriptor` writable.
        raw::check(stream, |error| unsafe {
            stream.fathom_stream_notify_handle(stream.raw(), &raw mut descriptor, error)
        })?;
        RawFd::try_from(descriptor)
            .map_err(|_| Error::new(ErrorKind::Internal, "the descriptor is no descriptor"))
    }

    /// Waits until at least one of these has an event, and says which.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`]; they belong to more than one engine or have all ended; there are
    /// none.
    pub fn wait_any(events: &[&Self], timeout: Duration) -> Result<usize> {
        let Some(first) = events.first() else {
            return Err(Error::new(ErrorKind::InvalidArgument, "wait_any: found no streams"));
        };
        let engine = first.engine().handle();
        let streams: Vec<_> = events.iter().map(|events| events.stream.handle.raw()).collect();
        let n_streams = u32::try_from(streams.len()).unwrap_or(u32::MAX);
        let (timeout, mut ready) = (raw::nanoseconds(timeout), 0);
        // SAFETY: the engine and the streams are live.
        raw::check(engine, |error| unsafe {
            let (raw, streams) = (engine.raw(), streams.as_ptr());
            engine.fathom_engine_wait_any(raw, streams, n_streams, timeout, &raw mut ready, error)
        })?;
        Ok(ready as usize)
    }

    /// The same events for asynchronous code.
    #[must_use]
    pub fn into_stream(self) -> EventStream {
        EventStream { events: self }
    }

    fn watch(&mut self, context: &Context<'_>) -> Result<()> {
        let watch = match self.watch.take() {
            Some(watch) => watch,
            None => Watch::new(self.notify_descriptor()?)?,
        };
        self.watch.insert(watch).arm(context.waker())
    }

    /// Waits for the whole answer and returns its text, without the reasoning.
    ///
    /// # Errors
    /// What made the answer fail.
    pub fn into_text(self) -> Result<String> {
        let mut whole = String::new();
        for event in self {
            if let EventKind::Text(text) = event?.kind {
                whole.push_str(&text);
            }
        }
        Ok(whole)
    }
}

impl Iterator for Events {
    type Item = Result<Event>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        self.pull(u64::MAX)
    }
}

impl FusedIterator for Events {}

/// The events of an answer as a [`futures::Stream`](futures_core::Stream), which never blocks.
///
/// It needs no particular runtime: one thread of this crate waits for all streams of the process.
/// What only reads or cancels is there as on [`Events`].
#[derive(Debug)]
pub struct EventStream {
    events: Events,
}

impl Deref for EventStream {
    type Target = Events;

    fn deref(&self) -> &Events {
        &self.events
    }
}

impl From<EventStream> for Events {
    fn from(stream: EventStream) -> Self {
        stream.events
    }
}

impl futures_core::Stream for EventStream {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let events = &mut self.events;
        match events.pull(0) {
            Some(Err(error)) if error.kind() == ErrorKind::Timeout => {}
            result => return Poll::Ready(result),
        }
        // An event that comes between the two is not lost: the descriptor stays readable.
        match events.watch(context) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}

impl futures_core::FusedStream for EventStream {
    fn is_terminated(&self) -> bool {
        self.events.ended
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // The descriptor goes with the stream, whose release cancels, so the waiter forgets first.
        self.watch = None;
    }
}

/// Cancels an answer from any thread. It does nothing once the events have ended or were dropped,
/// and keeps nothing alive.
#[derive(Clone)]
pub struct Canceller {
    stream: Weak<SharedStream>,
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").finish_non_exhaustive()
    }
}

impl Canceller {
    /// Asks the answer to end within one step.
    pub fn cancel(&self) {
        if let Some(stream) = self.stream.upgrade() {
            stream.cancel();
        }
    }
}

facts! {
    /// Exact, exclusive counts of one answer.
    Usage = fathom_usage {
        /// Whether the counts are final.
        finished: bool,
        /// Prompt tokens computed.
        prompt_fresh: u64,
        /// Prompt tokens taken from the session's KV cache.
        prompt_cached: u64,
        /// Generated tokens that were reasoning.
        reasoning_tokens: u64,
        /// Other generated tokens, end of turn included.
        output_tokens: u64,
        /// Nanoseconds from the request to its first step.
        queue_ns: u64,
        /// From there to the first token.
        prefill_ns: u64,
        /// From the first token to the last.
        decode_ns: u64,
    }
}
