//! Tests logs that accept nothing: standard error is a pipe, a socket or a terminal that nobody
//! reads, the disk is full, or a FIFO is at the log's path. No process of a daemon waits for them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{FlowArg, tcflow};

use crate::harness::{DaemonProcess, LineClient, Signal, SmallDisk, TestProgram, until};

/// An output that accepts nothing more, and its reader.
struct BlockedOutput {
    output: OwnedFd,
    reader: File,
    /// The number of bytes that were written before the daemon started.
    filled: usize,
    /// The terminal that was stopped.
    stopped: Option<File>,
}

impl BlockedOutput {
    /// Fills the output up, without changing its flags.
    fn fill(output: impl Into<OwnedFd>, reader: impl Into<OwnedFd>) -> BlockedOutput {
        let (output, reader) = (File::from(output.into()), File::from(reader.into()));
        let mut filled = 0;
        while is_writable(&output) {
            filled += (&output).write(&[b'-'; 4096]).unwrap();
        }
        BlockedOutput { output: output.into(), reader, filled, stopped: None }
    }

    fn pipe() -> BlockedOutput {
        let (reader, writer) = io::pipe().unwrap();
        BlockedOutput::fill(writer, reader)
    }

    fn socket() -> BlockedOutput {
        let (ours, theirs) = UnixStream::pair().unwrap();
        BlockedOutput::fill(theirs, ours)
    }

    /// A terminal in which Ctrl-S was pressed.
    fn terminal() -> BlockedOutput {
        let screen = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let name = ptsname_r(&screen).unwrap();
        let mut options = File::options();
        options.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits());
        let terminal = options.open(name).unwrap();
        tcflow(&terminal, FlowArg::TCOOFF).unwrap();
        let (reader, output) = (OwnedFd::from(screen).into(), terminal.try_clone().unwrap());
        BlockedOutput { output: output.into(), reader, filled: 0, stopped: Some(terminal) }
    }
}

fn is_writable(output: &File) -> bool {
    let mut polled = [PollFd::new(output.as_fd(), PollFlags::POLLOUT)];
    poll(&mut polled, PollTimeout::ZERO).unwrap() > 0
}

/// Makes a child log more than the buffer of its process holds.
fn flood(client: &mut LineClient) {
    let text = "x".repeat(4000);
    for number in 0..100 {
        assert_eq!(client.ask(&format!("log {number} {text}")), "ok");
    }
}

/// Checks that a daemon whose log is blocked replaces a child, answers, reopens its logs, peeks,
/// and serves while its children log.
fn works(daemon: &DaemonProcess) {
    let mut client = daemon.client();
    flood(&mut client);
    assert_eq!(client.ask("done"), "ok");
    for signal in [Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGUSR2] {
        assert!(daemon.parent().signal(signal));
    }
    let before = daemon.wait_for_children(2);
    assert!(before[0].signal(Signal::SIGKILL));
    until("the killed child is replaced", || {
        let now = daemon.children();
        (now.len() == 2 && !now.contains(&before[0])).then_some(())
    });
    assert_eq!(daemon.report()["phase"], "running");
    assert_eq!(daemon.client().ask("echo on"), "on");
}

const OPTIONS: &str = "start=2 min=2 max_spare=2 max=2 grace=5000";

#[test]
fn a_daemon_whose_standard_error_nobody_reads_works_and_stops() {
    for blocked in [BlockedOutput::pipe(), BlockedOutput::socket(), BlockedOutput::terminal()] {
        let BlockedOutput { output, reader, .. } = blocked;
        let mut daemon = TestProgram::pool().options(OPTIONS).errors_to(output).start();
        works(&daemon);
        daemon.stop();
        drop(reader);
    }
}

#[test]
fn a_dispatcher_whose_standard_error_nobody_reads_works_and_stops() {
    let BlockedOutput { output, reader, .. } = BlockedOutput::pipe();
    let program = TestProgram::dispatcher().options("start=2 max=2 grace=5000");
    let mut daemon = program.errors_to(output).start();
    let mut client = daemon.client();
    let before = daemon.wait_for_children(2);
    for worker in &before {
        assert!(worker.signal(Signal::SIGKILL));
    }
    until("the killed workers are replaced", || {
        let now = daemon.children();
        (now.len() == 2 && !now.iter().any(|worker| before.contains(worker))).then_some(())
    });
    until("a task is run", || (client.ask("echo on") == "on").then_some(()));
    daemon.stop();
    drop(reader);
}

