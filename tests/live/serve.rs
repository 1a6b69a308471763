//! Tests `serve`, which runs a daemon from a listener and an async function.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::harness::{ControlClient, Signal, TestProgram, run_clients, until};

const MODELS: [&str; 2] = ["start=2 max=4", "postfork max=4"];

/// Sends words one after the other on one connection. Each word is sent only after the previous
/// word was echoed, so the child has to wait for each word except the first.
fn talk(path: &Path, words: &[String]) {
    let stream = UnixStream::connect(path).expect("the daemon listens");
    let mut answers = BufReader::new(&stream).lines();
    for word in words {
        writeln!(&stream, "{word}").expect("the child reads");
        assert_eq!(answers.next().expect("the child answers").expect("the answer is text"), *word);
    }
}

#[test]
fn concurrent_clients_each_receive_their_own_words() {
    for model in MODELS {
        let daemon = TestProgram::serve().logged().options(model).start();
        run_clients(30, |number| {
            let mut client = daemon.client();
            for word in ["first", "second", "third"] {
                let word = format!("{word} {number}");
                assert_eq!(client.ask(&word), word);
            }
        });
    }
}

#[test]
fn a_handler_that_exits_ends_its_child_and_the_exit_code_is_logged() {
    for model in MODELS {
        let daemon = TestProgram::serve().logged().options(model).start();
        let mut client = daemon.client();
        assert_eq!(client.ask("alive"), "alive");
        client.send("exit\n").unwrap();
        assert_eq!(client.rest(), "");
        let line = daemon.wait_for_log("WARN child exited");
        assert!(line.ends_with(", reason: exited with code 7"), "{line}");
        assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    }
}

#[test]
fn serve_answers_on_a_unix_socket() {
    for model in MODELS {
        let mut daemon =
            TestProgram::serve().logged().options(model).options("unix=DIR/socket").start();
        let socket = daemon.dir().join("socket");
        run_clients(20, |number| {
            let words: Vec<_> = ["a", "b"].iter().map(|word| format!("{word}{number}")).collect();
            talk(&socket, &words);
        });
        let parent = daemon.parent();
        parent.signal(Signal::SIGTERM);
        assert_eq!(daemon.wait_until_gone()[&parent], "code 0");
        assert!(UnixStream::connect(&socket).is_err(), "the socket refuses connections");
    }
}

#[test]
fn errors_of_handlers_are_logged_with_a_limit_on_their_rate() {
    for model in MODELS {
        let mut daemon = TestProgram::serve().logged().options(model).start();
        for _time in 0..40 {
            let mut client = daemon.client();
            client.send("fail\n").unwrap();
            assert_eq!(client.rest(), "");
        }
        // A client that disconnects is no failure of the handler.
        let mut client = daemon.client();
        client.send("reset\n").unwrap();
        assert_eq!(client.rest(), "");
        let line = daemon.wait_for_log("WARN handler failed");
        for part in ["role: child", "pid: ", "slot: ", "error: no such account", "suppressed: 0"] {
            assert!(line.contains(part), "{line}");
        }
        daemon.stop();
        let log = daemon.log();
        let lines = log.lines().filter(|line| line.contains("handler failed")).count();
        // Ten in a burst, and one more in each 10 s that a busy machine needs.
        assert!((10..40).contains(&lines), "{lines} records: {log}");
        assert!(!log.contains("disconnected"), "{log}");
    }
}

#[test]
fn a_panic_of_a_handler_is_logged_with_its_location_and_ends_its_child() {
    for model in MODELS {
        let daemon = TestProgram::serve().logged().options(model).start();
        let mut client = daemon.client();
        client.send("panic\n").unwrap();
        assert_eq!(client.rest(), "");
        let line = daemon.wait_for_log("CRIT panicked");
        assert!(line.contains("location: tests/programs/serve.rs:"), "{line}");
        let line = daemon.wait_for_log("WARN child exited");
        assert!(line.ends_with(", reason: exited with code 101"), "{line}");
        assert_eq!(daemon.client().ask("word"), "word");
    }
}

/// What a handler may say, and the answers: `ok`, or `refused`.
const WORDS: [(&str, &str); 9] = [
    ("wait", "refused"),
    ("done", "refused"),
    ("req", "ok"),
    ("long", "ok"),
    ("extend", "ok"),
    ("label", "ok"),
    ("send", "ok"),
    ("work", "ok"),
    ("later", "ok"),
];

#[test]
fn nothing_that_a_handler_says_wedges_the_pool() {
    let daemon = TestProgram::serve()
        .logged()
        .options("start=4 max=4 max_spare=4 control=DIR/control")
        .start();
    let children = daemon.wait_for_children(4);
    // Different sequences in each client: the numbers come from a linear congruential generator.
    run_clients(24, |number| {
        let mut state = number as u64 * 7919 + 1;
        let mut client = daemon.client();
        for _time in 0..8 {
            let mut said = Vec::new();
            let mut expected = Vec::new();
            for _word in 0..6 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (word, answer) = WORDS[(state >> 33) as usize % WORDS.len()];
                said.push(word);
                expected.push(answer);
            }
            assert_eq!(client.ask(&format!("say {}", said.join(" "))), expected.join(" "));
        }
    });
    assert_eq!(daemon.children(), children, "no child has exited");
    // Each child serves, all at the same time.
    let mut clients: Vec<_> = (0..4).map(|_| daemon.client()).collect();
    let mut pids: Vec<_> = clients.iter_mut().map(|client| client.pid()).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 4);
    let mut control = ControlClient::at(&daemon.dir().join("control"));
    let mut board = || control.ask("status", "")["ok"]["report"]["board"].clone();
    let busy = board();
    assert!(busy.as_str().unwrap().trim_end().chars().all(|letter| letter == 'r'), "{busy}");
    drop(clients);
    until("all children are idle", || {
        let board = board();
        let board = board.as_str().unwrap().trim_end();
        (board.len() == 4 && board.chars().all(|letter| letter == 'w')).then_some(())
    });
    let line = daemon.wait_for_log("WARN status refused");
    assert!(line.contains("cannot report"), "{line}");
    let lines = daemon.log().lines().filter(|line| line.contains("status refused")).count();
    assert!(lines < 40, "{lines} records");
}
