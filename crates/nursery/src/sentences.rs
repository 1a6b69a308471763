//! What the errors of nursery and handover say, each once.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use daemon_core::BoardError;
use daemon_sys::process::Pid;

use crate::{ForkRefusal, HandoverError, NurseryError};

fn denied() -> daemon_sys::Error {
    daemon_sys::Error::os("make memory file request", std::io::ErrorKind::PermissionDenied)
}

sentences! {
    a_nursery: NurseryError {
        NurseryError::System(_) => NurseryError::System(denied()),
            "cannot make memory file request: permission denied";
        NurseryError::Board(_) => NurseryError::Board(BoardError::Slots { slots: 0 }),
            "cannot make the scoreboard: cannot have a scoreboard of 0 slots: it has 1 to 65536";
        NurseryError::PreloadFailed { .. } =>
            NurseryError::PreloadFailed { error: "no such table: tariffs".to_owned() },
            "cannot preload: no such table: tariffs";
        NurseryError::Full { .. } => NurseryError::Full { slots: 8 },
            "cannot fork: all 8 slots of the scoreboard are taken";
        NurseryError::Handover(_) => NurseryError::Handover(HandoverError::NotText),
            "cannot unpack the request: its text is not UTF-8";
        NurseryError::Lost { .. } => NurseryError::Lost {
                pid: Pid::from_raw(12).unwrap(),
                why: "its end of the link is closed".to_owned(),
            },
            "the nursery (pid 12) is lost: its end of the link is closed";
    }
    a_fork: ForkRefusal {
        ForkRefusal::System(_) => ForkRefusal::from(daemon_sys::Error::os("fork", std::io::Error::from_raw_os_error(12))),
            "cannot fork: out of memory; look at the limit of processes (ulimit -u, pids.max of the cgroup) and at free memory";
        ForkRefusal::Company(_) => ForkRefusal::from(daemon_sys::Error::Company(daemon_sys::fork::Company { threads: Vec::new() })),
            "refusing to fork: other threads are running";
        ForkRefusal::LetGo => ForkRefusal::LetGo, "cannot fork: the daemon is stopping";
    }
    a_handover: HandoverError {
        HandoverError::TooLarge { .. } => HandoverError::TooLarge { size: 9000, limit: 4096 },
            "cannot hand over a request of 9000 bytes: the limit is 4096 bytes";
        HandoverError::TooManyDescriptors { .. } => HandoverError::TooManyDescriptors { count: 61 },
            "cannot hand over 61 descriptors with one request: the limit is 60";
        HandoverError::Pack(_) => HandoverError::Pack(postcard::Error::SerializeBufferFull.into()),
            "cannot pack the request: The serialize buffer is full";
        HandoverError::Unpack(_) => HandoverError::Unpack(postcard::Error::DeserializeUnexpectedEnd.into()),
            "cannot unpack the request: Hit the end of buffer, expected more data";
        HandoverError::Truncated { .. } => HandoverError::Truncated { wanted: 8, left: 3 },
            "cannot unpack the request: 8 bytes more were expected, 3 are left";
        HandoverError::NotText => HandoverError::NotText,
            "cannot unpack the request: its text is not UTF-8";
        HandoverError::MissingDescriptor => HandoverError::MissingDescriptor,
            "cannot unpack the request: a descriptor is missing";
        HandoverError::LeftOver { .. } => HandoverError::LeftOver { bytes: 2, descriptors: 1 },
            "cannot unpack the request: 2 bytes and 1 descriptors are left over";
        HandoverError::Carry(_) => HandoverError::Carry(denied()),
            "cannot carry the request across: cannot make memory file request: permission denied";
    }
}
