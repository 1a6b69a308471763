//! Tests of the worker with a fake server.

use std::io::{PipeReader, PipeWriter, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::spawn;

use super::*;
use server::*;

mod server;

/// A running worker, and what a test needs to control it.
struct TestWorker {
    listener: TcpListener,
    stop: PipeWriter,
    problems: Receiver<String>,
    result: Receiver<u64>,
}

impl TestWorker {
    fn new() -> Self {
        TestWorker::with(TIMEOUTS)
    }

    fn with(timeouts: Timeouts) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the listener is bound");
        let server = address_of(&listener);
        let (stop, stop_writer) = std::io::pipe().expect("a pipe opens");
        let (problems_sender, problems) = channel();
        let result = start(server, timeouts, stop, problems_sender);
        TestWorker { listener, stop: stop_writer, problems, result }
    }

    /// Accepts a connection, and reads the registration up to the first job request.
    #[track_caller]
    fn accept_worker(&self) -> FakeServer {
        let mut server = FakeServer::accept(&self.listener);
        server.expect_registration();
        server
    }

    #[track_caller]
    fn expect_problem(&self, problem: &str) {
        let message = self.problems.recv_timeout(DEADLINE).expect("a problem is reported");
        assert!(message.contains(problem), "{message:?} does not contain {problem:?}");
    }

    fn request_stop(&mut self) {
        self.stop.write_all(b"x").expect("the pipe has room");
    }

    /// Waits until the worker returns. Asserts that it answered this number of jobs and reported no
    /// further problems.
    #[track_caller]
    fn expect_answers(self, jobs: u64) {
        assert_eq!(self.result.recv_timeout(DEADLINE), Ok(jobs));
        assert_eq!(self.problems.try_iter().collect::<Vec<_>>(), Vec::<String>::new());
    }
}

fn address_of(listener: &TcpListener) -> ServerAddress {
    let address = listener.local_addr().expect("the listener has an address");
    address.to_string().parse().expect("a valid address")
}

/// Starts a worker in a thread. Returns the channel that receives the result of the worker.
fn start(
    server: ServerAddress,
    timeouts: Timeouts,
    stop: PipeReader,
    problems_sender: Sender<String>,
) -> Receiver<u64> {
    let (result_sender, result) = channel();
    spawn(move || result_sender.send(work(&server, timeouts, &stop, problems_sender)));
    result
}

fn work(
    server: &ServerAddress,
    timeouts: Timeouts,
    stop: &PipeReader,
    problems_sender: Sender<String>,
) -> u64 {
    let mut worker = GearmanWorker::new(server, "worker")
        .and_then(|worker| {
            worker.add_function("upper", |job| Ok(job.workload().to_ascii_uppercase()))
        })
        .and_then(|worker| worker.add_function("fail", |_job| Err("out of paper".into())))
        .and_then(|worker| {
            worker.add_function("huge", |_job| Ok(vec![b'x'; crate::protocol::BODY_MAX]))
        })
        .and_then(|worker| {
            worker.add_function("steps", |job| {
                job.progress(1, 2)?;
                job.progress(2, 2)?;
                Ok(Vec::new())
            })
        })
        .expect("valid names")
        .on_problem(move |problem| drop(problems_sender.send(problem.to_string())));
    worker.timeouts = timeouts;
    worker.run(Some(stop.as_fd())).expect("poll succeeds")
}

#[test]
fn the_worker_registers_and_answers_one_job_after_another() {
    let mut worker = TestWorker::new();
    let mut server = worker.accept_worker();
    server.assign_job(b"H:1\0upper\0shout");
    server.expect_request(WORK_COMPLETE, b"H:1\0SHOUT");
    server.assign_job(b"H:2\0upper\0nul \0 within");
    server.expect_request(WORK_COMPLETE, b"H:2\0NUL \0 WITHIN");
    server.let_sleep();
    server.send(&[(NOOP, b"")]);
    server.assign_job(b"H:3\0upper\0");
    server.expect_request(WORK_COMPLETE, b"H:3\0");
    server.let_sleep();
    worker.request_stop();
    server.expect_disconnect();
    worker.expect_answers(3);
}

#[test]
fn a_job_assigned_after_a_stop_request_is_answered_before_the_worker_stops() {
    let mut worker = TestWorker::new();
    let mut server = worker.accept_worker();
    server.expect_request(GRAB_JOB, b"");
    worker.request_stop();
    server.send(&[(JOB_ASSIGN, b"H:1\0upper\0last")]);
    server.expect_request(WORK_COMPLETE, b"H:1\0LAST");
    server.expect_disconnect();
    worker.expect_answers(1);
}

#[test]
fn a_stop_request_wakes_a_sleeping_worker() {
    let mut worker = TestWorker::with(Timeouts { sleep: DEADLINE * 10, ..TIMEOUTS });
    let mut server = worker.accept_worker();
    server.let_sleep();
    worker.request_stop();
    server.expect_disconnect();
    worker.expect_answers(0);
}

