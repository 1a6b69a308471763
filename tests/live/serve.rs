//! Tests `serve`, which runs a daemon from a listener and an async function.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::harness::{Signal, TestProgram, run_clients};

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
