//! Tests `examples/board`, which shows what the children of its pool do.

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
