//! Finding the library. One test, because a process loads it once.

use std::ffi::CStr;

use fathom_sys as sys;

/// The application would not know where to put the library, or could never load it after a failure.
#[test]
fn a_failure_says_where_it_looked_and_is_not_the_end() {
    let error = sys::load_from("/nowhere/libfathom.so.1").err().expect("there is no such file");
    let text = error.to_string();
    assert!(text.contains("FATHOM_LIBRARY") && text.contains("/nowhere/libfathom.so.1"), "{text}");
    assert!(text.contains("No such file"), "{text}");
    assert_eq!(error.tried().count(), 1);
    // A shared library that is another one.
    let error = sys::load_from("libc.so.6").err().expect("it is the C library");
    assert!(error.to_string().contains("fathom_abi_version"), "{error}");

    let api = sys::library().expect("FATHOM_LIBRARY names the library");
    assert!(sys::load_from("/elsewhere.so").err().unwrap().to_string().contains("before"));
    // SAFETY: the function returns a static text.
    let name = unsafe { CStr::from_ptr(api.fathom_status_name(sys::FATHOM_BUSY)) };
    assert_eq!(name.to_str(), Ok("FATHOM_BUSY"));
}
