//! The two files of a run, which outlive a kill: `audit.jsonl`, whose lines are chained by hashes,
//! and `records.jsonl`.
//!
//! A document's audit line is on the disk before its record is written. So a record never lacks its
//! line, and a kill in between costs one repetition.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What has to be the same whenever a run goes on: otherwise its records would not be comparable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Of the output of `sha256sum *` in the model's folder.
    pub model_sha256: String,
    /// The library's own hash of config and tensor headers.
    pub model_fingerprint: String,
    pub seed: u64,
    pub attempts: u32,
}

/// What was asked and answered at one attempt at one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub document: String,
    pub document_sha256: String,
    /// 0, 1, 2, ... for the same document.
    pub number: u32,
    pub outcome: Outcome,
    /// Why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was generated with: the seed of this attempt, 0 for greedy.
    pub seed: u64,
    pub temperature: f32,
    /// Of the ids that the model saw, as four bytes each, the lowest first.
    pub prompt_sha256: String,
    /// Of the ids that it answered.
    pub answer_sha256: String,
    /// What it answered.
    pub answer: String,
    /// The library's exact counts.
    pub usage: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The answer became a record.
    Accepted,
    /// It did not, and another attempt follows.
    Retried,
    /// It did not, and no other attempt follows.
    Rejected,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Entry {
    /// The library goes into each run: it may be updated between two.
    Run {
        settings: Run,
        library: serde_json::Value,
    },
    Attempt(Attempt),
}

#[derive(Serialize, Deserialize)]
struct Line {
    /// SHA-256 of the line before, without its line break; of nothing for the first.
    previous: String,
    /// Seconds since 1970.
    time: u64,
    #[serde(flatten)]
    entry: Entry,
}

/// A line of `records.jsonl`.
#[derive(Serialize, Deserialize)]
struct RecordLine {
    document: String,
    document_sha256: String,
    record: serde_json::Value,
}

pub struct Ledger {
    audit: File,
    records: File,
    previous: String,
    /// Name and hash of the documents that need no further attempt.
    done: HashSet<(String, String)>,
}

impl Ledger {
    /// Opens the files of a folder, or makes them, cuts off what a kill left half written, and
    /// notes that a run begins. Refuses what does not fit together.
    pub fn open(folder: &Path, run: &Run, library: &str) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let open = |name| {
            let mut options = OpenOptions::new();
            options.create(true).read(true).append(true).open(folder.join(name))
        };
        let (mut audit, mut records) = (open("audit.jsonl")?, open("records.jsonl")?);
        audit.try_lock().map_err(|error| invalid(format!("audit.jsonl: {error}")))?;
        let mut previous = sha256(b"");
        let mut done = HashSet::new();
        for (number, text) in whole_lines(&mut audit)?.lines().enumerate() {
            let at = || format!("audit.jsonl: line {}", number + 1);
            let line: Line = serde_json::from_str(text)
                .map_err(|error| invalid(format!("{}: {error}", at())))?;
            if line.previous != previous {
                return Err(invalid(format!("{}: does not follow the line before", at())));
            }
            previous = sha256(text.as_bytes());
            match line.entry {
                Entry::Run { settings: before, .. } if before != *run => {
                    let reason = format!("began with {before:?}, now {run:?}; use another folder");
                    return Err(invalid(format!("{}: {reason}", at())));
                }
                Entry::Run { .. } => {}
                Entry::Attempt(attempt) => {
                    if attempt.outcome == Outcome::Rejected {
                        done.insert((attempt.document, attempt.document_sha256));
                    }
                }
            }
        }
        for (number, text) in whole_lines(&mut records)?.lines().enumerate() {
            let line: RecordLine = serde_json::from_str(text)
                .map_err(|error| invalid(format!("records.jsonl: line {}: {error}", number + 1)))?;
            done.insert((line.document, line.document_sha256));
        }
        let mut ledger = Self { audit, records, previous, done };
        let library = serde_json::from_str(library)?;
        ledger.write_audit(Entry::Run { settings: run.clone(), library })?;
        Ok(ledger)
    }

    pub fn is_done(&self, document: &str, document_sha256: &str) -> bool {
        self.done.contains(&(document.to_owned(), document_sha256.to_owned()))
    }

    /// The hash of the audit's last line, which no line behind it vouches for: keep it elsewhere.
    pub fn last_hash(&self) -> &str {
        &self.previous
    }

    /// Writes the attempts at one document, and then its record if there is one.
    pub fn write(
        &mut self,
        attempts: Vec<Attempt>,
        record: Option<impl Serialize>,
    ) -> io::Result<()> {
        let Some(Attempt { document, document_sha256, .. }) = attempts.last().cloned() else {
            return Ok(());
        };
        for attempt in attempts {
            self.write_audit(Entry::Attempt(attempt))?;
        }
        if let Some(record) = record {
            let record = serde_json::to_value(record)?;
            let line = RecordLine { document, document_sha256, record };
            write_line(&mut self.records, &serde_json::to_string(&line)?)?;
        }
        Ok(())
    }

    fn write_audit(&mut self, entry: Entry) -> io::Result<()> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let line = Line { previous: std::mem::take(&mut self.previous), time, entry };
        let text = serde_json::to_string(&line)?;
        self.previous = sha256(text.as_bytes());
        write_line(&mut self.audit, &text)
    }
}

/// One call to write, so that a kill leaves a line or a torn one, and then to the disk.
fn write_line(file: &mut File, text: &str) -> io::Result<()> {
    file.write_all(format!("{text}\n").as_bytes())?;
    file.sync_data()
}

/// The file up to its last line break; what is behind it is cut off.
fn whole_lines(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    if end < bytes.len() {
        bytes.truncate(end);
        file.set_len(end as u64)?;
    }
    String::from_utf8(bytes).map_err(|error| invalid(error.to_string()))
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// In hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub fn sha256_of_ids(ids: &[i32]) -> String {
    sha256(&ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<_>>())
}

/// The hash that `sha256sum * | sha256sum` prints in a folder of plain names.
pub fn sha256_of_folder(folder: &Path) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|name| invalid(format!("{}: no UTF-8", name.display())))?;
        if !name.starts_with('.') && entry.file_type()?.is_file() {
            names.push(name);
        }
    }
    names.sort_unstable();
    let mut list = String::new();
    for name in names {
        let hash = sha256_of_file(&folder.join(&name))?;
        list.extend([hash.as_str(), "  ", name.as_str(), "\n"]);
    }
    Ok(sha256(list.as_bytes()))
}

/// A shard of a model is larger than memory, so it is read in pieces.
fn sha256_of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hexadecimal(&hash.finalize())),
            n_bytes => hash.update(&piece[..n_bytes]),
        }
    }
}
