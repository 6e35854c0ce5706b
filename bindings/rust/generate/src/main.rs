//! Writes the raw layer from `fathom.h`: `cargo run -p generate`, or `cargo run -p generate --
//! --check`, which writes nothing and fails where a checked-in file differs.
//!
//! Needs libclang, found as `LIBCLANG_PATH` says; `test.sh` installs one.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bindgen::callbacks::{IntKind, ParseCallbacks};

const MARK: &str = "Generated from fathom.h by bindings/rust/generate. Do not edit.";

/// Gives a constant the type that its cast in the header says.
#[derive(Debug)]
struct ConstantTypes(HashMap<String, IntKind>);

impl ConstantTypes {
    fn of(header: &str) -> Self {
        let mut types = HashMap::new();
        for line in header.lines() {
            let mut words = line.split_whitespace();
            if words.next() != Some("#define") {
                continue;
            }
            if let (Some(name), Some(value)) = (words.next(), words.next()) {
                if value.starts_with("((int32_t)") {
                    types.insert(name.to_owned(), IntKind::I32);
                } else if value.starts_with("((uint32_t)") {
                    types.insert(name.to_owned(), IntKind::U32);
                }
            }
        }
        Self(types)
    }
}

impl ParseCallbacks for ConstantTypes {
    fn int_macro(&self, name: &str, _value: i64) -> Option<IntKind> {
        self.0.get(name).copied()
    }
}

fn bindings(header: &Path, text: &str, scratch: &Path) -> Result<String, bindgen::BindgenError> {
    bindgen::Builder::default()
        .header(header.to_string_lossy())
        .raw_line(format!("// {MARK}"))
        .allowlist_item("(fathom|FATHOM)_.*")
        .blocklist_item("FATHOM_(FATHOM_H_|API)")
        .dynamic_library_name("Library")
        .dynamic_link_require_all(true)
        .clang_macro_fallback()
        .clang_macro_fallback_build_dir(scratch)
        .parse_callbacks(Box::new(ConstantTypes::of(text)))
        .generate_comments(false)
        .derive_default(true)
        .use_core()
        .formatter(bindgen::Formatter::Prettyplease)
        .generate()
        .map(|bindings| bindings.to_string())
}

/// The sizes and offsets that `bindings.rs` asserts, as assertions for a C compiler.
fn layout(bindings: &str) -> String {
    let mut code = format!(
        "// {MARK}\n// The layout that bindings.rs asserts, asserted by a C compiler.\n\
         #include <fathom/fathom.h>\n#include <stddef.h>\n\n"
    );
    // Prettyplease may break a long assertion into several lines.
    let flat = bindings.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut quoted = flat.split('"').skip(1);
    while let (Some(what), Some(rest)) = (quoted.next(), quoted.next()) {
        let Some((_, number)) = rest.split_once("- ") else { continue };
        let number: String = number.chars().take_while(char::is_ascii_digit).collect();
        let expression = if let Some(name) = what.strip_prefix("Size of ") {
            format!("sizeof({name})")
        } else if let Some(name) = what.strip_prefix("Alignment of ") {
            format!("_Alignof({name})")
        } else if let Some((name, field)) =
            what.strip_prefix("Offset of field: ").and_then(|name| name.split_once("::"))
        {
            // Rust has `type` as a keyword, so bindgen writes `type_`.
            format!("offsetof({name}, {})", field.trim_end_matches('_'))
        } else {
            continue;
        };
        let _ = writeln!(code, "_Static_assert({expression} == {number}, \"\");");
    }
    code
}

fn run(check: bool) -> Result<(), Box<dyn std::error::Error>> {
    let rust = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let header = rust.join("../../include/fathom/fathom.h");
    let scratch = std::env::temp_dir().join(format!("fathom-generate-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let text = std::fs::read_to_string(&header)?;
    let generated = bindings(&header, &text, &scratch);
    std::fs::remove_dir_all(&scratch)?;
    let generated = generated?;
    let files: [(PathBuf, String); 2] = [
        (rust.join("fathom-sys/layout.c"), layout(&generated)),
        (rust.join("fathom-sys/src/bindings.rs"), generated),
    ];
    for (path, wanted) in files {
        if check {
            if std::fs::read_to_string(&path)? != wanted {
                let path = path.display();
                return Err(format!("{path} differs from fathom.h: cargo run -p generate").into());
            }
        } else {
            std::fs::write(path, wanted)?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(std::env::args().any(|argument| argument == "--check")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("generate: {error}");
            ExitCode::FAILURE
        }
    }
}
