//! Ten thousand conversations leave nothing behind.

mod common;

use fathom::{EventKind, Finish, GenerateOptions, Model, Prompt};
use futures::executor::block_on;
use futures::{StreamExt, poll};

/// Opens, generates, cancels and closes once, in one of the ways that there are.
fn cycle(model: &Model, prompt: &Prompt, number: usize) {
    let options = GenerateOptions { ignore_end_of_turn: true, ..GenerateOptions::default() };
    let mut session = common::session(model);
    let mut events = session.generate(prompt, &options).unwrap();
    match number % 4 {
        0 => drop(events),
        1 => block_on(async { drop(poll!(events.into_stream().next())) }),
        2 => block_on(async { drop(events.into_stream().next().await.unwrap().unwrap()) }),
        _ => {
            events.next().unwrap().unwrap();
            events.cancel();
            let last = events.map(Result::unwrap).last().unwrap();
            assert_eq!(last.kind, EventKind::Done(Finish::Cancelled));
        }
    }
}

/// Bytes of the heap in use, by this program and the library in it; descriptors; threads.
fn held() -> [usize; 3] {
    // SAFETY: it takes nothing and returns numbers.
    let heap = unsafe { libc::mallinfo2() };
    [heap.uordblks + heap.hblkhd, common::entries("fd"), common::entries("task")]
}

/// A service would grow until it is killed. The only test of its program: others would be counted.
#[test]
fn ten_thousand_cycles_leave_nothing_behind() {
    let engine = common::engine();
    let model = common::model(&engine);
    let prompt = common::prompt(&model, fathom::Thinking::Off, "Hello");
    let many = |numbers: std::ops::Range<usize>| {
        numbers.for_each(|number| cycle(&model, &prompt, number));
        common::wait_until_empty(&engine);
        held()
    };
    let before = many(0..500);
    let after = many(0..10_000);
    println!("heap bytes, descriptors, threads: {before:?} before, {after:?} after");
    assert_eq!(before[1..], after[1..]);
    // Four bytes a cycle would be a leak; what the allocator rounds up is less.
    assert!(after[0] < before[0] + 40_000, "{before:?} before, {after:?} after");
    drop((prompt, model, engine));

    let many = |n: usize| {
        (0..n).for_each(|number| {
            let model = common::model(&common::engine());
            cycle(&model, &common::sum(&model), number);
        });
        held()
    };
    let (before, after) = (many(5), many(40));
    println!("the same for engines: {before:?} before, {after:?} after");
    assert_eq!(before[1..], after[1..]);
    assert!(after[0] < before[0] + 40_000, "{before:?} before, {after:?} after");
}