#[test]
fn a_manager_of_workers_whose_standard_error_nobody_reads_works_and_stops() {
    let BlockedOutput { output, mut reader, filled, .. } = BlockedOutput::pipe();
    let program = TestProgram::workers().options("start=2 grace=5000");
    let mut daemon = program.errors_to(output).start();
    let workers = || daemon.wait_for_workers(2);
    for _ in 0..3 {
        let before = workers();
        assert!(before[0].signal(Signal::SIGKILL));
        until("the killed worker is replaced", || (!workers().contains(&before[0])).then_some(()));
    }
    assert_eq!(daemon.client().ask("echo on"), "on");
    // The manager logs nothing more, so it must try again by itself.
    let log = read_until(&mut reader, filled, "worker exited");
    assert!(log.iter().all(|line| is_record(line)), "{log:?}");
    daemon.stop();
}

/// Reads what the daemon logs, until a line contains `last`. Returns the whole lines.
fn read_until(reader: &mut impl Read, mut skip: usize, last: &str) -> Vec<String> {
    let (mut log, mut buffer) = (Vec::new(), [0; 64 * 1024]);
    loop {
        let length = reader.read(&mut buffer).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&log));
        let skipped = skip.min(length);
        skip -= skipped;
        log.extend_from_slice(&buffer[skipped..length]);
        let text = String::from_utf8_lossy(&log);
        let whole = text.rsplit_once('\n').map_or("", |(whole, _rest)| whole);
        if whole.lines().any(|line| line.contains(last)) {
            // A terminal ends lines with a carriage return, too.
            return whole.lines().map(|line| line.trim_end().to_owned()).collect();
        }
    }
}

/// Returns whether this is a record, whole from its time on.
fn is_record(line: &str) -> bool {
    let words: Vec<&str> = line.splitn(5, ' ').collect();
    let is_level = |word: &&str| matches!(*word, "INFO" | "WARN" | "ERRO" | "CRIT" | "DEBG");
    words.get(2).is_some_and(|time| time.len() == 12) && words.get(3).is_some_and(is_level)
}

#[test]
fn records_that_waited_are_written_when_the_reader_reads_and_dropped_ones_are_counted() {
    // A pipe accepts a record as a whole or not at all. The others may accept a part, and then the
    // record of another process.
    for (blocked, is_atomic) in [
        (BlockedOutput::pipe(), true),
        (BlockedOutput::socket(), false),
        (BlockedOutput::terminal(), false),
    ] {
        let BlockedOutput { output, mut reader, filled, stopped } = blocked;
        let mut daemon = TestProgram::pool().options(OPTIONS).errors_to(output).start();
        let mut client = daemon.client();
        let pid = client.pid();
        flood(&mut client);
        if let Some(terminal) = stopped {
            tcflow(&terminal, FlowArg::TCOON).unwrap();
        }
        // Nothing more is logged, so an event must write what waits.
        let log = read_until(
            &mut reader,
            filled,
            &format!("log records dropped, role: child, pid: {}", pid.0),
        );
        assert!(log.iter().any(|line| line.contains("daemon ready")), "{log:?}");
        let report = log.iter().position(|line| line.contains("log records dropped")).unwrap();
        let count: usize = log[report].rsplit_once("count: ").unwrap().1.parse().unwrap();
        let of_child = |line: &&String| line.contains(" INFO ") && line.contains(" xxxx");
        assert_eq!(log.iter().filter(of_child).count() + count, 100);
        for line in log.iter().filter(|_line| is_atomic) {
            assert!(is_record(line) || line.starts_with('\t'), "{line:?}");
        }
        assert_eq!(client.ask("log now"), "ok");
        read_until(&mut reader, 0, " INFO now");
        assert_eq!(client.ask("done"), "ok");
        std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        daemon.stop();
    }
}

