//! What every module needs to talk to the C interface, and the only place where errors cross.

use std::ffi::{CStr, c_char};
use std::ops::Deref;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use fathom_sys as sys;

use crate::{Error, ErrorKind, Result};

pub(crate) use sys::Library as Api;

pub(crate) fn api() -> Result<&'static Api> {
    Ok(sys::library()?)
}

/// Makes a struct of the interface: `struct_size` set, fields that are not named zero.
macro_rules! sized {
    ($type:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        #[allow(clippy::needless_update, clippy::let_and_return)]
        let structure = fathom_sys::$type {
            struct_size: $crate::raw::size_of_struct::<fathom_sys::$type>(),
            $($field: $value,)*
            ..Default::default()
        };
        structure
    }};
}
pub(crate) use sized;

#[expect(clippy::cast_possible_truncation, reason = "the largest struct has a few hundred bytes")]
pub(crate) const fn size_of_struct<T>() -> u32 {
    size_of::<T>() as u32
}

/// Runs a call that can fail and takes its error over.
pub(crate) fn check(
    api: &Api,
    call: impl FnOnce(*mut *mut sys::fathom_error) -> i32,
) -> Result<()> {
    let mut error = ptr::null_mut();
    match ErrorKind::of_status(call(&raw mut error)) {
        None => Ok(()),
        Some(kind) => Err(take_error(api, kind, error)),
    }
}

#[cold]
fn take_error(api: &Api, kind: ErrorKind, error: *mut sys::fathom_error) -> Error {
    // SAFETY: the call that failed gave us this error, or NULL, which these functions take, too;
    // the text is copied before the error that owns it is released.
    unsafe {
        let message = CStr::from_ptr(api.fathom_error_message(error)).to_string_lossy().into();
        api.fathom_error_release(error);
        Error { kind, message }
    }
}

/// Something that the library counts references of.
pub(crate) trait Release {
    /// # Safety
    /// `this` is a live handle that nothing uses any more.
    unsafe fn release(api: &Api, this: *mut Self);
}

macro_rules! releases {
    ($($type:ident: $release:ident,)*) => {
        $(impl Release for sys::$type {
            unsafe fn release(api: &Api, this: *mut Self) {
                // SAFETY: the caller's promise is the same.
                unsafe { api.$release(this) }
            }
        })*
    };
}

releases! {
    fathom_engine: fathom_engine_release,
    fathom_model: fathom_model_release,
    fathom_tokenizer: fathom_tokenizer_release,
    fathom_prompt: fathom_prompt_release,
    fathom_session: fathom_session_release,
    fathom_stream: fathom_stream_release,
    fathom_buffer: fathom_buffer_release,
}

/// An owned handle of the library.
pub(crate) struct Handle<T: Release> {
    pub(crate) api: &'static Api,
    raw: NonNull<T>,
}

// SAFETY: the library's objects may be used from any thread; where only one at a time may be inside
// a call, the library notices and answers FATHOM_BUSY (the table "Threads" of fathom.h).
unsafe impl<T: Release> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T: Release> Sync for Handle<T> {}

impl<T: Release> Handle<T> {
    /// Runs a call that returns a handle through its first argument.
    pub(crate) fn from_call(
        api: &'static Api,
        call: impl FnOnce(*mut *mut T, *mut *mut sys::fathom_error) -> i32,
    ) -> Result<Self> {
        let mut raw = ptr::null_mut();
        check(api, |error| call(&raw mut raw, error))?;
        match NonNull::new(raw) {
            Some(raw) => Ok(Self { api, raw }),
            None => Err(Error::new(ErrorKind::Internal, "the library returned no handle")),
        }
    }

    pub(crate) fn raw(&self) -> *mut T {
        self.raw.as_ptr()
    }
}

impl<T: Release> Deref for Handle<T> {
    type Target = Api;

    fn deref(&self) -> &Api {
        self.api
    }
}

impl<T: Release> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: the handle is live until here, and its owner is the last who knew it.
        unsafe { T::release(self.api, self.raw()) }
    }
}

impl Handle<sys::fathom_buffer> {
    pub(crate) fn to_text(&self) -> String {
        let mut bytes = 0;
        // SAFETY: the buffer owns this many bytes at this address as long as it lives.
        unsafe {
            let data = self.fathom_buffer_data(self.raw(), &raw mut bytes);
            lossy(data, bytes)
        }
    }
}

