//! The status of a worker as one character.

use daemon_core::{Label, SlotEntry, Status, StatusKind};

use crate::worker::{STATUS_IDLE, STATUS_NEXIST};

/// The character of an active worker whose own character is being written or is invalid.
const ACTIVE: char = 'A';

/// Returns the status character of a slot. For an active worker, this is the character that the
/// worker has set.
pub(crate) fn status_of(entry: &SlotEntry) -> char {
    match entry.status.map(Status::kind) {
        None | Some(StatusKind::Vacant) => STATUS_NEXIST,
        Some(StatusKind::Starting | StatusKind::Idle | StatusKind::Leaving) => STATUS_IDLE,
        Some(StatusKind::Busy) => match &entry.label {
            Label::Text(text) => str::from_utf8(text.as_bytes())
                .ok()
                .and_then(|text| text.chars().next())
                .unwrap_or(ACTIVE),
            Label::BeingWritten => ACTIVE,
        },
    }
}
