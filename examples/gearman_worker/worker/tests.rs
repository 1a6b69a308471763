//! The worker at a server that says what a test has it say.

use std::io::{PipeReader, PipeWriter, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::spawn;

use super::*;
use server::*;

mod server;

/// A worker that runs, and what a test needs to deal with it.
struct Tried {
    listener: TcpListener,
    stop: PipeWriter,
    troubles: Receiver<String>,
    result: Receiver<u64>,
}

impl Tried {
    fn new() -> Self {
        Tried::with(PATIENCE)
    }

    fn with(patience: Patience) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = address_of(&listener);
        let (stop, asks) = std::io::pipe().expect("a pipe");
        let (tells, troubles) = channel();
        let result = start(server, patience, stop, tells);
        Tried { listener, stop: asks, troubles, result }
    }

    /// Takes a connection, up to where the worker asks for its first job.
    #[track_caller]
    fn is_met(&self) -> Server {
        let mut server = Server::of(&self.listener);
        server.hears_who_it_is();
        server
    }

    #[track_caller]
    fn is_told_of(&self, trouble: &str) {
        let told = self.troubles.recv_timeout(DEADLINE).expect("it is told");
        assert!(told.contains(trouble), "{told:?} does not say {trouble:?}");
    }

    fn asks_to_stop(&mut self) {
        self.stop.write_all(b"x").expect("the pipe has room");
    }

    /// Waits for the worker's end. It has answered so many jobs, and has nothing more to tell.
    #[track_caller]
    fn has_answered(self, jobs: u64) {
        assert_eq!(self.result.recv_timeout(DEADLINE), Ok(jobs));
        assert_eq!(self.troubles.try_iter().collect::<Vec<_>>(), Vec::<String>::new());
    }
}

fn address_of(listener: &TcpListener) -> Address {
    let address = listener.local_addr().expect("it has an address");
    address.to_string().parse().expect("it is one")
}

/// Starts a worker in a thread of its own, and returns where its result will come.
fn start(
    server: Address,
    patience: Patience,
    stop: PipeReader,
    tells: Sender<String>,
) -> Receiver<u64> {
    let (gives, result) = channel();
    spawn(move || gives.send(work(&server, patience, &stop, tells)));
    result
}

fn work(server: &Address, patience: Patience, stop: &PipeReader, tells: Sender<String>) -> u64 {
    let mut worker = Worker::new(server, "tried")
        .and_then(|worker| worker.can("upper", |job| Ok(job.workload().to_ascii_uppercase())))
        .and_then(|worker| worker.can("fail", |_job| Err("out of paper".into())))
        .and_then(|worker| worker.can("huge", |_job| Ok(vec![b'x'; crate::protocol::BODY_MAX])))
        .and_then(|worker| {
            worker.can("steps", |job| {
                job.progress(1, 2)?;
                job.progress(2, 2)?;
                Ok(Vec::new())
            })
        })
        .expect("these are names")
        .on_trouble(move |trouble| drop(tells.send(trouble.to_string())));
    worker.patience = patience;
    worker.run(Some(stop.as_fd())).expect("it can wait")
}

#[test]
fn it_says_who_it_is_and_what_it_can_do_and_answers_job_after_job() {
    let mut tried = Tried::new();
    let mut server = tried.is_met();
    server.assigns(b"H:1\0upper\0shout");
    server.hears(WORK_COMPLETE, b"H:1\0SHOUT");
    server.assigns(b"H:2\0upper\0nul \0 within");
    server.hears(WORK_COMPLETE, b"H:2\0NUL \0 WITHIN");
    server.puts_to_sleep();
    server.says(&[(NOOP, b"")]);
    server.assigns(b"H:3\0upper\0");
    server.hears(WORK_COMPLETE, b"H:3\0");
    server.puts_to_sleep();
    tried.asks_to_stop();
    server.takes_leave();
    tried.has_answered(3);
}

#[test]
fn a_job_that_is_assigned_while_it_is_to_stop_is_answered_first() {
    let mut tried = Tried::new();
    let mut server = tried.is_met();
    server.hears(GRAB_JOB, b"");
    tried.asks_to_stop();
    server.says(&[(JOB_ASSIGN, b"H:1\0upper\0last")]);
    server.hears(WORK_COMPLETE, b"H:1\0LAST");
    server.takes_leave();
    tried.has_answered(1);
}

#[test]
fn a_stop_wakes_a_worker_that_sleeps() {
    let mut tried = Tried::with(Patience { sleep: DEADLINE * 10, ..PATIENCE });
    let mut server = tried.is_met();
    server.puts_to_sleep();
    tried.asks_to_stop();
    server.takes_leave();
    tried.has_answered(0);
}

