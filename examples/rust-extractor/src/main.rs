//! Turns a folder of documents into validated JSON lines: see README.md.

mod extract;
mod ledger;
mod record;

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fathom::{Engine, EngineOptions, ModelOptions};
use futures::{StreamExt, TryStreamExt, executor, stream};

use extract::{Document, Extractor};
use ledger::{Ledger, Run, sha256_of_folder};

const USAGE: &str = "usage: extractor --model FOLDER --input FOLDER --output FOLDER
                 [--seed N] [--attempts N] [--parallel N]

Reads every *.txt of the input folder and writes records.jsonl and audit.jsonl into
the output folder. Run again, it goes on where it was stopped.";

struct Arguments {
    model: PathBuf,
    input: PathBuf,
    output: PathBuf,
    seed: u64,
    attempts: u32,
    parallel: u32,
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Arguments, String> {
    let (mut model, mut input, mut output) = (None, None, None);
    let (mut seed, mut attempts, mut parallel) = (0, 2, 8);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{}: no value", name.display()))?;
        let number = || -> Result<u64, String> {
            let text = value.to_str().unwrap_or_default();
            text.parse().map_err(|error| format!("{} {}: {error}", name.display(), value.display()))
        };
        let small = |most: u32| -> Result<u32, String> {
            let fits = number()?.try_into().ok().filter(|number| (1..=most).contains(number));
            fits.ok_or_else(|| format!("{}: wanted 1 to {most}", name.display()))
        };
        match name.to_str() {
            Some("--model") => model = Some(value.into()),
            Some("--input") => input = Some(value.into()),
            Some("--output") => output = Some(value.into()),
            Some("--seed") => seed = number()?,
            Some("--attempts") => attempts = small(100)?,
            Some("--parallel") => parallel = small(64)?,
            _ => return Err(format!("{}: unknown", name.display())),
        }
    }
    let wanted = |value: Option<PathBuf>, name| value.ok_or_else(|| format!("{name} is missing"));
    Ok(Arguments {
        model: wanted(model, "--model")?,
        input: wanted(input, "--input")?,
        output: wanted(output, "--output")?,
        seed,
        attempts,
        parallel,
    })
}

/// The names of the documents, in the order in which their records are written.
fn documents(folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        if let Ok(name) = entry?.file_name().into_string()
            && Path::new(&name).extension().is_some_and(|extension| extension == "txt")
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

async fn run(arguments: &Arguments) -> Result<String, Box<dyn Error>> {
    let options = EngineOptions {
        // The same answers alone, beside others and after a kill.
        deterministic: true,
        max_sequences: arguments.parallel,
        kv_cache_bytes: 64 << 20,
        ..EngineOptions::default()
    };
    let engine = Engine::new(&options)?;
    let model = engine.load(&arguments.model, &ModelOptions::default())?;
    let run = Run {
        model_sha256: sha256_of_folder(&arguments.model)?,
        model_fingerprint: format!("{:016x}", model.describe()?.fingerprint),
        seed: arguments.seed,
        attempts: arguments.attempts,
    };
    let mut ledger = Ledger::open(&arguments.output, &run, fathom::build_info()?)?;
    let extractor = Extractor { model, seed: arguments.seed, attempts: arguments.attempts };

    let (mut n_before, mut n_accepted, mut n_rejected) = (0, 0, 0);
    let mut waiting = Vec::new();
    for name in documents(&arguments.input)? {
        let document = Document::read(&arguments.input, name)?;
        if ledger.is_done(&document.name, &document.sha256) {
            n_before += 1;
        } else {
            waiting.push(document.name);
        }
    }
    // Read again when their turn comes: a folder may be larger than memory.
    let answers = stream::iter(waiting).map(|name| async {
        let document = Document::read(&arguments.input, name)?;
        Ok::<_, Box<dyn Error>>(extractor.extract(document).await?)
    });
    // The answers of several documents are computed together, and written in order.
    let mut answers = answers.buffered(arguments.parallel as usize);
    while let Some(extracted) = answers.try_next().await? {
        let count = if extracted.record.is_some() { &mut n_accepted } else { &mut n_rejected };
        *count += 1;
        ledger.write(extracted.attempts, extracted.record)?;
    }
    let last = ledger.last_hash();
    Ok(format!(
        "{n_accepted} accepted, {n_rejected} rejected, {n_before} done before\n\
         extractor: audit.jsonl ends with {last}"
    ))
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(reason) => {
            eprintln!("extractor: {reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match executor::block_on(run(&arguments)) {
        Ok(summary) => {
            eprintln!("extractor: {summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("extractor: {error}");
            ExitCode::FAILURE
        }
    }
}
