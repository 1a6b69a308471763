//! Tests that nothing that happens to the file of the scoreboard ends a process of the service:
//! truncation, removal, other contents, other permissions and a full disk, while children start,
//! serve and stop.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::{DaemonProcess, LineClient, Signal, SmallDisk, TestProgram, until};

fn set_length(board: &Path, length: u64) {
    // The file may have been removed.
    if let Ok(file) = File::options().write(true).open(board) {
        file.set_len(length).unwrap();
    }
}

/// What can happen to the file, and how to do it.
type Damage = (&'static str, fn(&Path));

/// Returns what can happen to the file, in this order.
fn damage() -> [Damage; 7] {
    [
        ("truncated to nothing", |board| set_length(board, 0)),
        ("truncated to a half", |board| {
            set_length(board, fs::metadata(board).unwrap().len() / 2);
        }),
        ("overwritten", |board| {
            let length = fs::metadata(board).unwrap().len();
            fs::write(board, vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
        }),
        ("extended", |board| set_length(board, 1 << 30)),
        ("not accessible", |board| {
            fs::set_permissions(board, Permissions::from_mode(0o000)).unwrap();
        }),
        ("removed", |board| fs::remove_file(board).unwrap()),
        ("a directory", |board| fs::create_dir(board).unwrap()),
    ]
}

/// Checks that a child answers.
#[track_caller]
fn check_service(daemon: &DaemonProcess, what: &str) {
    until(&format!("a child answers after the file is {what}"), || {
        let mut client = LineClient::try_connect(daemon.port()).ok()?;
        (client.try_ask("echo x").ok()? == "x").then_some(())
    });
}

#[test]
fn a_daemon_serves_on_whatever_happens_to_the_file_of_its_scoreboard() {
    for program in [TestProgram::pool(), TestProgram::postfork()] {
        let options = "start=2 min=1 max=4 board_file=DIR/board babysit=50";
        let mut daemon = program.logged().options(options).start();
        let board = daemon.dir().join("board");
        let (parent, fork_server) = (daemon.parent(), daemon.fork_server());
        for (what, damage) in damage() {
            damage(&board);
            check_service(&daemon, what);
            daemon.ask("status");
            // A new child takes a slot of the damaged scoreboard.
            for child in daemon.children() {
                child.signal(Signal::SIGKILL);
            }
            check_service(&daemon, what);
            daemon.parent().signal(Signal::SIGHUP);
            check_service(&daemon, what);
        }
        assert_eq!((daemon.parent(), daemon.fork_server()), (parent, fork_server));
        daemon.stop();
        let log = daemon.log();
        assert!(!log.contains("signal BUS"), "{log}");
    }
}

#[test]
fn a_manager_of_workers_serves_on_whatever_happens_to_the_file_of_its_scoreboard() {
    let mut daemon = TestProgram::workers().options("board_file=DIR/board").launch();
    let board = daemon.dir().join("board");
    let manager = daemon.parent();
    for (what, damage) in damage() {
        damage(&board);
        check_service(&daemon, what);
        for worker in manager.children() {
            worker.signal(Signal::SIGKILL);
        }
        check_service(&daemon, what);
    }
    assert_eq!(daemon.parent(), manager);
    daemon.stop();
    let log = daemon.log();
    assert!(!log.contains("signal BUS"), "{log}");
}

/// Sets a flag when the scope ends, also when a test has failed.
struct SetAtTheEnd<'a>(&'a AtomicBool);

impl Drop for SetAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The file is truncated at every moment of the forks of children, in which all signals are
/// blocked and no handler of the child is installed yet.
#[test]
fn children_start_while_the_file_is_truncated_without_a_pause() {
    let options = "start=3 min=3 max=6 board_file=DIR/board grace=2000";
    let mut daemon = TestProgram::pool().logged().options(options).start();
    let board = daemon.dir().join("board");
    let (parent, fork_server) = (daemon.parent(), daemon.fork_server());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                set_length(&board, 0);
            }
        });
        let _end = SetAtTheEnd(&is_over);
        for round in 0..20 {
            let mut client = until("a child answers", || {
                let mut client = LineClient::try_connect(daemon.port()).ok()?;
                client.try_ask("label x").ok()?;
                Some(client)
            });
            let child = client.pid();
            child.signal(Signal::SIGKILL);
            until(&format!("child {round} is reaped"), || (!child.is_alive()).then_some(()));
        }
    });
    assert_eq!((daemon.parent(), daemon.fork_server()), (parent, fork_server));
    check_service(&daemon, "truncated all the time");
    daemon.stop();
    let log = daemon.log();
    assert!(!log.contains("signal BUS"), "{log}");
}

#[test]
fn a_disk_that_is_full_when_the_file_is_truncated_does_not_end_the_service() {
    let Some(disk) = SmallDisk::mount(256) else { return };
    let board = disk.root().join("board");
    let options = format!("start=2 min=2 max=4 board_file={}", board.display());
    let mut daemon = TestProgram::pool().logged().options(&options).start();
    let (parent, fork_server) = (daemon.parent(), daemon.fork_server());
    let mut client = daemon.client();
    for _again in 0..3 {
        set_length(&board, 0);
        disk.fill();
        daemon.ask("status");
        assert_eq!(client.ask("label on a full disk"), "ok");
        for child in daemon.children().into_iter().filter(|child| *child != client.pid()) {
            child.signal(Signal::SIGKILL);
        }
        check_service(&daemon, "truncated on a full disk");
    }
    // Parent and children still share the scoreboard.
    assert_eq!(client.ask("label still shared"), "ok");
    until("the parent reads the label", || {
        daemon.ask("json").contains("still shared").then_some(())
    });
    assert_eq!((daemon.parent(), daemon.fork_server()), (parent, fork_server));
    drop(client);
    daemon.stop();
    assert!(!daemon.log().contains("signal BUS"), "{}", daemon.log());
}

#[test]
fn a_disk_that_is_too_small_for_the_scoreboard_is_refused_at_the_start() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let board = disk.root().join("board");
    let failed =
        TestProgram::pool().options(&format!("board_file={}", board.display())).fail_to_start();
    let sentence = format!("cannot write shared file {}: no space left", board.display());
    assert!(failed.stderr.contains(&sentence), "{}", failed.stderr);
    assert_eq!(fs::read_dir(disk.root()).unwrap().count(), 0, "no temporary file is left");
}