#[test]
fn without_a_stop_it_works_on() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = address_of(&listener);
    // It ends with the process of the tests.
    spawn(move || {
        let worker = Worker::new(&address, "tried");
        let worker = worker.and_then(|worker| worker.can("same", |job| Ok(job.workload().into())));
        worker.expect("these are names").run(None)
    });
    let mut server = Server::of(&listener);
    server.hears(SET_CLIENT_ID, b"tried");
    server.hears(CAN_DO, b"same");
    for _round in 0..2 {
        server.puts_to_sleep();
        server.says(&[(NOOP, b"")]);
        server.assigns(b"H:1\0same\0a");
        server.hears(WORK_COMPLETE, b"H:1\0a");
    }
}

#[test]
fn a_stop_whose_other_end_is_gone_is_one() {
    let mut tried = Tried::new();
    let mut server = tried.is_met();
    server.puts_to_sleep();
    tried.stop = std::io::pipe().expect("a pipe").1;
    server.takes_leave();
    tried.has_answered(0);
}

#[test]
fn wake_ups_that_come_late_are_passed_over_and_one_that_comes_early_counts() {
    let mut tried = Tried::with(Patience { sleep: DEADLINE * 10, ..PATIENCE });
    let mut server = tried.is_met();
    server.hears(GRAB_JOB, b"");
    server.says(&[(NOOP, b""), (NOOP, b""), (NO_JOB, b""), (NOOP, b"")]);
    server.hears(PRE_SLEEP, b"");
    server.assigns(b"H:1\0upper\0a");
    server.hears(WORK_COMPLETE, b"H:1\0A");
    server.puts_to_sleep();
    tried.asks_to_stop();
    server.says(&[(NOOP, b"")]);
    server.takes_leave();
    tried.has_answered(1);
}

#[test]
fn a_failure_is_told_in_words_and_then_as_such() {
    let mut tried = Tried::new();
    let mut server = tried.is_met();
    server.assigns(b"H:1\0fail\0");
    server.hears(WORK_WARNING, b"H:1\0out of paper\n");
    server.hears(WORK_FAIL, b"H:1");
    server.assigns(b"H:2\0huge\0");
    let words = b"H:2\0its result cannot be sent: a packet of 67108868 bytes is too long: 67108864 are the most\n";
    server.hears(WORK_WARNING, words);
    server.hears(WORK_FAIL, b"H:2");
    server.puts_to_sleep();
    tried.asks_to_stop();
    server.takes_leave();
    tried.has_answered(2);
}

