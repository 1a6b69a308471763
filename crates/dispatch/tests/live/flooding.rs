//! Workers that print without end. The dispatcher stays responsive, and neither its log nor its
//! memory grows without bound.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, WrapFuture};
use actix_daemon::Daemon;
use actix_dispatch::{DispatcherBuilder, Failure, LimitKind, NewRequest, Stats, Talkback};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

use super::fixture::{TestDispatcher, builder, wait_until, with_dispatcher};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_worker_that_floods_its_output_delays_no_other_request", one),
    ("a_worker_that_prints_the_shortest_lines_delays_no_other_request", short_lines),
    ("four_workers_that_flood_their_output_delay_no_other_request", four),
    ("a_flood_is_sent_to_the_talkback_recipient_within_limits", talkback),
    ("a_slow_talkback_recipient_loses_lines_and_costs_no_memory", slow_talkback),
    ("a_process_that_outlives_its_worker_and_floods_the_output_is_cut_off", grandchild),
    ("term_ends_a_dispatcher_whose_workers_flood_their_output", term),
    ("the_end_of_the_output_of_a_lost_worker_is_reported", last_words),
];

/// How long the workers print.
const FLOOD: Duration = Duration::from_secs(3);
/// The longest time in which a request of another worker is answered, on a busy machine.
const LATENCY_MAX: Duration = Duration::from_secs(2);
/// The memory by which the parent may grow.
const GROWTH_MAX: u64 = 48 << 20;
/// The limit of one worker's output, in bytes per second.
const LIMIT: u64 = 128 << 10;

/// Prints blocks of this size until the process is killed.
fn flood(block: usize) -> ! {
    let block: Vec<u8> = b"y\n".iter().copied().cycle().take(block).collect();
    let mut stdout = std::fs::File::options().write(true).open("/dev/stdout").expect("stdout");
    loop {
        // A closed pipe ends the flood, but not the task.
        if stdout.write_all(&block).is_err() {
            std::thread::park();
        }
    }
}

fn flooding(workers: u32) -> DispatcherBuilder {
    let builder = builder(workers).output_limit(LIMIT);
    builder.method("flood", |_call, block: usize| -> Result<(), String> { flood(block) })
}

