//! The live screen in a real terminal, that of tmux.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use actix_daemon::control::protocol::{ControlReply, ResponseBody};
use serde_json::json;
use tempfile::TempDir;

use crate::boards::Kept;
use crate::fake::{Client, Fake, done, report, status};
use crate::patience::until;

/// A terminal of 80 columns and 24 lines. It ends with the test.
struct Terminal {
    server: PathBuf,
    _directory: TempDir,
}

impl Terminal {
    /// Runs a shell's line in it; `None` where there is no tmux, and says so.
    fn running(line: &str) -> Option<Terminal> {
        if Command::new("tmux").arg("-V").output().is_err() {
            let skipped = b"skipped: tmux is not on this machine\n";
            let _ = std::io::Write::write_all(&mut std::io::stderr(), skipped);
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let terminal = Terminal { server: directory.path().join("tmux"), _directory: directory };
        // What comes after the screen shows that the terminal is as it was.
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

    fn shown(&self) -> String {
        let output = self.tmux().args(["capture-pane", "-p"]).output().expect("tmux runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    fn shows(&self, words: &str) -> String {
        let mut last = String::new();
        let mut look = || {
            last = self.shown();
            last.contains(words).then(|| last.clone())
        };
        let deadline = std::time::Instant::now() + crate::run::PATIENCE;
        loop {
            if let Some(shown) = look() {
                return shown;
            }
            let late = std::time::Instant::now() >= deadline;
            assert!(!late, "{words:?} is not shown:\n{}", self.shown());
            std::thread::park_timeout(std::time::Duration::from_millis(30));
        }
    }

    /// The terminal is as it was before.
    fn is_restored_after(&self, code: u8) {
        let shown = self.shows(&format!("ended={code}"));
        let after = until("stty has answered", || {
            let shown = self.shown();
            shown.contains("icanon").then_some(shown)
        });
        assert!(!after.contains("-icanon"), "{after}");
        assert!(!shown.contains("LABEL"), "the screen is gone:\n{shown}");
        let flags = self.tmux().args(["display", "-p", "#{alternate_on}#{cursor_flag}"]).output();
        let flags = flags.expect("tmux runs").stdout;
        assert_eq!(String::from_utf8_lossy(&flags).trim(), "01");
    }

    /// The process of the screen.
    fn process(&self) -> i32 {
        let output = self.tmux().args(["display", "-p", "#{pane_pid}"]).output();
        let shell = String::from_utf8_lossy(&output.expect("tmux runs").stdout).trim().to_owned();
        until("the screen runs", || {
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

/// How the daemon behaves.
const WELL: u8 = 0;
const HUNG: u8 = 1;

fn serve(client: &mut Client) {
    let Some(asked) = client.asked() else { return };
    let outcome = match asked["command"].as_str() {
        Some("status") => status(report()),
        Some("trace") => {
            let text = "it waits in epoll_wait".to_owned();
            ResponseBody::Ok(ControlReply::Trace { text, evidence: json!(null) })
        }
        Some("kill") => done("child 1 (process 4712) is killed"),
        other => panic!("{other:?} was not expected"),
    };
    client.answer(outcome);
}

fn daemon() -> (Arc<AtomicU8>, Fake) {
    let mood = Arc::new(AtomicU8::new(WELL));
    let shared = Arc::clone(&mood);
    let fake = Fake::serving(move |mut client| match shared.load(Ordering::Relaxed) {
        WELL => serve(&mut client),
        _hung => client.be_silent_after_asked(),
    });
    (mood, fake)
}

fn top(fake: &Fake, more: &str) -> String {
    let program = env!("CARGO_BIN_EXE_daemonctl");
    let socket = fake.socket();
    format!("{program} --socket {} {more} top --interval 0.1", socket.display())
}

#[test]
fn the_screen_shows_the_daemon_does_as_told_and_leaves_the_terminal_as_it_was() {
    let (_mood, fake) = daemon();
    let Some(terminal) = Terminal::running(&top(&fake, "")) else { return };
    let shown = terminal.shows("GET /");
    assert!(shown.contains("web  pre-forking  running"), "{shown}");
    assert!(shown.contains("[wr  ]"), "{shown}");
    terminal.press(&["Down", "t"]);
    terminal.shows("Trace process 4712?");
    terminal.press(&["y"]);
    terminal.shows("it waits in epoll_wait");
    terminal.press(&["q"]);
    terminal.press(&["K"]);
    terminal.shows("Kill process 4712?");
    terminal.press(&["y"]);
    terminal.shows("child 1 (process 4712) is killed");
    terminal.press(&["/"]);
    terminal.press(&["4711"]);
    terminal.shows("/4711");
    terminal.press(&["Enter"]);
    terminal.shows("shows 1 of 2");
    terminal.resize("20", "5");
    terminal.shows("web");
    terminal.resize("120", "40");
    terminal.shows("LAST CAUSE");
    terminal.press(&["Escape"]);
    terminal.shows("GET /");
    terminal.press(&["q"]);
    terminal.is_restored_after(0);
}

#[test]
fn a_signal_ends_the_screen_and_the_terminal_is_as_it_was() {
    let (_mood, fake) = daemon();
    let Some(terminal) = Terminal::running(&top(&fake, "")) else { return };
    terminal.shows("GET /");
    let pid = daemon_sys::Pid::from_raw(terminal.process()).expect("a process");
    let sent = daemon_sys::process::signal(pid, daemon_sys::Signal::Term);
    assert_eq!(sent.expect("it is ours"), daemon_sys::process::SignalOutcome::Delivered);
    terminal.is_restored_after(128 + 15);
}

#[test]
fn a_daemon_that_hangs_is_shown_by_its_scoreboard_and_found_again_by_itself() {
    let (mood, fake) = daemon();
    let kept = Kept::new();
    let more = format!("--timeout 0.5 --board {}", kept.path().display());
    let Some(terminal) = Terminal::running(&top(&fake, &more)) else { return };
    terminal.shows("4712");
    mood.store(HUNG, Ordering::Relaxed);
    terminal.shows("this is what its scoreboard shows");
    let shown = terminal.shows("GET /slow");
    assert!(shown.contains("has not answered"), "{shown}");
    kept.busy.set_label(b"GET /slower");
    terminal.shows("GET /slower");
    mood.store(WELL, Ordering::Relaxed);
    until("the daemon is found again", || {
        let shown = terminal.shown();
        (shown.contains("4712") && !shown.contains("NO ANSWER")).then_some(())
    });
    terminal.press(&["C-c"]);
    terminal.is_restored_after(0);
}

#[test]
fn a_scoreboard_alone_has_a_screen_too() {
    let kept = Kept::new();
    let program = env!("CARGO_BIN_EXE_daemonctl");
    let board = kept.path();
    let line = format!("{program} --board {} top --interval 0.1", board.display());
    let Some(terminal) = Terminal::running(&line) else { return };
    terminal.shows("scoreboard alone");
    terminal.press(&["K"]);
    terminal.shows("takes no commands");
    terminal.press(&["q"]);
    terminal.is_restored_after(0);
}
