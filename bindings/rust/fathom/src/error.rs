use std::fmt;

use fathom_sys as sys;

/// The result of every call that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure: its kind for programs, a message that names what, where, found and wanted for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub(crate) kind: ErrorKind,
    pub(crate) message: Box<str>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Box<str>>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What failed, where, what was found and what was wanted.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.kind)
    }
}

impl std::error::Error for Error {}

impl From<sys::LoadError> for Error {
    fn from(error: sys::LoadError) -> Self {
        Self::new(ErrorKind::LibraryNotLoaded, error.to_string())
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $status:ident,)*) => {
        /// The kinds of failure: the library's statuses, and two that come before there is one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            /// `libfathom.so.1` was not found or does not fit; the message says where it was
            /// looked for.
            LibraryNotLoaded,
            $($(#[$doc])* $kind,)*
            /// A status that is younger than this crate.
            Other(i32),
        }

        impl ErrorKind {
            /// None for `FATHOM_OK`.
            pub(crate) fn of_status(status: i32) -> Option<Self> {
                match status {
                    sys::FATHOM_OK => None,
                    $(sys::$status => Some(Self::$kind),)*
                    other => Some(Self::Other(other)),
                }
            }

            /// The number that the C interface has for it; `None` for
            /// [`LibraryNotLoaded`](Self::LibraryNotLoaded).
            #[must_use]
            pub fn status(self) -> Option<i32> {
                match self {
                    Self::LibraryNotLoaded => None,
                    $(Self::$kind => Some(sys::$status),)*
                    Self::Other(status) => Some(status),
                }
            }
        }
    };
}

kinds! {
    /// An argument, option or token id is out of its documented range.
    InvalidArgument = FATHOM_INVALID_ARGUMENT,
    /// The object cannot do this in its present state.
    BadState = FATHOM_BAD_STATE,
    /// Another call uses the object, or its stream is still running.
    Busy = FATHOM_BUSY,
    /// The work was cancelled by the host.
    Cancelled = FATHOM_CANCELLED,
    /// Nothing happened within the time given, or a deadline passed.
    Timeout = FATHOM_TIMEOUT,
    /// The system refused memory, a thread or a descriptor.
    NoMemory = FATHOM_NO_MEMORY,
    /// The work does not fit into the budget that the host set.
    Budget = FATHOM_BUDGET,
    /// The system failed to read a file.
    Io = FATHOM_IO,
    /// A file, JSON text or tokenizer does not follow its format.
    Format = FATHOM_FORMAT,
    /// Contents do not match their checksum.
    Integrity = FATHOM_INTEGRITY,
    /// Well-formed, but this library cannot do it.
    Unsupported = FATHOM_UNSUPPORTED,
    /// The dialect cannot render this conversation.
    Template = FATHOM_TEMPLATE,
    /// A grammar or schema is wrong.
    Grammar = FATHOM_GRAMMAR,
    /// The prompt does not fit into the session's context.
    ContextFull = FATHOM_CONTEXT_FULL,
    /// A device failed at something.
    Device = FATHOM_DEVICE,
    /// A device is gone; its engine is unusable, others are not.
    DeviceLost = FATHOM_DEVICE_LOST,
    /// The engine is shutting down.
    Shutdown = FATHOM_SHUTDOWN,
    /// A mistake in the library. Please report the message.
    Internal = FATHOM_INTERNAL,
}

impl fmt::Display for ErrorKind {
    /// The name that the C interface has for it, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.status().and_then(|status| {
            let api = sys::library().ok()?;
            // SAFETY: any number may be asked for, and the answer is static text.
            let name = unsafe { std::ffi::CStr::from_ptr(api.fathom_status_name(status)) };
            name.to_str().ok()
        });
        match (name, self) {
            (Some(name), _) => f.write_str(name),
            (None, kind) => write!(f, "{kind:?}"),
        }
    }
}
