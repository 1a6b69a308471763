//! Tests the texts of all errors of this crate.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use crate::{
    Generation, Jitter, LadderError, PoolError, ReportError, ScoreboardError, SlotFault,
    SlotNumber, Status,
};

fn slot() -> SlotNumber {
    SlotNumber::new(3)
}

sentences! {
    enum PoolError {
        Zero { field: "max_children" },
        TooManySlots { max_children: 70_000 },
        TooMany { field: "min_spare", value: 9, max_children: 8 },
        MaxBelowMin { max_spare: 2, min_spare: 5 },
        AtMaximum { max_children: 8 },
        ScoreboardFull { slots: 16 },
        AtMinimum,
    }
    enum LadderError {
        Empty,
        StepAfterGiveUp,
    }
    enum ReportError {
        IllegalTransition(Status::Waiting.transition_to(Status::Fresh).unwrap_err()),
        StaleGeneration { slot: slot(), own: Generation::new(1), current: Generation::new(2) },
        Closed { slot: slot() },
        NoSuchSlot { slot: slot() },
    }
    enum ScoreboardError {
        Slots { slots: 70_000 },
        TooShort { lines: 4, needed: 9 },
        Foreign { found: 0 },
    }
    enum SlotFault {
        InvalidStatus(77),
        ImpossibleStatus { status: Status::Forked, last: Status::Serving },
        WrongGeneration { own: Generation::new(1), found: Generation::new(2) },
        WrongPid { found: 5 },
        ImpossibleRequests(9),
        TornLabel,
        NoSuchSlot,
    }
    struct Jitter::from_percent(51).unwrap_err();
    struct Status::Waiting.transition_to(Status::Fresh).unwrap_err();
}
