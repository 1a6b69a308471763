//! Tests `examples/dispatch`, which prints each kind of result once and then shuts down gracefully.

use crate::harness::GuardedProgram;

#[test]
fn the_dispatch_example_prints_each_kind_of_result_and_exits() {
    let mut example = GuardedProgram::example("dispatch", &[]);
    assert_eq!(example.wait_until_gone(), "code 0", "{}", example.stderr());
    let said = example.stdout();
    let expected = [
        "counted: 6 words, in process ",
        "divided: 6, computed by a typed task",
        "error: cannot divide by zero",
        "crashed: worker died while running the task: killed by signal ABRT",
        "hung: timed out after 200ms (hard limit, the worker was killed)",
        "dead letter: gave up after 3 attempts: the worker died each time, last cause: killed by signal ABRT",
        "rejected: unknown method \"unheard of\"",
        "1000 requests: 1000 values",
    ];
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{said}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
}
