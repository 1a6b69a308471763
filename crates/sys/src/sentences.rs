//! What this crate's error says, each of its variants once.

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
    a_call: Error {
        Error::Os { .. } => Error::os("open log file /var/log/x.log", denied()),
            "cannot open log file /var/log/x.log: permission denied";
        Error::OtherThreads(_) => Error::OtherThreads(OtherThreads {
                threads: vec![Thread { tid: 12, name: "logger".to_owned() }],
            }),
            "refusing to fork: 1 other thread is running: \"logger\" (tid 12)";
        Error::NotRoot { .. } =>
            Error::NotRoot { act: "become user www-data".to_owned(), uid: 1000 },
            "cannot become user www-data: only root may, and this process runs as uid 1000";
        Error::NoSuchUser { .. } => Error::NoSuchUser { name: "ghost".to_owned() },
            "cannot look up user ghost: the user database has no such user";
        Error::NoSuchGroup { .. } => Error::NoSuchGroup { name: "ghosts".to_owned() },
            "cannot look up group ghosts: the group database has no such group";
        Error::NoPrimaryGroup { .. } => Error::NoPrimaryGroup { user: "3999999".to_owned() },
            "cannot tell the primary group of user 3999999: it is known by number only; name a group";
        Error::AlreadyRunning { .. } => Error::AlreadyRunning {
                file: PathBuf::from("/run/x.pid"),
                pid: Pid::from_raw(12),
            },
            "already running as process 12: pid file /run/x.pid is locked";
        Error::SocketTaken { .. } => Error::SocketTaken { place: PathBuf::from("/run/x.sock") },
            "already running: somebody answers on socket /run/x.sock";
        Error::NoSocket { .. } => Error::NoSocket { place: PathBuf::from("/run/x.sock") },
            "cannot bind socket /run/x.sock: a file that is no socket stands there";
        Error::PrivilegesComeBack { .. } =>
            Error::PrivilegesComeBack { how: "setuid(0) succeeds".to_owned() },
            "cannot drop privileges for good: they come back: setuid(0) succeeds";
        Error::ParentIsGone { .. } => Error::ParentIsGone { expected: Pid::from_raw(12).unwrap() },
            "cannot ask for a signal at the end of parent 12: it is gone already";
        Error::Layout { .. } => Error::Layout {
                object: "the scoreboard".to_owned(),
                why: "64 bytes are too few".to_owned(),
            },
            "cannot map the scoreboard: 64 bytes are too few";
        Error::TooLong { .. } =>
            Error::TooLong { object: "pid file /run/x.pid".to_owned(), limit: 64 },
            "cannot read pid file /run/x.pid: it is longer than 64 bytes";
        Error::Unsupported { .. } => Error::Unsupported { act: "count descriptors".to_owned() },
            "cannot count descriptors: not known on this operating system";
    }
}
