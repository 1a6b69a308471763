//! Tests the text of every error message of this crate.

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
    errors_have_the_listed_messages: Error {
        Error::Os { .. } => Error::os("open log file /var/log/x.log", denied()),
            "cannot open log file /var/log/x.log: permission denied";
        Error::OtherThreads(_) => Error::OtherThreads(OtherThreads {
                threads: vec![Thread { tid: 12, name: "logger".to_owned() }],
            }),
            "refusing to fork: 1 other thread is running: \"logger\" (tid 12)";
        Error::NotRoot { .. } =>
            Error::NotRoot { action: "become user www-data".to_owned(), uid: 1000 },
            "cannot become user www-data: only root is allowed to, and this process runs as uid 1000";
        Error::NoSuchUser { .. } => Error::NoSuchUser { name: "ghost".to_owned() },
            "cannot look up user ghost: the user database has no such user";
        Error::NoSuchGroup { .. } => Error::NoSuchGroup { name: "ghosts".to_owned() },
            "cannot look up group ghosts: the group database has no such group";
        Error::NoPrimaryGroup { .. } => Error::NoPrimaryGroup { user: "3999999".to_owned() },
            "cannot look up the primary group of user 3999999: the user database has no such uid; set a group";
        Error::AlreadyRunning { .. } => Error::AlreadyRunning {
                file: PathBuf::from("/run/x.pid"),
                pid: Pid::from_raw(12),
            },
            "already running as process 12: pid file /run/x.pid is locked";
        Error::SocketInUse { .. } => Error::SocketInUse { path: PathBuf::from("/run/x.sock") },
            "already running: another process is listening on socket /run/x.sock";
        Error::NotASocket { .. } => Error::NotASocket { path: PathBuf::from("/run/x.sock") },
            "cannot bind socket /run/x.sock: the existing file is not a socket";
        Error::PrivilegesNotDropped { .. } =>
            Error::PrivilegesNotDropped { reason: "setuid(0) still succeeds".to_owned() },
            "cannot drop privileges permanently: setuid(0) still succeeds";
        Error::ParentExited { .. } => Error::ParentExited { expected: Pid::from_raw(12).unwrap() },
            "cannot set a parent death signal: parent process 12 has already exited";
        Error::Layout { .. } => Error::Layout {
                object: "the scoreboard".to_owned(),
                reason: "it is smaller than one page".to_owned(),
            },
            "cannot map the scoreboard: it is smaller than one page";
        Error::TooLong { .. } =>
            Error::TooLong { object: "pid file /run/x.pid".to_owned(), limit: 64 },
            "cannot read pid file /run/x.pid: it is longer than 64 bytes";
        Error::Unsupported { .. } => Error::Unsupported { action: "count descriptors".to_owned() },
            "cannot count descriptors: not supported on this operating system";
    }
}
