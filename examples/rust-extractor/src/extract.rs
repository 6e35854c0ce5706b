//! One document, from its bytes to a record or a reason.

use std::io::Read;
use std::path::Path;

use fathom::{
    ErrorKind, EventKind, GenerateOptions, Message, Model, Prompt, PromptOptions, SessionOptions,
    Thinking,
};
use futures::TryStreamExt;

use crate::ledger::{Attempt, Outcome, sha256, sha256_of_ids};
use crate::record::Record;

/// Longer documents are rejected unread: a folder may hold anything.
const DOCUMENT_BYTES_MAX: u64 = 64 << 10;
/// The longest record has a hundred tokens; a model that does not stop is stopped.
const ANSWER_TOKENS_MAX: u64 = 200;
/// Of the attempts behind the first, which is greedy.
const TEMPERATURE: f32 = 0.7;

/// A document as it was read: its name in the folder, and its bytes.
pub struct Document {
    pub name: String,
    pub bytes: Vec<u8>,
    pub sha256: String,
    /// There is more of it than is ever read.
    too_long: bool,
}

impl Document {
    pub fn read(folder: &Path, name: String) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(folder.join(&name))?;
        file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        let too_long = bytes.len() as u64 > DOCUMENT_BYTES_MAX;
        let sha256 = sha256(&bytes);
        Ok(Self { name, bytes, sha256, too_long })
    }

    fn text(&self) -> Result<&str, String> {
        if self.too_long {
            return Err(format!("longer than {DOCUMENT_BYTES_MAX} bytes"));
        }
        let text = std::str::from_utf8(&self.bytes).map_err(|error| error.to_string())?.trim();
        if text.is_empty() { Err("empty".to_owned()) } else { Ok(text) }
    }
}

/// What became of a document, and how.
pub struct Extracted {
    pub record: Option<Record>,
    pub attempts: Vec<Attempt>,
}

pub struct Extractor {
    pub model: Model,
    pub seed: u64,
    pub attempts: u32,
}

impl Extractor {
    /// Asks until an answer passes the checks, or as often as is allowed. The document is a user's
    /// message, and the library never lets its text become a control token.
    pub async fn extract(&self, document: Document) -> fathom::Result<Extracted> {
        let mut attempts = Vec::new();
        let text = match document.text() {
            Ok(text) => text,
            Err(reason) => {
                attempts.push(unasked(&document, reason));
                return Ok(Extracted { record: None, attempts });
            }
        };
        for number in 0..self.attempts {
            let mut attempt = match self.ask(&document, text, number).await {
                Ok(attempt) => attempt,
                // A document may be too long for the model, which is no failure of the run.
                Err(error) if is_about_the_document(error.kind()) => {
                    attempts.push(unasked(&document, error.to_string()));
                    break;
                }
                Err(error) => return Err(error),
            };
            match Record::from_answer(&attempt.answer, text) {
                Ok(record) => {
                    (attempt.outcome, attempt.reason) = (Outcome::Accepted, None);
                    attempts.push(attempt);
                    return Ok(Extracted { record: Some(record), attempts });
                }
                Err(reason) => {
                    attempt.reason = Some(reason);
                    if number + 1 < self.attempts {
                        attempt.outcome = Outcome::Retried;
                    }
                    attempts.push(attempt);
                }
            }
        }
        Ok(Extracted { record: None, attempts })
    }

    async fn ask(&self, document: &Document, text: &str, number: u32) -> fathom::Result<Attempt> {
        let options = PromptOptions { thinking: Thinking::Off, ..PromptOptions::default() };
        let mut prompt = Prompt::new(&self.model.tokenizer()?, &options)?;
        prompt.add(&Message::user(text))?;
        let (seed, temperature) =
            if number == 0 { (0, 0.0) } else { (self.seed + u64::from(number), TEMPERATURE) };
        let options = GenerateOptions {
            max_tokens: ANSWER_TOKENS_MAX,
            seed,
            temperature,
            ..GenerateOptions::default()
        };
        let prompt_sha256 = sha256_of_ids(&prompt.render()?);
        let mut session = self.model.session(&SessionOptions::default())?;
        let mut events = session.generate(&prompt, &options)?.into_stream();
        let (mut answer, mut ids) = (String::new(), Vec::new());
        while let Some(event) = events.try_next().await? {
            ids.extend_from_slice(&event.ids);
            if let EventKind::Text(piece) = event.kind {
                answer.push_str(&piece);
            }
        }
        Ok(Attempt {
            number,
            seed,
            temperature,
            prompt_sha256,
            answer_sha256: sha256_of_ids(&ids),
            answer,
            usage: serde_json::to_value(events.usage()?).ok(),
            ..unasked(document, String::new())
        })
    }
}

/// The line of a document that the model was not asked about.
fn unasked(document: &Document, reason: String) -> Attempt {
    Attempt {
        document: document.name.clone(),
        document_sha256: document.sha256.clone(),
        number: 0,
        outcome: Outcome::Rejected,
        reason: Some(reason),
        seed: 0,
        temperature: 0.0,
        prompt_sha256: String::new(),
        answer_sha256: String::new(),
        answer: String::new(),
        usage: None,
    }
}

fn is_about_the_document(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ContextFull | ErrorKind::Budget | ErrorKind::Template)
}
