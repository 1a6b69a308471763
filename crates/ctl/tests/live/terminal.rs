//! Tests of the live screen in a real terminal, which tmux provides.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use daemon_protocol::{ControlReply, ResponseBody};
use serde_json::json;
use tempfile::TempDir;

use crate::boards::TestBoard;
use crate::fake::{FakeDaemon, ServerConnection, done, report, status};
use crate::patience::until;

/// A terminal of 80 columns and 24 lines. Dropping it ends tmux.
struct Terminal {
    server: PathBuf,
    _directory: TempDir,
}

impl Terminal {
    /// Runs a shell command in a terminal. Prints a note and returns `None` if tmux is missing.
    fn running(line: &str) -> Option<Terminal> {
        if Command::new("tmux").arg("-V").output().is_err() {
            let skipped = b"skipped: tmux is not installed\n";
            let _ = std::io::Write::write_all(&mut std::io::stderr(), skipped);
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let terminal = Terminal { server: directory.path().join("tmux"), _directory: directory };
        // The output of these commands shows whether the terminal has been restored.
        let line = format!("{line}; echo ended=$?; stty -a | grep -o -- '-\\?icanon'; cat");
        let size = ["-x", "80", "-y", "24"];
        let output = terminal
            .tmux()
            .args(["-f", "/dev/null", "new-session", "-d"])
            .args(size)
            .args(["sh", "-c", &line])
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX")
            .output()
            .expect("tmux runs");
        assert!(output.status.success(), "{output:?}");
        Some(terminal)
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(&self.server);
        command
    }

    fn press(&self, keys: &[&str]) {
        let output = self.tmux().args(["send-keys", "-t", ":"]).args(keys).output();
        assert!(output.expect("tmux runs").status.success());
    }

    fn resize(&self, columns: &str, lines: &str) {
        let mut command = self.tmux();
        let output = command.args(["resize-window", "-x", columns, "-y", lines]).output();
        assert!(output.expect("tmux runs").status.success());
    }

    fn screen(&self) -> String {
        let output = self.tmux().args(["capture-pane", "-p"]).output().expect("tmux runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    fn wait_for(&self, words: &str) -> String {
        let mut last = String::new();
        let mut read = || {
            last = self.screen();
            last.contains(words).then(|| last.clone())
        };
        let deadline = std::time::Instant::now() + crate::run::PATIENCE;
        loop {
            if let Some(shown) = read() {
                return shown;
            }
            let late = std::time::Instant::now() >= deadline;
            assert!(!late, "{words:?} did not appear on the screen:\n{}", self.screen());
            std::thread::park_timeout(std::time::Duration::from_millis(30));
        }
    }

    /// Asserts that the program exits with this code and restores the terminal.
    fn assert_restored(&self, code: u8) {
        let shown = self.wait_for(&format!("ended={code}"));
        let after = until("stty has answered", || {
            let shown = self.screen();
            shown.contains("icanon").then_some(shown)
        });
        assert!(!after.contains("-icanon"), "{after}");
        assert!(!shown.contains("LABEL"), "the screen is still visible:\n{shown}");
        let flags = self.tmux().args(["display", "-p", "#{alternate_on}#{cursor_flag}"]).output();
        let flags = flags.expect("tmux runs").stdout;
        assert_eq!(String::from_utf8_lossy(&flags).trim(), "01");
    }

    /// Returns the pid of daemonctl.
    fn pid(&self) -> i32 {
        let output = self.tmux().args(["display", "-p", "#{pane_pid}"]).output();
        let shell = String::from_utf8_lossy(&output.expect("tmux runs").stdout).trim().to_owned();
        until("daemonctl runs", || {
            let children = format!("/proc/{shell}/task/{shell}/children");
            std::fs::read_to_string(children).ok()?.split_whitespace().next()?.parse().ok()
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}

/// The fake daemon answers.
const ANSWERS: u8 = 0;
/// The fake daemon hangs.
const HANGS: u8 = 1;

fn serve(client: &mut ServerConnection) {
    let Some(request) = client.read_request() else { return };
    let outcome = match request["command"].as_str() {
        Some("status") => status(report()),
        Some("trace") => {
            let text = "it waits in epoll_wait".to_owned();
            ResponseBody::Ok(ControlReply::Trace { text, evidence: json!(null) })
        }
        Some("kill") => done("killed child 1 (process 4712)"),
        other => panic!("unexpected command {other:?}"),
    };
    client.answer(outcome);
}

fn daemon() -> (Arc<AtomicU8>, FakeDaemon) {
    let behaviour = Arc::new(AtomicU8::new(ANSWERS));
    let shared = Arc::clone(&behaviour);
    let fake = FakeDaemon::serving(move |mut client| match shared.load(Ordering::Relaxed) {
        ANSWERS => serve(&mut client),
        _hung => client.read_and_wait_for_close(),
    });
    (behaviour, fake)
}

fn top(fake: &FakeDaemon, more: &str) -> String {
    let program = env!("CARGO_BIN_EXE_daemonctl");
    let socket = fake.socket();
    format!("{program} --socket {} {more} top --interval 0.1", socket.display())
}

#[test]
fn the_screen_shows_children_and_runs_commands_and_restores_the_terminal() {
    let (_behaviour, fake) = daemon();
    let Some(terminal) = Terminal::running(&top(&fake, "")) else { return };
    let shown = terminal.wait_for("GET /");
    assert!(shown.contains("web  pre-forking  running"), "{shown}");
    assert!(shown.contains("[wr  ]"), "{shown}");
    terminal.press(&["Down", "t"]);
    terminal.wait_for("Trace process 4712?");
    terminal.press(&["y"]);
    terminal.wait_for("it waits in epoll_wait");
    terminal.press(&["q"]);
    terminal.press(&["K"]);
    terminal.wait_for("Kill process 4712?");
    terminal.press(&["y"]);
    terminal.wait_for("killed child 1 (process 4712)");
    terminal.press(&["/"]);
    terminal.press(&["4711"]);
    terminal.wait_for("/4711");
    terminal.press(&["Enter"]);
    terminal.wait_for("1 of 2 children");
    terminal.resize("20", "5");
    terminal.wait_for("web");
    terminal.resize("120", "40");
    terminal.wait_for("LAST EXIT");
    terminal.press(&["Escape"]);
    terminal.wait_for("GET /");
    terminal.press(&["q"]);
    terminal.assert_restored(0);
}

#[test]
fn a_signal_ends_the_screen_and_the_terminal_is_restored() {
    use daemon_sys::Signal;
    let (_behaviour, fake) = daemon();
    let signals =
        [Signal::Term, Signal::Hup, Signal::Int, Signal::Usr1, Signal::Usr2, Signal::Alarm];
    for signal in signals {
        let Some(terminal) = Terminal::running(&top(&fake, "")) else { return };
        terminal.wait_for("GET /");
        let pid = daemon_sys::Pid::from_raw(terminal.pid()).expect("a process");
        let sent = daemon_sys::process::signal(pid, signal);
        assert_eq!(
            sent.expect("the signal is sent"),
            daemon_sys::process::SignalOutcome::Delivered
        );
        let number = daemon_sys::process::number_of(signal);
        terminal.assert_restored(128 + u8::try_from(number).expect("a small number"));
    }
}

#[test]
fn the_screen_shows_the_scoreboard_file_only_while_the_daemon_hangs() {
    let (behaviour, fake) = daemon();
    let test_board = TestBoard::new();
    let more = format!("--timeout 0.5 --board {}", test_board.path().display());
    let Some(terminal) = Terminal::running(&top(&fake, &more)) else { return };
    terminal.wait_for("4712");
    behaviour.store(HANGS, Ordering::Relaxed);
    terminal.wait_for("showing the scoreboard file");
    let shown = terminal.wait_for("GET /slow");
    assert!(shown.contains("did not answer"), "{shown}");
    test_board.busy.set_label(b"GET /slower");
    terminal.wait_for("GET /slower");
    behaviour.store(ANSWERS, Ordering::Relaxed);
    until("daemonctl has reconnected", || {
        let shown = terminal.screen();
        (shown.contains("4712") && !shown.contains("NO ANSWER")).then_some(())
    });
    terminal.press(&["C-c"]);
    terminal.assert_restored(0);
}

#[test]
fn a_suspended_screen_leaves_the_terminal_usable_and_comes_back() {
    use daemon_sys::Signal;
    let (_behaviour, fake) = daemon();
    let Some(terminal) = Terminal::running(&top(&fake, "")) else { return };
    terminal.wait_for("GET /");
    let pid = daemon_sys::Pid::from_raw(terminal.pid()).expect("a process");
    let send = |signal| {
        let _delivered = daemon_sys::process::signal(pid, signal).expect("the signal is sent");
    };
    let alternate = || {
        let flags = terminal.tmux().args(["display", "-p", "#{alternate_on}"]).output();
        String::from_utf8_lossy(&flags.expect("tmux runs").stdout).trim().to_owned()
    };
    send(Signal::Tstp);
    until("daemonctl is stopped", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.contains(") T ").then_some(())
    });
    let tty = terminal.tmux().args(["display", "-p", "#{pane_tty}"]).output();
    let tty = String::from_utf8_lossy(&tty.expect("tmux runs").stdout).trim().to_owned();
    let settings = Command::new("stty").args(["-a", "-F", &tty]).output().expect("stty runs");
    assert!(!String::from_utf8_lossy(&settings.stdout).contains("-icanon"), "{settings:?}");
    until("the screen is left", || (alternate() == "0").then_some(()));
    send(Signal::Cont);
    until("the screen is back", || (alternate() == "1").then_some(()));
    terminal.wait_for("GET /");
    terminal.press(&["q"]);
    terminal.assert_restored(0);
}

#[test]
fn whatever_happens_to_the_scoreboard_file_the_screen_goes_on_and_restores_the_terminal() {
    use std::fs::{self, File};
    let test_board = TestBoard::new();
    let path = test_board.path();
    let program = env!("CARGO_BIN_EXE_daemonctl");
    let line = format!("{program} --board {} top --interval 0.05", path.display());
    let Some(terminal) = Terminal::running(&line) else { return };
    let kept = fs::read(&path).expect("readable");
    let set_length = |length: usize| {
        let file = File::options().write(true).open(&path).expect("opened");
        file.set_len(length as u64).expect("truncated");
    };
    let replace = |bytes: &[u8]| {
        fs::remove_file(&path).expect("removed");
        fs::write(&path, bytes).expect("written");
    };
    let put_fifo = || {
        fs::remove_file(&path).expect("removed");
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
        assert!(made.success());
    };
    let steps: [(&str, &dyn Fn()); 6] = [
        ("not a multiple of 128", &|| set_length(0)),
        ("too small for a scoreboard", &|| set_length(kept.len() / 256 * 128)),
        ("not a scoreboard", &|| replace(&vec![b'x'; kept.len()])),
        ("no such file", &|| fs::remove_file(&path).expect("removed")),
        ("it is a FIFO", &|| {
            fs::write(&path, "").expect("written");
            put_fifo();
        }),
        ("more than", &|| {
            replace(b"");
            set_length(1 << 40);
        }),
    ];
    for (reason, damage) in steps {
        terminal.wait_for("GET /slow");
        damage();
        terminal.resize("200", "24");
        terminal.wait_for(reason);
        let _missing = fs::remove_file(&path);
        fs::write(&path, &kept).expect("written");
        until("the file is read again", || {
            let shown = terminal.screen();
            (shown.contains("GET /slow") && !shown.contains(reason)).then_some(())
        });
    }
    terminal.press(&["q"]);
    terminal.assert_restored(0);
}

#[test]
fn the_screen_shows_a_scoreboard_file_without_a_daemon() {
    let test_board = TestBoard::new();
    let program = env!("CARGO_BIN_EXE_daemonctl");
    let board = test_board.path();
    let line = format!("{program} --board {} top --interval 0.1", board.display());
    let Some(terminal) = Terminal::running(&line) else { return };
    terminal.wait_for("scoreboard file only");
    terminal.press(&["K"]);
    terminal.wait_for("accepts no commands");
    terminal.press(&["q"]);
    terminal.assert_restored(0);
}
