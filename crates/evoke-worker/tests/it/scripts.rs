//! Hostile workers without a process: what the fuzz target `frames` does, on the stable compiler.

use std::path::Path;

use evoke_core::outcome::FailureCode;
use evoke_core::runtime::Ended;
use evoke_worker::testing::{Ask, Conditions, Good, Reader, Script, Step, Verdict, converse};
use proptest::prelude::*;

fn script(conditions: Conditions, steps: impl IntoIterator<Item = Step>) -> Script {
    let ready = Step::Good { frame: Good::Ready, times: 1 };
    Script { conditions, steps: std::iter::once(ready).chain(steps).collect() }
}

fn good(frame: Good) -> Step {
    Step::Good { frame, times: 1 }
}

fn violation(verdict: &Verdict) -> &str {
    match &verdict.ended {
        Some(Ended::Failed(failure)) if failure.code == FailureCode::ProtocolViolation => &failure.message,
        other => panic!("no violation: {other:?}"),
    }
}

#[test]
fn the_corpus_of_the_fuzz_target_is_survived() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/frames");
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        converse(&Script::parse(&std::fs::read(&file).unwrap()));
    }
}

#[test]
fn a_call_by_the_rules_returns() {
    use Good::{Body, BodyEnd, Done, Log, Platform, ResponseWithBody};
    let steps = [Log, Platform, ResponseWithBody, Body, Body, BodyEnd, Done].map(good);
    let verdict = converse(&script(Conditions::default(), steps));
    assert_eq!(verdict.ended, Some(Ended::Returned { events: Vec::new() }));
    assert_eq!((verdict.lines, verdict.asked), (1, 1));
}

#[test]
fn a_worker_that_says_nothing_is_out_of_time() {
    let silent = Conditions { stays: true, ..Conditions::default() };
    assert_eq!(converse(&script(silent, [])).ended, Some(Ended::TimedOut));
}

#[test]
fn a_frame_after_the_end_of_its_call_ends_the_worker() {
    let late = script(
        Conditions { stays: true, ..Conditions::default() },
        [good(Good::Response), good(Good::Done), good(Good::Log), good(Good::Done)],
    );
    let verdict = converse(&late);
    assert_eq!(verdict.ended, Some(Ended::Returned { events: Vec::new() }));
    assert!(!verdict.usable);
}

/// Each answer is 1 MiB, and none is read. One request at a time.
#[test]
fn answers_that_are_not_read_do_not_pile_up() {
    let conditions = Conditions { platform: Ask::AnsweredAtLength, stays: true, ..Conditions::default() };
    let ask = std::iter::repeat_n([good(Good::Platform), Step::Wait], 200).flatten();
    let verdict = converse(&script(conditions, ask));
    assert!(violation(&verdict).starts_with("Platform frame is malformed: "), "{verdict:?}");
    assert!(verdict.asked <= 80, "{} answers of 1 MiB are waiting to be read", verdict.asked);
}

#[test]
fn a_reader_that_is_stuck_stops_the_worker_at_its_credit() {
    let conditions = Conditions { reader: Reader::Stuck, ..Conditions::default() };
    let steps = [good(Good::ResponseWithBody), Step::Good { frame: Good::Body, times: 40 }];
    let verdict = converse(&script(conditions, steps));
    assert_eq!(violation(&verdict), "Body frame of call 1 is larger than the credit it has");
}

#[test]
fn a_length_of_four_gigabytes_is_refused_at_its_header() {
    let header = Step::Header { length: u32::MAX, call: 1, kind: 20 };
    let verdict = converse(&script(Conditions::default(), [header]));
    assert_eq!(violation(&verdict), "Done frame of 4294967295 bytes is above the limit of 9437184");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_come_to_a_verdict(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        converse(&Script::parse(&bytes));
    }

    /// Frames that are right by themselves, in an order that is not.
    #[test]
    fn any_order_of_good_frames_comes_to_a_verdict(
        flags in any::<[u8; 2]>(),
        frames in prop::collection::vec((any::<prop::sample::Index>(), 1..20_u8, any::<bool>()), 0..30),
    ) {
        let mut script = Script::parse(&flags);
        for (frame, times, read) in frames {
            script.steps.push(Step::Good { frame: Good::ALL[frame.index(Good::ALL.len())], times });
            if read {
                script.steps.push(Step::Read);
            }
        }
        converse(&script);
    }

    /// What a worker that keeps to the rules sends arrives, however it is cut into steps.
    #[test]
    fn a_call_by_the_rules_returns_whatever_else_is_going_on(
        upload in any::<bool>(),
        compact in any::<bool>(),
        lines in 0..50_u8,
        requests in 0..64_u8,
        chunks in 0..4_u8,
    ) {
        let conditions = Conditions { upload, compact, ..Conditions::default() };
        let repeated = [(Good::Log, lines), (Good::Platform, requests)];
        let mut steps: Vec<_> = repeated.into_iter().map(|(frame, times)| Step::Good { frame, times }).collect();
        steps.extend([good(Good::ResponseWithBody), Step::Good { frame: Good::Body, times: chunks }]);
        // 64 KiB of the window are left for the end.
        steps.truncate(if chunks == 4 { 3 } else { steps.len() });
        steps.extend([Step::Read, good(Good::BodyEnd), good(Good::Done)]);
        let verdict = converse(&script(conditions, steps));
        prop_assert_eq!(verdict.ended, Some(Ended::Returned { events: Vec::new() }));
        prop_assert_eq!((verdict.lines, verdict.asked), (usize::from(lines), usize::from(requests)));
    }
}
