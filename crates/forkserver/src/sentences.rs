//! Tests the text of every `ForkServerError`, `ForkRefusal` and `TransferError`.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use daemon_core::ScoreboardError;
use daemon_sys::process::Pid;

use crate::{ForkRefusal, ForkServerError, TransferError};

fn denied() -> daemon_sys::Error {
    daemon_sys::Error::os("make memory file request", std::io::ErrorKind::PermissionDenied)
}

sentences! {
    fork_server_errors: ForkServerError {
        ForkServerError::System(_) => ForkServerError::System(denied()),
            "cannot make memory file request: permission denied";
        ForkServerError::Board(_) => ForkServerError::Board(ScoreboardError::Slots { slots: 0 }),
            "cannot create the scoreboard: invalid number of slots: 0; a scoreboard has 1 to 65536";
        ForkServerError::PreloadFailed { .. } =>
            ForkServerError::PreloadFailed { error: "no such table: tariffs".to_owned() },
            "preload failed: no such table: tariffs";
        ForkServerError::Full { .. } => ForkServerError::Full { slots: 8 },
            "cannot fork: all 8 slots of the scoreboard are taken";
        ForkServerError::Transfer(_) => ForkServerError::Transfer(TransferError::NotText),
            "cannot decode the request: a string is not valid UTF-8";
        ForkServerError::Lost { .. } => ForkServerError::Lost {
                pid: Pid::from_raw(12).unwrap(),
                reason: "it closed the link".to_owned(),
            },
            "lost the fork server (pid 12): it closed the link";
    }
    fork_refusals: ForkRefusal {
        ForkRefusal::System(_) => ForkRefusal::from(daemon_sys::Error::os("fork", std::io::Error::from_raw_os_error(12))),
            "cannot fork: out of memory; check the process limit (ulimit -u, pids.max of the cgroup) and free memory";
        ForkRefusal::OtherThreads(_) => ForkRefusal::from(daemon_sys::Error::OtherThreads(daemon_sys::fork::OtherThreads { threads: Vec::new() })),
            "refusing to fork: other threads are running";
        ForkRefusal::Released => ForkRefusal::Released, "cannot fork: the daemon is stopping";
    }
    transfer_errors: TransferError {
        TransferError::TooLarge { .. } => TransferError::TooLarge { size: 9000, limit: 4096 },
            "cannot send a request of 9000 bytes: the limit is 4096 bytes";
        TransferError::TooManyDescriptors { .. } => TransferError::TooManyDescriptors { count: 61 },
            "cannot send 61 descriptors with one request: the limit is 60";
        TransferError::Encode(_) => TransferError::Encode(postcard::Error::SerializeBufferFull.into()),
            "cannot encode the request: The serialize buffer is full";
        TransferError::Decode(_) => TransferError::Decode(postcard::Error::DeserializeUnexpectedEnd.into()),
            "cannot decode the request: Hit the end of buffer, expected more data";
        TransferError::Truncated { .. } => TransferError::Truncated { wanted: 8, left: 3 },
            "cannot decode the request: expected 8 more bytes, found 3";
        TransferError::NotText => TransferError::NotText,
            "cannot decode the request: a string is not valid UTF-8";
        TransferError::MissingDescriptor => TransferError::MissingDescriptor,
            "cannot decode the request: a descriptor is missing";
        TransferError::LeftOver { .. } => TransferError::LeftOver { bytes: 2, descriptors: 1 },
            "cannot decode the request: 2 bytes and 1 descriptors are left over";
        TransferError::SharedMemory(_) => TransferError::SharedMemory(denied()),
            "cannot send the request through a memory file: cannot make memory file request: permission denied";
    }
}
