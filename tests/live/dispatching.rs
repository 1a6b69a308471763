//! `examples/dispatch`: each kind of answer, once, and an orderly end.

use crate::harness::Guard;

#[test]
fn the_dispatcher_s_example_tells_each_kind_of_answer_and_ends() {
    let mut example = Guard::example("dispatch", &[]);
    assert_eq!(example.ended(), "code 0", "{}", example.complained());
    let said = example.said();
    let expected = [
        "counted: 6 words, in process ",
        "divided: 6 by Task, its types known at both ends",
        "error: cannot divide by zero",
        "crashed: lost: its worker is gone: signal 6 (ABRT)",
        "hung: timed out after 200ms (its worker was killed)",
        "poison: put aside: 3 workers died over it, the last by signal 6 (ABRT)",
        "rejected: unknown method \"unheard of\"",
        "1000 more: 1000 values",
    ];
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{said}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
}