#[test]
fn a_daemon_whose_log_reader_is_gone_works_and_stops() {
    for (output, reader) in [
        io::pipe().map(|(reader, writer)| (OwnedFd::from(writer), OwnedFd::from(reader))).unwrap(),
        UnixStream::pair().map(|(ours, theirs)| (theirs.into(), ours.into())).unwrap(),
    ] {
        let mut daemon = TestProgram::pool().options(OPTIONS).errors_to(output).start();
        drop(reader);
        works(&daemon);
        daemon.stop();
    }
}

#[test]
fn a_full_disk_costs_only_the_records_meanwhile_and_no_record_is_glued_to_a_torn_one() {
    let Some(disk) = SmallDisk::mount(256) else { return };
    let log = disk.root().join("log");
    let options = format!("{OPTIONS} logfile={}", log.display());
    let mut daemon = TestProgram::pool().options(&options).start();
    let mut clients = [daemon.client(), daemon.client()];
    assert_eq!(clients[0].ask("log before"), "ok");
    disk.fill();
    let text = "x".repeat(4000);
    for client in &mut clients {
        for number in 0..10 {
            assert_eq!(client.ask(&format!("log {number} {text}")), "ok");
        }
    }
    fs::remove_file(disk.filler()).unwrap();
    for client in &mut clients {
        assert_eq!(client.ask("log after"), "ok");
        assert_eq!(client.ask("done"), "ok");
    }
    let dropped = daemon.report()["log_dropped"].as_u64().unwrap();
    daemon.stop();
    let log = fs::read_to_string(log).unwrap();
    let count_of = |line: &str| {
        line.rsplit_once("log records dropped, ")?.1.rsplit_once("count: ")?.1.parse::<u64>().ok()
    };
    assert_eq!(log.lines().filter_map(count_of).sum::<u64>(), dropped, "{log}");
    assert!(dropped >= 16, "{log}");
    let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!((count(" INFO before"), count(" INFO after")), (1, 2), "{log}");
    assert_eq!(count("log records dropped, role: child"), 2, "{log}");
    assert_eq!(count("daemon stopped"), 1, "{log}");
    for line in log.lines() {
        let torn = line.ends_with('x') || line.len() < 40;
        assert!(torn || is_record(line), "{line:?} in {log}");
        assert!(line.matches(" INFO ").count() + line.matches(" WARN ").count() <= 1, "{line:?}");
    }
}

#[test]
fn a_log_of_the_maximum_file_size_costs_only_the_records_until_it_is_truncated() {
    let shell = "trap '' XFSZ; ulimit -f 64";
    let program = TestProgram::pool().logged().options(OPTIONS).after_shell_command(shell);
    let mut daemon = program.start();
    let mut client = daemon.client();
    flood(&mut client);
    let report = until("records are dropped", || {
        let report = daemon.report();
        (report["log_dropped"].as_u64() > Some(30)).then_some(report)
    });
    File::options().write(true).open(daemon.logfile()).unwrap().set_len(0).unwrap();
    assert_eq!(client.ask("log after"), "ok");
    assert_eq!(client.ask("done"), "ok");
    let line = daemon.wait_for_log("log records dropped");
    assert!(line.ends_with(&format!("count: {}", report["log_dropped"])), "{line} {report}");
    daemon.wait_for_log(" INFO after");
    daemon.stop();
}

#[test]
fn a_fifo_at_the_path_of_the_log_is_refused_and_nothing_waits_for_its_reader() {
    let mut daemon = TestProgram::pool().logged().options(OPTIONS).start();
    let (log, old) = (daemon.logfile(), daemon.dir().join("old.log"));
    fs::rename(&log, &old).unwrap();
    nix::unistd::mkfifo(&log, nix::sys::stat::Mode::S_IRWXU).unwrap();
    works(&daemon);
    let text = "that no process reads";
    until("the parent and the fork server have logged why", || {
        let log = fs::read_to_string(&old).unwrap();
        let mut why = log.lines().filter(|line| line.contains("ERRO") && line.contains(text));
        let of = |line: &str, who: &str| line.contains(&format!("{who}cannot reopen the log file"));
        let lines: Vec<&str> = why.by_ref().collect();
        (lines.iter().any(|line| of(line, "ERRO "))
            && lines.iter().any(|line| of(line, "fork server ")))
        .then_some(())
    });
    fs::remove_file(&log).unwrap();
    daemon.stop();
}
