//! Tests listeners that belong to other programs, too: a daemon that stops leaves their queue
//! alone.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use daemon_sys::link::{LinkEnd, OneMessage};
use tempfile::TempDir;

use crate::harness::{LineClient, Process, Signal, is_refused, until};

/// A daemon that has a listener which the test has, too: it was started with it, as its standard
/// input or as descriptor 3, or it has given it to the test.
struct SharingDaemon {
    process: Child,
    log: PathBuf,
    _dir: TempDir,
    listener: TcpListener,
    port: u16,
}

impl SharingDaemon {
    /// Starts the test program `serve` by a shell command that executes `"$0" "$@"`, and waits
    /// until it serves.
    fn start(command: &str, options: &str) -> SharingDaemon {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let process = spawn(copy(&listener), command, options, &log);
        let daemon = SharingDaemon { process, log, _dir: dir, listener, port };
        assert_eq!(daemon.client().ask("up"), "up");
        daemon
    }

    /// Starts a daemon that binds its listener itself, declares it shared and gives it to the test.
    fn start_and_take_listener(options: &str) -> SharingDaemon {
        let dir = tempfile::tempdir().unwrap();
        let (log, path) = (dir.path().join("log"), dir.path().join("receiver"));
        let receiver = UnixListener::bind(&path).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let options = format!("{options} ownership=shared give_away={}", path.display());
        let process = spawn(Stdio::null(), BOUND, &options, &log);
        let (sender, _) = until("the daemon connects", || receiver.accept().ok());
        let link = LinkEnd::from(OwnedFd::from(sender));
        let listener = until("the listener is given", || match link.receive_one() {
            Ok(OneMessage::Descriptor(listener)) => Some(TcpListener::from(listener)),
            _not_yet => None,
        });
        let port = listener.local_addr().unwrap().port();
        let daemon = SharingDaemon { process, log, _dir: dir, listener, port };
        assert_eq!(daemon.client().ask("up"), "up");
        daemon
    }

    /// Starts another daemon with the same listener, after the first has stopped.
    fn start_again(&mut self, options: &str) {
        self.log.set_extension("second");
        self.process = spawn(copy(&self.listener), PLAIN, options, &self.log);
    }

    fn client(&self) -> LineClient {
        LineClient::connect(self.port)
    }

    /// Stops the daemon, and waits until it has begun to stop.
    fn request_stop(&self) {
        assert!(Process(self.process.id()).signal(Signal::SIGTERM));
        until("the stop begins", || {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            log.contains("daemon stopping").then_some(())
        });
    }

    #[track_caller]
    fn wait_until_gone(&mut self) {
        let status = until("the daemon has stopped", || self.process.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }

    /// Checks that the queue has its length: clients connect although nobody accepts, and the test,
    /// which has the listener too, can then accept them.
    #[track_caller]
    fn assert_queue_is_intact(&self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let clients: Vec<_> = (0..60)
            .map(|_client| TcpStream::connect_timeout(&address, Duration::from_secs(60)).unwrap())
            .collect();
        for client in clients {
            loop {
                let (_, peer) = self.listener.accept().unwrap();
                if peer == client.local_addr().unwrap() {
                    break;
                }
            }
        }
    }
}

impl Drop for SharingDaemon {
    #[expect(clippy::print_stderr, reason = "a failed test prints it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log: {}", fs::read_to_string(&self.log).unwrap_or_default());
        }
        // When the parent is killed, the fork server ends the children.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn copy(listener: &TcpListener) -> Stdio {
    Stdio::from(OwnedFd::from(listener.try_clone().unwrap()))
}

fn spawn(stdin: Stdio, command: &str, options: &str, log: &Path) -> Child {
    Command::new("sh")
        .args(["-c", command, env!("CARGO_BIN_EXE_serve")])
        .arg(format!("logfile={}", log.display()))
        .args(options.split_whitespace())
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

const PLAIN: &str = "exec \"$0\" \"$@\" inherit=stdin";
/// Descriptor 3 is the only one of the listener, and only the variables show that it was inherited:
/// the program sets it close-on-exec and removes them before the launch.
const SOCKET_UNIT: &str =
    "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" inherit=fds";
const STARTER: &str =
    "exec 3<&0 </dev/null; SERVER_STARTER_PORT=127.0.0.1:7=3 exec \"$0\" \"$@\" inherit=fds";
const BOUND: &str = "exec \"$0\" \"$@\"";
const POOL: &str = "start=2 min=0 max=2";
const POSTFORK: &str = "postfork max=2";

/// Stops a daemon with a busy child, and checks that the queue keeps its length during and after
/// the stop.
#[track_caller]
fn check_queue_during_stop(mut daemon: SharingDaemon) {
    let mut busy = daemon.client();
    assert_eq!(busy.ask("busy"), "busy");
    daemon.request_stop();
    // The stop has begun when an idle child has left: a new client is not served.
    until("the daemon does not accept any more", || {
        let mut late = daemon.client();
        late.send("late\n").unwrap();
        let served = late.is_answered_within(Duration::from_millis(100));
        (!served).then_some(())
    });
    daemon.assert_queue_is_intact();
    assert_eq!(busy.ask("still"), "still");
    drop(busy);
    daemon.wait_until_gone();
    daemon.assert_queue_is_intact();
}

#[test]
fn the_queue_of_an_inherited_listener_keeps_its_length_when_a_daemon_stops() {
    for command in [PLAIN, SOCKET_UNIT, STARTER] {
        for options in [POOL, POSTFORK] {
            check_queue_during_stop(SharingDaemon::start(command, options));
        }
    }
}

#[test]
fn the_queue_of_a_listener_that_the_program_gives_away_keeps_its_length_when_a_daemon_stops() {
    for options in [POOL, POSTFORK] {
        check_queue_during_stop(SharingDaemon::start_and_take_listener(options));
    }
}

#[test]
fn clients_that_wait_at_a_shared_listener_are_served_by_the_next_daemon() {
    for options in [POOL, POSTFORK] {
        let mut first = SharingDaemon::start(PLAIN, options);
        let mut busy = [first.client(), first.client()];
        for client in &mut busy {
            assert_eq!(client.ask("busy"), "busy");
        }
        first.request_stop();
        let mut waiting: Vec<_> = (0..5).map(|_client| first.client()).collect();
        for client in &mut waiting {
            client.send("hello\n").unwrap();
        }
        drop(busy);
        first.wait_until_gone();
        first.start_again(options);
        for mut client in waiting {
            assert_eq!(client.read().unwrap(), "hello");
        }
        first.request_stop();
        first.wait_until_gone();
    }
}

#[test]
fn an_inherited_listener_that_is_declared_to_be_owned_alone_is_shut_down() {
    for options in [POOL, POSTFORK] {
        let mut daemon = SharingDaemon::start(PLAIN, &format!("{options} ownership=alone"));
        let mut busy = daemon.client();
        assert_eq!(busy.ask("busy"), "busy");
        daemon.request_stop();
        until("clients are refused", || is_refused(daemon.port).then_some(()));
        assert_eq!(busy.ask("still"), "still");
        drop(busy);
        daemon.wait_until_gone();
        let error = daemon.listener.accept().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
