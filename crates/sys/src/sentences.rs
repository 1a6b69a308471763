//! Tests the texts of all errors of this crate.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use std::io;
use std::path::PathBuf;

use crate::fork::{OtherThreads, Thread};
use crate::{Error, Pid};

fn denied() -> io::Error {
    io::Error::from_raw_os_error(libc::EACCES)
}

sentences! {
    enum Error {
        Os { action: "open log file /var/log/x.log".to_owned(), source: denied() },
        ForkShortage { source: io::Error::from_raw_os_error(libc::EAGAIN) },
        LimitTooLow { resource: "open files (ulimit -n)", limit: 12, needed: 31 },
        OtherThreads(OtherThreads { threads: vec![Thread { tid: 12, name: "logger".to_owned() }] }),
        NotRoot { action: "become user www-data".to_owned(), uid: 1000 },
        NoSuchUser { name: "ghost".to_owned() },
        NoSuchGroup { name: "ghosts".to_owned() },
        NoPrimaryGroup { user: "3999999".to_owned() },
        AlreadyRunning { file: PathBuf::from("/run/x.pid"), pid: Pid::from_raw(12) },
        SocketInUse { path: PathBuf::from("/run/x.sock") },
        NotASocket {
            path: PathBuf::from("/run/x.sock"),
            found: "a FIFO of uid 33".to_owned(),
        },
        PrivilegesNotDropped { reason: "setuid(0) still succeeds".to_owned() },
        ParentExited { expected: Pid::from_raw(12).unwrap() },
        Layout {
            object: "the scoreboard".to_owned(),
            reason: "it is smaller than one page".to_owned(),
        },
        TooLong { object: "pid file /run/x.pid".to_owned(), limit: 64 },
        Unsupported { action: "count descriptors".to_owned() },
    }
}
