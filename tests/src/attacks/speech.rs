//! Attacks with what a child prints, logs and reports.

use std::fs::File;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use actix_daemon::{ChildHandle, UpdateStatus};

use super::descriptors::inheritable;
use super::{Attack, Attacker, attacks, missing};

pub(super) const SPEECH: &[Attack] = attacks![Speech:
    output_flooded, error_output_flooded, output_of_one_line, output_of_empty_lines,
    output_of_escapes, output_flooded_by_grandchild, log_flooded, long_labels, labels_changing,
    statuses_changing, heartbeats, extended_for_ever,
];

/// The bytes that an attack prints at most.
const OUTPUT: usize = 100 << 20;
/// How much longer an attack prints than it repeats other things.
const PRINTS_LONGER: u32 = 3;

fn print(attacker: &Attacker, target: &str, block: &[u8]) -> io::Result<()> {
    let mut output = File::options().append(true).open(target)?;
    let end = Instant::now() + attacker.window * PRINTS_LONGER;
    let mut written = 0;
    while written < OUTPUT && Instant::now() < end {
        written += output.write(block)?;
    }
    Ok(())
}

fn lines(length: usize) -> Vec<u8> {
    let line = [vec![b'x'; length.saturating_sub(1)], vec![b'\n']].concat();
    line.repeat((4096 / length).max(1))
}

/// Prints 100 MiB in lines of 64 bytes.
fn output_flooded(attacker: &mut Attacker) -> io::Result<()> {
    print(attacker, "/proc/self/fd/1", &lines(64))
}

/// Prints 100 MiB to standard error.
fn error_output_flooded(attacker: &mut Attacker) -> io::Result<()> {
    print(attacker, "/proc/self/fd/2", &lines(4096))
}

/// Prints 100 MiB without an end of a line.
fn output_of_one_line(attacker: &mut Attacker) -> io::Result<()> {
    print(attacker, "/proc/self/fd/1", &vec![b'x'; 64 << 10])
}

/// Prints empty lines.
fn output_of_empty_lines(attacker: &mut Attacker) -> io::Result<()> {
    print(attacker, "/proc/self/fd/1", &lines(1))
}

/// Prints terminal escapes, zeros and invalid UTF-8.
fn output_of_escapes(_attacker: &mut Attacker) -> io::Result<()> {
    File::options()
        .append(true)
        .open("/proc/self/fd/1")?
        .write_all(&b"\x1b[2J\x1b]0;owned\x07\xff\xfe\0\r\n".repeat(100))
}

/// Starts a grandchild that prints for three seconds, and ends.
fn output_flooded_by_grandchild(_attacker: &mut Attacker) -> io::Result<()> {
    let _kept = inheritable()?;
    Command::new("timeout").args(["3", "yes"]).stdin(Stdio::null()).spawn()?;
    std::process::exit(3);
}

/// Writes log records without a pause.
fn log_flooded(attacker: &mut Attacker) -> io::Result<()> {
    let log = actix_daemon::logger();
    attacker.repeat(|_random| {
        slog::info!(log, "{}", "\u{1b}[2J log ".repeat(20));
        Ok(())
    })
}

fn child() -> io::Result<ChildHandle> {
    ChildHandle::current().ok_or_else(|| missing("the handle of a child"))
}

/// Sets labels of 64 KiB with terminal escapes and line ends.
fn long_labels(_attacker: &mut Attacker) -> io::Result<()> {
    child()?.label(&"\u{1b}[2J\r\n\u{202e}".repeat(8 << 10));
    Ok(())
}

/// Changes its label without a pause.
fn labels_changing(attacker: &mut Attacker) -> io::Result<()> {
    let child = child()?;
    attacker.repeat(|random| {
        child.label(&format!("{:x}", random.number()).repeat(3));
        Ok(())
    })
}

/// Reports the end and the start of requests without a pause.
fn statuses_changing(attacker: &mut Attacker) -> io::Result<()> {
    let child = child()?;
    attacker.repeat(|_random| {
        let _refused = child.update_status(UpdateStatus::Done);
        let _refused = child.update_status(UpdateStatus::Req);
        Ok(())
    })
}

/// Reports heartbeats and long requests without a pause.
fn heartbeats(attacker: &mut Attacker) -> io::Result<()> {
    let child = child()?;
    attacker.repeat(|_random| {
        let _refused = child.long();
        let _refused = child.update_status(UpdateStatus::Req);
        Ok(())
    })
}

/// Extends its request to the end of time.
fn extended_for_ever(_attacker: &mut Attacker) -> io::Result<()> {
    child()?.extend(Duration::MAX);
    Ok(())
}