#[test]
fn a_worker_without_a_stop_descriptor_runs_one_job_after_another() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the listener is bound");
    let address = address_of(&listener);
    // The thread ends with the test process.
    spawn(move || {
        let worker = GearmanWorker::new(&address, "worker");
        let worker =
            worker.and_then(|worker| worker.add_function("same", |job| Ok(job.workload().into())));
        worker.expect("valid names").run(None)
    });
    let mut server = FakeServer::accept(&listener);
    server.expect_request(SET_CLIENT_ID, b"worker");
    server.expect_request(CAN_DO, b"same");
    for _round in 0..2 {
        server.let_sleep();
        server.send(&[(NOOP, b"")]);
        server.assign_job(b"H:1\0same\0a");
        server.expect_request(WORK_COMPLETE, b"H:1\0a");
    }
}

#[test]
fn closing_the_stop_pipe_stops_the_worker() {
    let mut worker = TestWorker::new();
    let mut server = worker.accept_worker();
    server.let_sleep();
    worker.stop = std::io::pipe().expect("a pipe opens").1;
    server.expect_disconnect();
    worker.expect_answers(0);
}

#[test]
fn a_noop_before_no_job_is_ignored_and_a_noop_after_it_ends_the_sleep() {
    let mut worker = TestWorker::with(Timeouts { sleep: DEADLINE * 10, ..TIMEOUTS });
    let mut server = worker.accept_worker();
    server.expect_request(GRAB_JOB, b"");
    server.send(&[(NOOP, b""), (NOOP, b""), (NO_JOB, b""), (NOOP, b"")]);
    server.expect_request(PRE_SLEEP, b"");
    server.assign_job(b"H:1\0upper\0a");
    server.expect_request(WORK_COMPLETE, b"H:1\0A");
    server.let_sleep();
    worker.request_stop();
    server.send(&[(NOOP, b"")]);
    server.expect_disconnect();
    worker.expect_answers(1);
}

#[test]
fn a_failed_job_is_answered_with_a_warning_and_then_a_failure() {
    let mut worker = TestWorker::new();
    let mut server = worker.accept_worker();
    server.assign_job(b"H:1\0fail\0");
    server.expect_request(WORK_WARNING, b"H:1\0out of paper\n");
    server.expect_request(WORK_FAIL, b"H:1");
    server.assign_job(b"H:2\0huge\0");
    let words = b"H:2\0cannot send the result: a packet of 67108868 bytes is too long: the limit is 67108864 bytes\n";
    server.expect_request(WORK_WARNING, words);
    server.expect_request(WORK_FAIL, b"H:2");
    server.let_sleep();
    worker.request_stop();
    server.expect_disconnect();
    worker.expect_answers(2);
}

