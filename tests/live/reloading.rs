//! Tests `examples/prefork_reload`, which reloads its configuration on HUP while clients are
//! connected.

use std::fs::write;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::harness::{GuardedProgram, LineClient, Process, Signal, is_refused, until};

/// The running example, and its configuration in the test's directory.
struct Greeter {
    guard: GuardedProgram,
    dir: TempDir,
    port: u16,
}

impl Greeter {
    #[track_caller]
    fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("greeting.conf");
        write(&path, config).unwrap();
        let guard = GuardedProgram::example("prefork_reload", &["0", path.to_str().unwrap()]);
        let port = until("the port is printed", || {
            guard.stdout().strip_prefix("PORT=")?.split_once('\n')?.0.parse().ok()
        });
        Greeter { guard, dir, port }
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("greeting.conf")
    }

    /// Waits until there are exactly this many workers, none of them in `others_than`, and returns
    /// the workers.
    #[track_caller]
    fn workers(&self, count: usize, others_than: &[Process]) -> Vec<Process> {
        until(&format!("there are {count} workers"), || {
            let workers = self.guard.process().children();
            let new = workers.iter().all(|worker| !others_than.contains(worker));
            (new && workers.len() == count).then_some(workers)
        })
    }

    /// Writes a configuration and sends HUP.
    fn reload(&self, config: &str) {
        write(self.config(), config).unwrap();
        self.guard.process().signal(Signal::SIGHUP);
    }
}

#[test]
fn connected_clients_keep_the_old_configuration_and_later_clients_get_the_new_one() {
    let mut greeter = Greeter::start("workers = 3\ngreeting = Good morning\n");
    let first = greeter.workers(3, &[]);
    let mut ann = LineClient::connect(greeter.port);
    assert_eq!(ann.ask("Ann"), "Good morning, Ann");

    greeter.reload("workers = 5\ngreeting = Good evening\n");
    // A client that connects before the signal arrives gets the old greeting.
    let mut bob = until("the workers without a connection are replaced", || {
        let mut bob = LineClient::try_connect(greeter.port).ok()?;
        (bob.try_ask("Bob").ok()? == "Good evening, Bob").then_some(bob)
    });
    assert_eq!(bob.ask("Bob"), "Good evening, Bob");
    assert_eq!(ann.ask("Ann"), "Good morning, Ann", "the connection keeps the old configuration");
    drop(ann);
    greeter.workers(5, &first);

    greeter.reload("workers = 2\ngreeting = Good evening\n");
    drop(bob);
    greeter.workers(2, &first);
    assert_eq!(greeter.guard.stop(Signal::SIGTERM), "code 0");
    assert_eq!(greeter.guard.warnings(), "");
    assert!(is_refused(greeter.port));
}

#[test]
fn an_invalid_configuration_is_logged_and_the_old_configuration_stays_in_use() {
    let mut greeter = Greeter::start("workers = 2\ngreeting = Ahoy\n");
    let mut workers = greeter.workers(2, &[]);
    let table = [
        ("workers = many\n", "line 1: workers: invalid digit found in string"),
        ("workers = 0\n", "0"),
        ("greeting = Ahoy\nneither of both\n", "line 2: unknown setting: neither of both"),
    ];
    for (config, why) in table {
        greeter.reload(config);
        until("the reason is logged", || greeter.guard.stderr().contains(why).then_some(()));
        workers = greeter.workers(2, &workers);
        assert_eq!(LineClient::connect(greeter.port).ask("Ann"), "Ahoy, Ann");
    }
    std::fs::remove_file(greeter.config()).unwrap();
    greeter.guard.process().signal(Signal::SIGHUP);
    until("the missing file is reported", || {
        greeter.guard.stderr().contains("No such file").then_some(())
    });
    assert_eq!(LineClient::connect(greeter.port).ask("Ann"), "Ahoy, Ann");
    assert_eq!(greeter.guard.stop(Signal::SIGTERM), "code 0");
}

/// Stops the example while a connection is open.
fn stop_during_a_connection(stop: impl FnOnce(Process) -> bool) {
    let mut greeter = Greeter::start("workers = 2\ngreeting = Ahoy\n");
    let mut ann = LineClient::connect(greeter.port);
    assert_eq!(ann.ask("Ann"), "Ahoy, Ann");
    // Ben's answer shows that the other worker runs too. Without this check, the signal below could
    // kill a worker that has only just been forked.
    assert_eq!(LineClient::connect(greeter.port).ask("Ben"), "Ahoy, Ben");
    assert!(stop(greeter.guard.process()));
    until("the port refuses connections", || is_refused(greeter.port).then_some(()));
    assert_eq!(ann.ask("Ann"), "Ahoy, Ann");
    drop(ann);
    assert_eq!(greeter.guard.wait_until_gone(), "code 0");
    assert_eq!(greeter.guard.warnings(), "");
}

#[test]
fn an_open_connection_is_served_to_its_end_before_the_manager_stops() {
    stop_during_a_connection(|manager| manager.signal(Signal::SIGTERM));
}

#[test]
fn ctrl_c_in_the_terminal_breaks_no_connection() {
    stop_during_a_connection(|manager| manager.signal_group(Signal::SIGINT));
}

#[test]
fn the_prefork_reload_example_does_not_start_without_its_configuration() {
    let mut greeter = GuardedProgram::example("prefork_reload", &["0", "DIR/nowhere.conf"]);
    assert_eq!(greeter.wait_until_gone(), "code 1");
    assert!(greeter.stderr().contains("nowhere.conf: No such file"), "{}", greeter.stderr());
}
