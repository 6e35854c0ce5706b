//! One thread that waits for all streams of the process and wakes the tasks that read them.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;

use polling::{Event, Events, PollMode, Poller};

use crate::{Error, ErrorKind, Result};

struct Waiter {
    poller: Poller,
    /// The task that reads the stream with this key and found nothing.
    wakers: Mutex<HashMap<usize, Waker>>,
    next_key: AtomicUsize,
}

/// Started by the first task that has to wait; it stays, as the library does.
static WAITER: Mutex<Option<&'static Waiter>> = Mutex::new(None);

impl Waiter {
    fn get() -> Result<&'static Self> {
        let mut waiter = lock(&WAITER);
        if let Some(waiter) = *waiter {
            return Ok(waiter);
        }
        let started = Self::start().map_err(|error| {
            Error::new(ErrorKind::NoMemory, format!("the waiter of the streams: {error}"))
        })?;
        Ok(waiter.insert(started))
    }

    fn start() -> io::Result<&'static Self> {
        let poller = Poller::new()?;
        let next_key = AtomicUsize::new(0);
        let waiter: &'static Self =
            Box::leak(Box::new(Self { poller, wakers: Mutex::default(), next_key }));
        thread::Builder::new()
            .name("fathom-waiter".to_owned())
            .stack_size(128 << 10)
            .spawn(move || waiter.run())?;
        Ok(waiter)
    }

    fn run(&self) {
        let mut events = Events::new();
        loop {
            events.clear();
            // An interruption is the only failure of a wait that has valid arguments.
            if self.poller.wait(&mut events, None).is_err() {
                continue;
            }
            for event in events.iter() {
                let waker = lock(&self.wakers).remove(&event.key);
                // Wakers are foreign code, and all streams depend on this thread.
                if let Some(waker) = waker
                    && let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| waker.wake()))
                {
                    std::mem::forget(payload);
                }
            }
        }
    }
}

/// The waiter's interest in one stream. It ends when this is dropped, which has to be before the
/// stream is released.
pub(crate) struct Watch {
    waiter: &'static Waiter,
    descriptor: RawFd,
    key: usize,
}

impl Watch {
    pub(crate) fn new(descriptor: RawFd) -> Result<Self> {
        let waiter = Waiter::get()?;
        let key = waiter.next_key.fetch_add(1, Ordering::Relaxed);
        // SAFETY: dropping the watch, which comes before the descriptor is closed, deletes it.
        unsafe { waiter.poller.add_with_mode(descriptor, Event::none(key), PollMode::Oneshot) }
            .map_err(|error| failure(&error))?;
        Ok(Self { waiter, descriptor, key })
    }

    /// Has the task woken once, when the stream has an event. The last waker counts.
    pub(crate) fn arm(&self, waker: &Waker) -> Result<()> {
        lock(&self.waiter.wakers).insert(self.key, waker.clone());
        let (poller, event) = (&self.waiter.poller, Event::readable(self.key));
        poller
            .modify_with_mode(self.borrow(), event, PollMode::Oneshot)
            .map_err(|error| failure(&error))
    }

    fn borrow(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream keeps its descriptor open longer than the watch lives.
        unsafe { BorrowedFd::borrow_raw(self.descriptor) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A failure means that it is not watched, which is what is wanted.
        let _ = self.waiter.poller.delete(self.borrow());
        lock(&self.waiter.wakers).remove(&self.key);
    }
}

fn failure(error: &io::Error) -> Error {
    Error::new(ErrorKind::NoMemory, format!("the stream cannot be waited for: {error}"))
}

/// Nothing panics while it holds one of these locks, and a waker may be lost at worst.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
