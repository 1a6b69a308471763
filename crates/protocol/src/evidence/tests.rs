//! Tests the text and the JSON of the evidence about an example child.

use super::*;

fn child() -> ChildReport {
    ChildReport {
        slot: SlotNumber::new(3),
        pid: Some(4711),
        letter: 'l',
        age: Duration::from_millis(312_500),
        since: Duration::from_millis(12_345),
        requests: 17,
        label: Some("GET /slow".to_owned()),
        generation: 2,
        cpu: None,
        rss: None,
        pss: None,
        causes: Vec::new(),
    }
}

fn at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_252_529_500)
}

fn frame(function: Option<&str>, file: Option<&str>, line: Option<u32>) -> Frame {
    let (function, file) = (function.map(str::to_owned), file.map(str::to_owned));
    Frame { address: 0x55d0_1234, function, file, line }
}

fn full() -> Evidence {
    Evidence {
        cpu: Some(Duration::from_millis(9400)),
        request_cpu: Some(Duration::from_millis(250)),
        rss: Some(40 << 20),
        pss: Some(12_900_000),
        state: Some('S'),
        wchan: Some("pipe_read".to_owned()),
        syscall: Some("0 (0x5, 0x7ffd12, 0x1, 0x0, 0x0, 0x0)".to_owned()),
        kernel_stack: vec!["pipe_read+0x39e/0x4a0".to_owned(), "ksys_read+0x66/0xe0".to_owned()],
        backtrace: Trace::Frames(vec![
            frame(Some("read"), None, None),
            frame(Some("echo::slow"), Some("src/main.rs"), Some(42)),
            frame(None, None, None),
        ]),
        ..Evidence::of(&child(), at())
    }
}

#[test]
fn evidence_prints_the_child_then_its_resources_then_its_stack() {
    assert_eq!(
        full().to_string(),
        "2026-11-21 09:15:29 UTC: child in slot 3 (process 4711, generation 2), status long for 12s: \
         GET /slow\n    \
         age 5m12s, 17 requests\n    \
         cpu 9s, 250ms of it in this request, rss 40M, pss 12M\n    \
         state S, waiting in pipe_read, system call 0 (0x5, 0x7ffd12, 0x1, 0x0, 0x0, 0x0)\n    \
         kernel stack\n        \
         #0 pipe_read+0x39e/0x4a0\n        \
         #1 ksys_read+0x66/0xe0\n    \
         backtrace\n        \
         #0 read\n        \
         #1 echo::slow at src/main.rs:42\n        \
         #2 0x55d01234\n"
    );
}

#[test]
fn unknown_fields_are_not_printed() {
    let mut forked = ChildReport { pid: None, label: None, ..child() };
    forked.letter = 'F';
    let mut evidence = Evidence::of(&forked, at());
    let known = "2026-11-21 09:15:29 UTC: child in slot 3 (no process yet, generation 2), status \
                 forking for 12s\n    age 5m12s, 17 requests\n";
    assert_eq!(evidence.to_string(), known);
    evidence.backtrace = Trace::NoAnswer;
    let silent = format!("{known}    no backtrace: the child did not answer\n");
    assert_eq!(evidence.to_string(), silent);
}

#[test]
fn a_damaged_slot_is_printed_as_damaged() {
    let mut evidence = full();
    evidence.letter = '?';
    assert!(evidence.to_string().contains("generation 2), status damaged (?) for 12s"));
}

#[test]
fn control_characters_in_a_label_are_printed_as_escapes() {
    let mut evidence = full();
    let lines = evidence.to_string().lines().count();
    evidence.label = Some("GET /\r\n2026-11-21: all is well\u{1b}[2J é".to_owned());
    let text = evidence.to_string();
    assert_eq!(text.lines().count(), lines);
    assert!(text.contains(r"GET /\r\n2026-11-21: all is well\u{1b}[2J é"), "{text}");
}

#[test]
fn json_contains_the_fields_of_the_evidence_and_can_be_parsed() {
    let evidence = full();
    let json = serde_json::to_value(&evidence).unwrap();
    assert_eq!(json["taken"], 1_795_252_529.5);
    assert_eq!((&json["slot"], &json["generation"]), (&3.into(), &2.into()));
    assert_eq!(json["request_cpu"], 0.25);
    assert_eq!(json["kernel_stack"][1], "ksys_read+0x66/0xe0");
    assert_eq!(json["backtrace"]["frames"][1]["line"], 42);
    assert_eq!(serde_json::from_value::<Evidence>(json).unwrap(), evidence);
    assert_eq!(serde_json::to_value(Trace::NoAnswer).unwrap(), "no-answer");
}

#[test]
fn an_invalid_time_is_rejected_and_a_time_in_the_far_future_is_printed_in_seconds() {
    let mut json = serde_json::to_value(full()).unwrap();
    for nonsense in [-1.0, 1e300] {
        json["taken"] = nonsense.into();
        assert!(serde_json::from_value::<Evidence>(json.clone()).is_err(), "{nonsense}");
    }
    json["taken"] = 1e15.into();
    let far = serde_json::from_value::<Evidence>(json).unwrap();
    assert!(far.to_string().starts_with("1000000000000000 s after 1970: child"));
}
