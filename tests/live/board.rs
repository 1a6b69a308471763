//! `examples/board`: what its children do is what it shows.

use crate::harness::{Client, Guard, Signal, until};

#[test]
fn the_board_shows_each_request_once_and_a_crash() {
    let mut board = Guard::example("board", &["0"]);
    let port = until("it tells its port", || {
        board.said().lines().find_map(|line| line.strip_prefix("PORT=")?.parse().ok())
    });
    let shows = |what: &str| until(what, || board.said().contains(what).then_some(()));
    let answer = Client::of(port).ask("hello");
    assert!(answer.contains(": hello"), "{answer}");
    shows(", 1 requests, 0 crashes");
    let mut client = Client::of(port);
    client.send("CRASH\n").unwrap();
    assert_eq!(client.rest(), "");
    shows(", 2 requests, 1 crashes");
    assert_eq!(board.stop(Signal::SIGINT), "code 0");
    assert!(
        board.said().ends_with("\nboard has stopped; no process is left\n"),
        "{}",
        board.said()
    );
}