#[test]
fn a_job_of_a_function_that_it_has_not_is_answered_too() {
    let mut tried = Tried::new();
    let mut server = tried.is_met();
    server.assigns(b"H:1\0lower\0X");
    server.hears(WORK_WARNING, b"H:1\0this worker has no such function\n");
    server.hears(WORK_FAIL, b"H:1");
    tried.is_told_of(r#"assigns job H:1 of function "lower", which is none of ours"#);
    server.puts_to_sleep();
    tried.asks_to_stop();
    server.takes_leave();
    tried.has_answered(1);
}

#[test]
fn progress_is_told_before_the_result() {
    let mut tried = Tried::new();
    let mut server = tried.is_met();
    server.assigns(b"H:1\0steps\0");
    server.hears(WORK_STATUS, b"H:1\x001\x002");
    server.hears(WORK_STATUS, b"H:1\x002\x002");
    server.hears(WORK_COMPLETE, b"H:1\0");
    server.puts_to_sleep();
    tried.asks_to_stop();
    server.takes_leave();
    tried.has_answered(1);
}

#[test]
fn an_answer_counts_once_the_server_has_taken_it_in() {
    let mut tried = Tried::new();
    let mut server = tried.is_met();
    server.assigns(b"H:1\0upper\0a");
    server.hears(WORK_COMPLETE, b"H:1\0A");
    server.hears(GRAB_JOB, b"");
    drop(server);
    tried.is_told_of("closed the connection");
    let mut server = tried.is_met();
    server.assigns(b"H:1\0upper\0a");
    server.hears(WORK_COMPLETE, b"H:1\0A");
    server.puts_to_sleep();
    tried.asks_to_stop();
    server.takes_leave();
    tried.has_answered(1);
}

#[test]
fn after_what_it_does_not_understand_it_connects_anew() {
    let tried = Tried::new();
    let table: [(&[u8], &str); 3] = [
        (b"HTTP/1.1 400 Bad Request\r\n", r#"a packet begins with "HTTP""#),
        (b"\0RES\0\0\0\x08\0\0\0\0", "a packet of type 8"),
        (b"\0RES\0\0\0\x11\0\0\0\0", "it answers GRAB_JOB by ECHO_RES"),
    ];
    for (nonsense, told) in table {
        let mut server = tried.is_met();
        server.hears(GRAB_JOB, b"");
        server.0.write_all(nonsense).expect("the worker is there");
        tried.is_told_of(told);
    }
    let mut server = tried.is_met();
    server.puts_to_sleep();
    server.says(&[(JOB_ASSIGN, b"H:1\0upper\0a")]);
    tried.is_told_of("it answers PRE_SLEEP by JOB_ASSIGN");
    let mut server = tried.is_met();
    let mut tried = tried;
    server.hears(GRAB_JOB, b"");
    tried.asks_to_stop();
    server.says(&[(NO_JOB, b"")]);
    server.hears(PRE_SLEEP, b"");
    server.takes_leave();
    tried.has_answered(0);
}

#[test]
fn what_the_server_refuses_is_told_and_the_answer_is_still_waited_for() {
    let mut tried = Tried::new();
    let mut server = tried.is_met();
    server.hears(GRAB_JOB, b"");
    server.says(&[(ERROR, b"JOB_NOT_FOUND\0no such job"), (JOB_ASSIGN, b"H:1\0upper\0a")]);
    tried.is_told_of("refuses a request: no such job (JOB_NOT_FOUND)");
    server.hears(WORK_COMPLETE, b"H:1\0A");
    server.puts_to_sleep();
    server.says(&[(ERROR, b"OH\0asleep")]);
    tried.is_told_of("asleep (OH)");
    tried.asks_to_stop();
    server.hears(RESET_ABILITIES, b"");
    server.says(&[(ERROR, b"OH\0leaving")]);
    server.hears(ECHO_REQ, b"good-bye");
    server.says(&[(NOOP, b""), (ECHO_RES, b"good-bye")]);
    tried.is_told_of("leaving (OH)");
    tried.has_answered(1);
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let answer = Duration::from_millis(50);
    let mut tried = Tried::with(Patience { answer, ..PATIENCE });
    let mut server = tried.is_met();
    server.hears(GRAB_JOB, b"");
    tried.is_told_of("it has not answered for 50ms");
    tried.asks_to_stop();
    assert_eq!(tried.result.recv_timeout(DEADLINE), Ok(0));
}

#[test]
fn a_sleeper_that_nobody_wakes_asks_by_itself() {
    let sleep = Duration::from_millis(20);
    let mut tried = Tried::with(Patience { sleep, ..PATIENCE });
    let mut server = tried.is_met();
    server.puts_to_sleep();
    server.assigns(b"H:1\0upper\0a");
    server.hears(WORK_COMPLETE, b"H:1\0A");
    server.hears(GRAB_JOB, b"");
    tried.asks_to_stop();
    server.says(&[(NO_JOB, b"")]);
    server.hears(PRE_SLEEP, b"");
    server.takes_leave();
    tried.has_answered(1);
}

#[test]
fn a_stop_ends_the_wait_for_a_server_that_is_not_there() {
    let vacant = address_of(&TcpListener::bind("127.0.0.1:0").expect("a port"));
    let (stop, mut asks) = std::io::pipe().expect("a pipe");
    let (tells, troubles) = channel();
    let result = start(vacant, PATIENCE, stop, tells);
    for _pause in 0..2 {
        let told = troubles.recv_timeout(DEADLINE).expect("it is told");
        assert!(told.contains("cannot connect"), "{told}");
    }
    asks.write_all(b"x").expect("the pipe has room");
    assert_eq!(result.recv_timeout(DEADLINE), Ok(0));
}

#[test]
fn a_server_without_host_and_port_and_names_of_two_words_are_refused() {
    for bad in
        ["", "localhost", "localhost:", ":4730", "localhost:0", "localhost:65536", "host:gear"]
    {
        let refused = bad.parse::<Address>().expect_err("it is no address").to_string();
        assert!(refused.starts_with(&format!("{bad:?} is no address")), "{refused}");
    }
    let server = "[::1]:4730".parse().expect("it is an address");
    let refused = Worker::new(&server, "two words").err().expect("it is no name").to_string();
    assert!(refused.contains("two words"), "{refused}");
    let worker = Worker::new(&server, "tried").expect("it is a name");
    assert!(worker.can("", |_job| Ok(Vec::new())).is_err());
}