/// Returns a number from a file about this process, or 0 on a system without `/proc`.
fn own(file: &str, key: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Returns the memory of this process.
fn memory() -> u64 {
    own("/proc/self/status", "VmRSS:") * 1024
}

/// Returns the processor time of this process.
fn processor_time() -> Duration {
    Duration::from_nanos(own("/proc/self/schedstat", ""))
}

/// Returns the pipes of this process.
fn pipes() -> Vec<PathBuf> {
    let descriptors = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let mut pipes: Vec<_> =
        targets.filter(|target| target.to_string_lossy().starts_with("pipe:")).collect();
    pipes.sort();
    pipes
}

/// Starts this many floods, and checks that the dispatcher serves other requests and operators
/// until the floods are ended by their hard limit. Returns the dispatcher's counts.
async fn check(
    test: &TestDispatcher,
    floods: usize,
    block: usize,
    control: Option<&Path>,
) -> Stats {
    let (before, begun, used) = (memory(), Instant::now(), processor_time());
    let running: Vec<_> = (0..floods)
        .map(|_nth| {
            let flood = NewRequest::to("flood").params(block).hard_limit(FLOOD);
            actix_rt::spawn(test.0.dispatcher.send(flood))
        })
        .collect();
    let (mut slowest, mut calls) = (Duration::ZERO, 0);
    while running.iter().any(|flood| !flood.is_finished()) {
        let sent = Instant::now();
        assert_eq!(test.call::<String>("echo", "x").await.unwrap(), "x");
        slowest = slowest.max(sent.elapsed());
        calls += 1;
        assert!(begun.elapsed() < 10 * FLOOD, "the hard limit ends the floods");
        if let Some(control) = control
            && calls % 100 == 1
        {
            let control = control.to_owned();
            let asked = Instant::now();
            let answer = actix_rt::task::spawn_blocking(move || ask_status(&control)).await;
            assert!(answer.unwrap().contains("\"report\""));
            slowest = slowest.max(asked.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for flood in running {
        let result = flood.await.unwrap().unwrap();
        assert!(
            matches!(result, Err(Failure::TimedOut { kind: LimitKind::Hard, .. })),
            "{result:?}"
        );
    }
    let (elapsed, used) = (begun.elapsed(), processor_time().saturating_sub(used));
    let grown = memory().saturating_sub(before);
    println!("{calls} calls, slowest {slowest:?}; {used:?} of {elapsed:?}; {grown} bytes more");
    assert!(calls > 50, "{calls} calls");
    assert!(slowest < LATENCY_MAX, "a request was answered after {slowest:?}");
    assert!(used < elapsed.mul_f64(0.75), "the parent used {used:?} in {elapsed:?}");
    assert!(grown < GROWTH_MAX, "the parent grew by {grown} bytes");
    test.stats().await
}

/// Sends the command `status` to the control socket. Returns the answer.
fn ask_status(control: &Path) -> String {
    let mut stream = UnixStream::connect(control).expect("connect to the control socket");
    stream.write_all(b"{\"version\":1,\"command\":\"status\"}\n").expect("send the command");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("read the answer");
    answer
}

/// A log file in a folder of its own. When the test fails, its end is printed to the standard error
/// that the test began with, because the log contains the reason.
struct Log {
    folder: tempfile::TempDir,
    stderr: OwnedFd,
}

impl Log {
    fn new() -> Log {
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().unwrap();
        Log { folder: tempfile::tempdir().unwrap(), stderr }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn read(&self) -> String {
        std::fs::read_to_string(self.path()).expect("read the log")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = self.read();
            let lines: Vec<&str> =
                text.lines().filter(|line| !line.contains("worker output,")).collect();
            let mut stderr = std::fs::File::from(self.stderr.try_clone().unwrap());
            let _ = stderr.write_all(lines.join("\n").as_bytes());
        }
    }
}

/// Runs floods with a log file and a control socket, and checks the log.
fn with_log(floods: usize, block: usize) {
    let log = Log::new();
    let control = log.folder.path().join("control");
    let daemon = Daemon::builder().logfile(log.path()).control(&control);
    let workers = u32::try_from(floods).unwrap() + 1;
    let begun = Instant::now();
    with_dispatcher(flooding(workers).daemon(daemon), async move |test| {
        let stats = check(&test, floods, block, Some(&control)).await;
        assert!(stats.dropped_output_lines > 0, "{stats:?}");
        assert!(stats.dropped_output_bytes > stats.dropped_output_lines, "{stats:?}");
    });
    let text = log.read();
    let seconds = begun.elapsed().as_secs() + 5;
    let max = LIMIT * seconds * u64::try_from(floods.min(4)).unwrap();
    assert!(text.len() as u64 <= max, "the log has {} of at most {max} bytes", text.len());
    let lines = text.lines().filter(|line| line.contains("worker output dropped"));
    let reports: Vec<&str> = lines.collect();
    assert!(!reports.is_empty());
    assert!(reports.len() as u64 <= floods as u64 * (seconds / 10 + 3), "{reports:?}");
    for key in ["worker: ", "slot: ", "stream: STDOUT", "bytes: ", "lines: "] {
        assert!(reports.iter().all(|line| line.contains(key)), "{key} in {reports:?}");
    }
}

fn one() {
    with_log(1, 4096);
}

fn four() {
    with_log(4, 4096);
}

fn short_lines() {
    with_log(1, 2);
}

/// The talkback recipient of a test. It counts the lines, and may pause after each line.
struct Recipient {
    lines: Rc<Cell<u64>>,
    dropped: Rc<RefCell<Vec<String>>>,
    pause: Option<Duration>,
}

impl Actor for Recipient {
    type Context = Context<Self>;
}

impl Handler<Talkback> for Recipient {
    type Result = ();

    fn handle(&mut self, talkback: Talkback, ctx: &mut Self::Context) {
        self.lines.set(self.lines.get() + 1);
        if talkback.line.starts_with("worker output dropped") {
            self.dropped.borrow_mut().push(talkback.line);
        }
        if let Some(pause) = self.pause {
            ctx.wait(tokio::time::sleep(pause).into_actor(self));
        }
    }
}

fn with_recipient(pause: Option<Duration>, check_lines: fn(u64, &Stats, &[String])) {
    let (lines, dropped) = (Rc::new(Cell::new(0)), Rc::<RefCell<Vec<String>>>::default());
    let recipient = Recipient { lines: Rc::clone(&lines), dropped: Rc::clone(&dropped), pause };
    let builder = flooding(3).talkback(move |_| recipient.start().recipient());
    with_dispatcher(builder, async move |test| {
        let stats = check(&test, 2, 4096, None).await;
        check_lines(lines.get(), &stats, &dropped.borrow());
    });
}

fn talkback() {
    with_recipient(None, |lines, stats, dropped| {
        assert!(lines > 1000, "{lines} lines");
        assert!(stats.dropped_output_lines > 1000, "{stats:?}");
        assert_eq!(stats.dropped_events, 0, "{stats:?}");
        assert!(!dropped.is_empty());
    });
}

fn slow_talkback() {
    with_recipient(Some(Duration::from_millis(20)), |lines, stats, _dropped| {
        assert!(lines < 5000, "{lines} lines");
        assert!(stats.dropped_output_lines > 1000, "{stats:?}");
        assert_eq!(stats.dropped_events, 0, "output displaces no events: {stats:?}");
    });
}

fn grandchild() {
    let log = Log::new();
    let builder = builder(1).daemon(Daemon::builder().logfile(log.path())).method(
        "leave",
        |_call, (program, file): (String, String)| -> Result<(), String> {
            let process = Command::new("sh").args(["-c", &program]).spawn();
            std::fs::write(&file, process.unwrap().id().to_string()).unwrap();
            std::process::exit(3)
        },
    );
    with_dispatcher(builder, async |test| {
        let ready = async || test.call::<u32>("pid", ()).await.is_ok();
        wait_until("the worker is ready", ready).await;
        let before = pipes();
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        for program in ["exec yes", "exec yes >&2", "exec sleep 600"] {
            let lost = test.call::<()>("leave", (program, &path)).await;
            assert!(matches!(lost, Err(Failure::WorkerLost { .. })), "{lost:?}");
            let process: i32 = std::fs::read_to_string(&path).unwrap().parse().unwrap();
            wait_until("the worker is replaced", ready).await;
            wait_until("the pipes are closed", async || pipes().len() <= before.len()).await;
            if program.contains("sleep") {
                kill(Pid::from_raw(process), Signal::SIGKILL).unwrap();
            } else {
                // The next write to the closed pipe ended it.
                let is_gone = async || kill(Pid::from_raw(process), None).is_err();
                wait_until("the process has ended", is_gone).await;
            }
        }
    });
}

fn term() {
    let log = Log::new();
    let grace = Duration::from_secs(2);
    let daemon = Daemon::builder().logfile(log.path()).grace(grace);
    let stopped_at = Rc::new(Cell::new(None));
    let note = Rc::clone(&stopped_at);
    with_dispatcher(flooding(4).daemon(daemon), async move |test| {
        for _ in 0..4 {
            test.0.dispatcher.do_send(NewRequest::to("flood").params(4096_usize));
        }
        let is_dropping = async || test.stats().await.dropped_output_lines > 1000;
        wait_until("all workers print", is_dropping).await;
        assert_eq!(test.stats().await.in_flight, 4);
        note.set(Some(Instant::now()));
        kill(getpid(), Signal::SIGTERM).unwrap();
    });
    let taken = stopped_at.get().expect("the daemon was stopped").elapsed();
    assert!(taken < grace + Duration::from_secs(8), "the stop took {taken:?}");
}

fn last_words() {
    let received: Rc<RefCell<Vec<String>>> = Rc::default();
    let results = Rc::clone(&received);
    let builder = builder(1)
        .talkback(move |_| super::fixture::Collector::into(results).recipient())
        .method("die", |_call, (): ()| -> Result<(), String> {
            for line in 0..2000 {
                println!("line {line}");
            }
            print!("no end");
            std::io::stdout().flush().unwrap();
            std::process::abort()
        });
    with_dispatcher(builder, async move |test| {
        assert!(test.call::<()>("die", ()).await.is_err());
        let has = |wanted: &str| received.borrow().iter().any(|line| line == wanted);
        wait_until("the last words arrive", async || has("STDOUT:0 die: no end")).await;
        assert!(has("STDOUT:0 die: line 0") && has("STDOUT:0 die: line 1999"));
        assert_eq!(test.stats().await.dropped_output_lines, 0);
    });
}