#[test]
fn a_job_of_an_unknown_function_is_answered_with_a_failure() {
    let mut worker = TestWorker::new();
    let mut server = worker.accept_worker();
    server.assign_job(b"H:1\0lower\0X");
    server.expect_request(WORK_WARNING, b"H:1\0this worker has no such function\n");
    server.expect_request(WORK_FAIL, b"H:1");
    worker.expect_problem(r#"assigned job H:1 of function "lower", which is not registered"#);
    server.let_sleep();
    worker.request_stop();
    server.expect_disconnect();
    worker.expect_answers(1);
}

#[test]
fn progress_is_sent_before_the_result() {
    let mut worker = TestWorker::new();
    let mut server = worker.accept_worker();
    server.assign_job(b"H:1\0steps\0");
    server.expect_request(WORK_STATUS, b"H:1\x001\x002");
    server.expect_request(WORK_STATUS, b"H:1\x002\x002");
    server.expect_request(WORK_COMPLETE, b"H:1\0");
    server.let_sleep();
    worker.request_stop();
    server.expect_disconnect();
    worker.expect_answers(1);
}

#[test]
fn an_answer_counts_only_after_the_server_has_read_it() {
    let mut worker = TestWorker::new();
    let mut server = worker.accept_worker();
    server.assign_job(b"H:1\0upper\0a");
    server.expect_request(WORK_COMPLETE, b"H:1\0A");
    server.expect_request(GRAB_JOB, b"");
    drop(server);
    worker.expect_problem("closed the connection");
    let mut server = worker.accept_worker();
    server.assign_job(b"H:1\0upper\0a");
    server.expect_request(WORK_COMPLETE, b"H:1\0A");
    server.let_sleep();
    worker.request_stop();
    server.expect_disconnect();
    worker.expect_answers(1);
}

#[test]
fn the_worker_connects_again_after_invalid_data() {
    let worker = TestWorker::new();
    let table: [(&[u8], &str); 3] = [
        (b"HTTP/1.1 400 Bad Request\r\n", r#"packet begins with "HTTP""#),
        (b"\0RES\0\0\0\x08\0\0\0\0", "unexpected packet type 8"),
        (b"\0RES\0\0\0\x11\0\0\0\0", "unexpected response ECHO_RES to GRAB_JOB"),
    ];
    for (invalid_data, message) in table {
        let mut server = worker.accept_worker();
        server.expect_request(GRAB_JOB, b"");
        server.0.write_all(invalid_data).expect("the worker is connected");
        worker.expect_problem(message);
    }
    let mut server = worker.accept_worker();
    server.let_sleep();
    server.send(&[(JOB_ASSIGN, b"H:1\0upper\0a")]);
    worker.expect_problem("unexpected response JOB_ASSIGN to PRE_SLEEP");
    let mut server = worker.accept_worker();
    let mut worker = worker;
    server.expect_request(GRAB_JOB, b"");
    worker.request_stop();
    server.send(&[(NO_JOB, b"")]);
    server.expect_request(PRE_SLEEP, b"");
    server.expect_disconnect();
    worker.expect_answers(0);
}

#[test]
fn an_error_response_is_reported_and_the_worker_waits_for_the_next_response() {
    let mut worker = TestWorker::new();
    let mut server = worker.accept_worker();
    server.expect_request(GRAB_JOB, b"");
    server.send(&[(ERROR, b"JOB_NOT_FOUND\0no such job"), (JOB_ASSIGN, b"H:1\0upper\0a")]);
    worker.expect_problem("refuses a request: no such job (JOB_NOT_FOUND)");
    server.expect_request(WORK_COMPLETE, b"H:1\0A");
    server.let_sleep();
    server.send(&[(ERROR, b"OH\0asleep")]);
    worker.expect_problem("asleep (OH)");
    worker.request_stop();
    server.expect_request(RESET_ABILITIES, b"");
    server.send(&[(ERROR, b"OH\0leaving")]);
    server.expect_request(ECHO_REQ, b"good-bye");
    server.send(&[(NOOP, b""), (ECHO_RES, b"good-bye")]);
    worker.expect_problem("leaving (OH)");
    worker.expect_answers(1);
}

#[test]
fn a_server_that_does_not_respond_is_disconnected() {
    let answer = Duration::from_millis(50);
    let mut worker = TestWorker::with(Timeouts { answer, ..TIMEOUTS });
    let mut server = worker.accept_worker();
    server.expect_request(GRAB_JOB, b"");
    worker.expect_problem("no response within 50ms");
    worker.request_stop();
    assert_eq!(worker.result.recv_timeout(DEADLINE), Ok(0));
}

#[test]
fn a_sleeping_worker_requests_a_job_when_its_sleep_timeout_has_passed() {
    let sleep = Duration::from_millis(20);
    let mut worker = TestWorker::with(Timeouts { sleep, ..TIMEOUTS });
    let mut server = worker.accept_worker();
    server.let_sleep();
    server.assign_job(b"H:1\0upper\0a");
    server.expect_request(WORK_COMPLETE, b"H:1\0A");
    server.expect_request(GRAB_JOB, b"");
    worker.request_stop();
    server.send(&[(NO_JOB, b"")]);
    server.expect_request(PRE_SLEEP, b"");
    server.expect_disconnect();
    worker.expect_answers(1);
}

#[test]
fn a_stop_request_ends_the_wait_for_an_unreachable_server() {
    let vacant = address_of(&TcpListener::bind("127.0.0.1:0").expect("the listener is bound"));
    let (stop, mut stop_writer) = std::io::pipe().expect("a pipe opens");
    let (problems_sender, problems) = channel();
    let result = start(vacant, TIMEOUTS, stop, problems_sender);
    for _pause in 0..2 {
        let message = problems.recv_timeout(DEADLINE).expect("a problem is reported");
        assert!(message.contains("cannot connect"), "{message}");
    }
    stop_writer.write_all(b"x").expect("the pipe has room");
    assert_eq!(result.recv_timeout(DEADLINE), Ok(0));
}

#[test]
fn invalid_addresses_and_names_are_refused() {
    for bad in
        ["", "localhost", "localhost:", ":4730", "localhost:0", "localhost:65536", "host:gear"]
    {
        let refused = bad.parse::<ServerAddress>().expect_err("an invalid address").to_string();
        assert!(refused.starts_with(&format!("invalid gearmand address {bad:?}")), "{refused}");
    }
    let server = "[::1]:4730".parse().expect("a valid address");
    let refused =
        GearmanWorker::new(&server, "two words").err().expect("an invalid name").to_string();
    assert!(refused.contains("two words"), "{refused}");
    let worker = GearmanWorker::new(&server, "worker").expect("a valid name");
    assert!(worker.add_function("", |_job| Ok(Vec::new())).is_err());
}