/// Pointer and count as a slice; the library gives NULL for an empty one.
///
/// # Safety
/// Unless it is NULL, `data` is valid for `count` elements during `'a`.
pub(crate) unsafe fn slice_of<'a, T>(data: *const T, count: u64) -> &'a [T] {
    match usize::try_from(count) {
        // SAFETY: the caller's promise.
        Ok(count) if !data.is_null() && count > 0 => unsafe { slice::from_raw_parts(data, count) },
        _ => &[],
    }
}

/// Copies text. The library promises UTF-8; what is none anyway must not become a `String`.
///
/// # Safety
/// As [`slice_of`].
pub(crate) unsafe fn lossy(data: *const c_char, bytes: u64) -> String {
    // SAFETY: the caller's promise.
    let bytes = unsafe { slice_of(data.cast::<u8>(), bytes) };
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// A slice as the pointer and count that the interface takes.
pub(crate) fn parts<T>(slice: &[T]) -> (*const T, u64) {
    if slice.is_empty() { (ptr::null(), 0) } else { (slice.as_ptr(), slice.len() as u64) }
}

pub(crate) fn text_parts(text: &str) -> (*const c_char, u64) {
    let (data, bytes) = parts(text.as_bytes());
    (data.cast(), bytes)
}

pub(crate) fn path_parts(path: &Path) -> (*const c_char, u64) {
    let (data, bytes) = parts(path.as_os_str().as_encoded_bytes());
    (data.cast(), bytes)
}

/// A `fathom_source` that borrows from the path.
pub(crate) fn source_of(path: &Path) -> sys::fathom_source {
    let (path, path_bytes) = path_parts(path);
    sized!(fathom_source { path: path, path_bytes: path_bytes })
}

/// Nanoseconds, where more than fit mean for ever.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A count for a field of type `int32_t`. What does not fit becomes the largest, which the library
/// refuses with a message that names the field.
pub(crate) fn count(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// How a field of a C struct becomes one of ours.
pub(crate) trait FromField<T> {
    fn from_field(field: &T) -> Self;
}

impl FromField<u64> for u64 {
    fn from_field(field: &u64) -> Self {
        *field
    }
}

impl FromField<u64> for Duration {
    fn from_field(field: &u64) -> Self {
        Duration::from_nanos(*field)
    }
}

impl FromField<i32> for i32 {
    fn from_field(field: &i32) -> Self {
        *field
    }
}

impl FromField<i32> for u32 {
    fn from_field(field: &i32) -> Self {
        u32::try_from(*field).unwrap_or(0)
    }
}

impl FromField<i32> for bool {
    fn from_field(field: &i32) -> Self {
        *field != 0
    }
}

/// Token ids that do not exist are -1.
impl FromField<i32> for Option<i32> {
    fn from_field(field: &i32) -> Self {
        (*field >= 0).then_some(*field)
    }
}

impl<const N: usize> FromField<[c_char; N]> for String {
    fn from_field(field: &[c_char; N]) -> Self {
        // SAFETY: bytes are bytes, signed or not.
        let bytes = unsafe { slice_of(field.as_ptr().cast::<u8>(), N as u64) };
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

/// Declares a struct of facts with the fields of a C struct, and how it is made from one.
macro_rules! facts {
    ($(#[$meta:meta])* $name:ident = $raw:ident {
        $($(#[$doc:meta])* $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl $name {
            pub(crate) fn from_raw(raw: &fathom_sys::$raw) -> Self {
                Self { $($field: $crate::raw::FromField::from_field(&raw.$field),)* }
            }

            /// Makes the call that fills the C struct.
            #[allow(dead_code, reason = "devices come as an array")]
            pub(crate) fn read(
                api: &$crate::raw::Api,
                call: impl FnOnce(
                    *mut fathom_sys::$raw,
                    *mut *mut fathom_sys::fathom_error,
                ) -> i32,
            ) -> $crate::Result<Self> {
                let mut raw = $crate::raw::sized!($raw {});
                $crate::raw::check(api, |error| call(&raw mut raw, error))?;
                Ok(Self::from_raw(&raw))
            }
        }
    };
}
pub(crate) use facts;
