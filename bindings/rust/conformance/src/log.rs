//! What the steps write their log with; `bindings/conformance/README.md` has the formats.

use std::ffi::CStr;
use std::fmt::{Display, Write as _};

use fathom::sys::{self, Library};
use fathom::{Error, Event, EventKind, Events, Finish, Result, Session};

pub(crate) fn api() -> &'static Library {
    sys::library().expect("a step before has loaded it")
}

pub(crate) fn step(number: u32, title: &str) {
    println!("== {number:02} {title}");
}

pub(crate) fn line(name: &str, value: impl Display) {
    println!("{name}: {value}");
}

pub(crate) fn truth(name: &str, holds: bool) {
    line(name, i32::from(holds));
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

fn listed(ids: &[i32]) -> String {
    format!("[{}]", ids.iter().map(i32::to_string).collect::<Vec<_>>().join(","))
}

pub(crate) fn text(name: &str, value: &str) {
    line(name, quoted(value));
}

pub(crate) fn ids(name: &str, value: &[i32]) {
    line(name, listed(value));
}

pub(crate) fn status_name(status: i32) -> &'static str {
    // SAFETY: any number may be asked for, and the answer is static text.
    unsafe { CStr::from_ptr(api().fathom_status_name(status)) }.to_str().expect("ASCII")
}

/// What a call of the public API returned.
pub(crate) fn result<T>(name: &str, result: Result<T>) {
    match result {
        Ok(_) => line(name, status_name(sys::FATHOM_OK)),
        Err(error) => failure(name, &error),
    }
}

pub(crate) fn failure(name: &str, error: &Error) {
    assert!(!error.message().is_empty());
    let status = error.kind().status().expect("the library was loaded");
    assert_eq!(error.kind().to_string(), status_name(status));
    line(name, error.kind());
}

/// What a call of the raw layer returned, with the error that it gave.
pub(crate) fn raw(name: &str, call: impl FnOnce(*mut *mut sys::fathom_error) -> i32) {
    let mut error = std::ptr::null_mut();
    let status = call(&raw mut error);
    // SAFETY: the error is NULL or was given to us by the call, and is released once.
    unsafe {
        assert_eq!(error.is_null(), status == sys::FATHOM_OK);
        assert_eq!(api().fathom_error_code(error), status);
        let message = CStr::from_ptr(api().fathom_error_message(error));
        assert_eq!(message.is_empty(), status == sys::FATHOM_OK);
        api().fathom_error_release(error);
    }
    line(name, status_name(status));
}

fn finish_name(finish: Finish) -> &'static str {
    match finish {
        Finish::EndOfTurn => "END_OF_TURN",
        Finish::Length => "LENGTH",
        Finish::Stop => "STOP",
        Finish::Cancelled => "CANCELLED",
        Finish::Deadline => "DEADLINE",
        _ => "unknown",
    }
}

#[expect(clippy::cast_possible_truncation, reason = "thousandths of a logarithm are small")]
fn milli(logprob: f32) -> i64 {
    (f64::from(logprob) * 1000.0 + 0.5).floor() as i64
}

fn print_event(event: &Event) {
    let ids = listed(&event.ids);
    let rest = match &event.kind {
        EventKind::Progress { done, total } => format!("PROGRESS {done}/{total}"),
        EventKind::Reasoning(text) => format!("REASONING {} {ids}", quoted(text)),
        EventKind::Text(text) => format!("TEXT {} {ids}", quoted(text)),
        EventKind::Logprobs(list) => {
            let mut rest = "LOGPROBS".to_owned();
            let mut left = list.as_slice();
            while let [token, others @ ..] = left {
                let n_above = usize::try_from(token.n_above).expect("a count");
                let (above, behind) = others.split_at(n_above);
                assert!(above.iter().all(|other| other.position == token.position));
                let (id, position) = (token.token, token.position);
                let _ = write!(rest, " {id}@{position}={}", milli(token.logprob));
                for other in above {
                    let _ = write!(rest, "/{}={}", other.token, milli(other.logprob));
                }
                left = behind;
            }
            rest
        }
        // An answer that fails is an error of the iterator, so the status is OK here.
        EventKind::Done(finish) => format!("DONE {} FATHOM_OK {ids}", finish_name(*finish)),
        _ => "unknown".to_owned(),
    };
    println!("{} {rest}", event.sequence);
}

/// One line for each event to the last one.
pub(crate) fn events(events: &mut Events) -> Result<()> {
    for event in events {
        print_event(&event?);
    }
    Ok(())
}

/// The text of the whole answer, and why it ended.
pub(crate) fn answer(name: &str, events: &mut Events) -> Result<()> {
    let (mut whole, mut last) = (String::new(), None);
    for event in events {
        match event?.kind {
            EventKind::Text(piece) => whole += &piece,
            EventKind::Done(finish) => last = Some(finish),
            _ => {}
        }
    }
    text(name, &whole);
    line("finish", finish_name(last.expect("the last event")));
    Ok(())
}

/// Drops everything to the end; `n_seen` tokens were read before.
pub(crate) fn end(name: &str, events: &mut Events, mut n_seen: u64) -> Result<()> {
    let mut last = None;
    for event in events.by_ref() {
        let event = event?;
        n_seen += event.ids.len() as u64;
        if let EventKind::Done(finish) = event.kind {
            last = Some(finish);
        }
    }
    line(name, format_args!("{} FATHOM_OK", finish_name(last.expect("the last event"))));
    let usage = events.usage()?;
    let counts = usage.finished && usage.reasoning_tokens + usage.output_tokens == n_seen;
    truth("usage counts the ids", counts);
    Ok(())
}

pub(crate) fn usage(events: &Events) -> Result<()> {
    let usage = events.usage()?;
    line(
        "usage",
        format_args!(
            "finished={} fresh={} cached={} reasoning={} output={}",
            i32::from(usage.finished),
            usage.prompt_fresh,
            usage.prompt_cached,
            usage.reasoning_tokens,
            usage.output_tokens
        ),
    );
    Ok(())
}

pub(crate) fn session(name: &str, session: &Session) -> Result<()> {
    let facts = session.describe()?;
    let running = i32::from(facts.running);
    line(
        name,
        format_args!("tokens={} context={} running={running}", facts.n_tokens, facts.context),
    );
    Ok(())
}
