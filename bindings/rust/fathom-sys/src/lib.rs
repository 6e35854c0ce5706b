#![doc = include_str!("../README.md")]

#[rustfmt::skip] // Generated: its form is the generator's.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    non_camel_case_types,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
mod bindings;
mod load;

pub use bindings::*;
pub use load::{LIBRARY_NAME, LoadError, library, load_from};
