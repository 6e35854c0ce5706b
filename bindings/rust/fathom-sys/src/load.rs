//! Finding `libfathom.so.1`.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::bindings::{FATHOM_ABI_VERSION, Library};

/// The file that is looked for.
pub const LIBRARY_NAME: &str = "libfathom.so.1";

const VARIABLE: &str = "FATHOM_LIBRARY";

/// The library of this process: loaded once, never unloaded.
static LIBRARY: OnceLock<Library> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

/// The library was not loaded: says where it was looked for and what was wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    tried: Vec<(PathBuf, String)>,
}

impl LoadError {
    /// Each path that was tried, with the reason why it was not it.
    pub fn tried(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.tried.iter().map(|(path, reason)| (path.as_path(), reason.as_str()))
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LIBRARY_NAME} was not loaded (name its path in {VARIABLE}); tried")?;
        for (path, reason) in &self.tried {
            write!(f, "\n  {}: {reason}", path.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

/// The functions of the library, which the first call looks for and loads.
///
/// # Errors
/// The library is nowhere, is not for this machine, or is older than this crate. A later call tries
/// again.
pub fn library() -> Result<&'static Library, LoadError> {
    match LIBRARY.get() {
        Some(library) => Ok(library),
        None => load_first(&places(env::var_os(VARIABLE), env::current_exe().ok().as_deref())),
    }
}

/// Loads the library from this path and nowhere else, for all later calls of [`library`].
///
/// # Errors
/// As [`library`], and when a library is loaded already.
pub fn load_from(path: impl AsRef<Path>) -> Result<&'static Library, LoadError> {
    let path = path.as_ref();
    if LIBRARY.get().is_some() {
        let reason = "this process has loaded a library before".to_owned();
        return Err(LoadError { tried: vec![(path.to_owned(), reason)] });
    }
    load_first(&[path.to_owned()])
}

fn places(variable: Option<OsString>, executable: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = variable.filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let folder = executable.and_then(Path::parent);
    let mut places: Vec<PathBuf> = folder
        .into_iter()
        .flat_map(|folder| ["", "lib", "../lib"].map(|below| folder.join(below).join(LIBRARY_NAME)))
        .collect();
    places.push(LIBRARY_NAME.into());
    places
}

fn load_first(places: &[PathBuf]) -> Result<&'static Library, LoadError> {
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = LIBRARY.get() {
        return Ok(library);
    }
    let mut tried = Vec::new();
    for path in places {
        match load(path) {
            Ok(library) => return Ok(LIBRARY.get_or_init(|| library)),
            Err(reason) => {
                // The loader's message begins with the path that is given here anyway.
                let prefix = format!("dlopen failed: {}: ", path.display());
                let reason = reason.strip_prefix(&prefix).unwrap_or(&reason).to_owned();
                tried.push((path.clone(), reason));
            }
        }
    }
    Err(LoadError { tried })
}

fn load(path: &Path) -> Result<Library, String> {
    // SAFETY: libfathom runs no code of its own when it is loaded. Whoever can put another file in
    // its place can change this program, too.
    let handle = unsafe { libloading::Library::new(path) }.map_err(|error| with_cause(&error))?;
    // The version comes before the rest, so that an old library is called old and not incomplete.
    // SAFETY: the type is that of the header, in every version.
    let version = unsafe {
        handle.get::<unsafe extern "C" fn() -> u32>(b"fathom_abi_version\0").map(|get| get())
    }
    .map_err(|error| with_cause(&error))?;
    check_version(version)?;
    // SAFETY: the major version says that each function has the type that the header gives it.
    unsafe { Library::from_library(handle) }.map_err(|error| with_cause(&error))
}

fn check_version(found: u32) -> Result<(), String> {
    let [found, wanted] =
        [found, FATHOM_ABI_VERSION].map(|version| (version >> 16, version & 0xffff));
    if found.0 == wanted.0 && found.1 >= wanted.1 {
        return Ok(());
    }
    Err(format!(
        "found interface version {}.{}, wanted {}.{} or a later {}.x",
        found.0, found.1, wanted.0, wanted.1, wanted.0
    ))
}

fn with_cause(error: &libloading::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program would not find the library that was shipped beside it, or would use another one
    /// than the variable names.
    #[test]
    fn the_variable_comes_alone_and_the_executable_before_the_system() {
        let beside = ["/a/bin/", "/a/bin/lib", "/a/bin/../lib"];
        let mut wanted: Vec<_> =
            beside.iter().map(|folder| Path::new(folder).join(LIBRARY_NAME)).collect();
        wanted.push(LIBRARY_NAME.into());
        assert_eq!(places(None, Some(Path::new("/a/bin/program"))), wanted);
        assert_eq!(places(Some("".into()), None), [Path::new(LIBRARY_NAME)]);
        assert_eq!(places(Some("/x".into()), Some(Path::new("/a/b"))), [Path::new("/x")]);
    }

    /// A library of another major version would be called with arguments it does not know.
    #[test]
    fn a_version_that_does_not_fit_is_refused() {
        let (major, minor) = (FATHOM_ABI_VERSION >> 16, FATHOM_ABI_VERSION & 0xffff);
        assert_eq!(check_version(FATHOM_ABI_VERSION), Ok(()));
        assert_eq!(check_version(FATHOM_ABI_VERSION + 1), Ok(()));
        assert!(check_version((major + 1) << 16 | minor).unwrap_err().contains("wanted"));
        assert!(check_version((major - 1) << 16 | 0xffff).is_err());
    }
}
