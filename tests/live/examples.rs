//! Tests the examples that print what happens: `board` and `dispatch`.

use crate::harness::{GuardedProgram, LineClient, Signal, until};

#[test]
fn the_board_example_counts_each_request_and_each_crash_once() {
    let mut board = GuardedProgram::example("board", &["0"]);
    let port = until("the port is printed", || {
        board.stdout().lines().find_map(|line| line.strip_prefix("PORT=")?.parse().ok())
    });
    let shows = |text: &str| {
        until(&format!("{text:?} is printed"), || board.stdout().contains(text).then_some(()));
    };
    let answer = LineClient::connect(port).ask("hello");
    assert!(answer.contains(": hello"), "{answer}");
    shows(", 1 requests, 0 crashes");
    let mut client = LineClient::connect(port);
    client.send("CRASH\n").unwrap();
    assert_eq!(client.rest(), "");
    shows(", 2 requests, 1 crashes");
    assert_eq!(board.stop(Signal::SIGINT), "code 0");
    assert!(
        board.stdout().ends_with("\nboard has stopped; no process is left\n"),
        "{}",
        board.stdout()
    );
}

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
