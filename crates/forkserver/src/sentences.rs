//! Tests the texts of all errors of this crate.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use daemon_core::ScoreboardError;
use daemon_sys::process::{Pid, Signal};

use crate::{ForkRefusal, ForkServerError, TransferError};

fn denied() -> daemon_sys::Error {
    daemon_sys::Error::os("make memory file request", std::io::ErrorKind::PermissionDenied)
}

sentences! {
    enum ForkServerError {
        System(denied()),
        Board(ScoreboardError::Slots { slots: 0 }),
        PreloadFailed { error: "no such table: tariffs".to_owned() },
        Interrupted { signal: Signal::Term },
        Full { slots: 8 },
        Transfer(TransferError::NotText),
        Lost { pid: Pid::from_raw(12).unwrap(), reason: "it closed the link".to_owned() },
    }
    enum ForkRefusal {
        System(12),
        OtherThreads("refusing to fork: other threads are running".to_owned()),
        Released,
    }
    enum TransferError {
        TooLarge { size: 9000, limit: 4096 },
        TooManyDescriptors { count: 61 },
        Panicked,
        Encode(postcard::Error::SerializeBufferFull.into()),
        Decode(postcard::Error::DeserializeUnexpectedEnd.into()),
        Truncated { wanted: 8, left: 3 },
        NotText,
        MissingDescriptor,
        LeftOver { bytes: 2, descriptors: 1 },
        SharedMemory(denied()),
    }
}
