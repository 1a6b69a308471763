//! Tests the classification of every kind of exit, and the text of each cause.

use super::*;

const OK: Exit = Exit::Code(0);

fn signal(number: i32) -> Exit {
    Exit::Signal { number, core: false }
}

#[test]
fn an_unrequested_exit_is_classified_by_last_status_and_exit_status() {
    use Status::{Empty, Forked, Forking, Fresh, Leaving, Long, Serving, Waiting};
    let dumped = Exit::Signal { number: 11, core: true };
    for last in [Forking, Forked] {
        for exit in [OK, Exit::Code(3), signal(9), dumped] {
            let cause = classify_exit(exit, last, None, ChildKind::Pool);
            assert_eq!(cause, ExitCause::FailedToBoot(exit));
        }
    }
    for last in [Empty, Fresh, Waiting, Serving, Long, Leaving] {
        let classify_exit = |exit| classify_exit(exit, last, None, ChildKind::OneRequest);
        assert_eq!(classify_exit(Exit::Code(3)), ExitCause::Exited(3));
        assert_eq!(classify_exit(signal(15)), ExitCause::Killed { signal: 15, core: false });
        assert_eq!(classify_exit(dumped), ExitCause::Killed { signal: 11, core: true });
        if last != Leaving {
            assert_eq!(classify_exit(OK), ExitCause::Exited(0));
        }
    }
    assert_eq!(
        classify_exit(OK, Leaving, None, ChildKind::Pool),
        ExitCause::Recycled(RecycleReason::Requests)
    );
    assert_eq!(classify_exit(OK, Leaving, None, ChildKind::OneRequest), ExitCause::Done);
}

#[test]
fn a_requested_exit_is_classified_by_the_stop_reason_unless_the_child_failed() {
    let table = [
        (StopReason::Retired, ExitCause::Retired),
        (StopReason::Recycled(RecycleReason::Memory), ExitCause::Recycled(RecycleReason::Memory)),
        (StopReason::Stopping, ExitCause::Shutdown),
        (StopReason::StoppedNow, ExitCause::Shutdown),
    ];
    for (stop_reason, cause) in table {
        for last in Status::ALL {
            let classify_exit =
                |exit| classify_exit(exit, last, Some(stop_reason), ChildKind::Pool);
            assert_eq!(classify_exit(OK), cause);
            assert_eq!(classify_exit(signal(15)), cause);
            assert_eq!(classify_exit(signal(3)), cause);
            // For these stop reasons, the daemon itself sends KILL only while it is stopping.
            let killed = match stop_reason {
                StopReason::Stopping | StopReason::StoppedNow => {
                    ExitCause::KilledByDaemon(KillReason::GraceExpired)
                }
                StopReason::Retired
                | StopReason::Recycled(_)
                | StopReason::Killed
                | StopReason::Rogue(_) => ExitCause::Killed { signal: 9, core: false },
            };
            assert_eq!(classify_exit(signal(9)), killed);
            assert_eq!(classify_exit(Exit::Code(70)), ExitCause::Exited(70));
            assert_eq!(classify_exit(signal(11)), ExitCause::Killed { signal: 11, core: false });
        }
    }
}

#[test]
fn only_done_recycled_retired_and_shutdown_are_expected_causes() {
    let recycled = ExitCause::Recycled(RecycleReason::Lifetime);
    let regular = [ExitCause::Done, recycled, ExitCause::Retired, ExitCause::Shutdown];
    assert!(regular.iter().all(ExitCause::is_expected));
    let others = [
        ExitCause::KilledByDaemon(KillReason::Requested),
        ExitCause::OutOfMemory,
        ExitCause::Missing,
        ExitCause::FailedToBoot(OK),
        ExitCause::Exited(0),
        ExitCause::Killed { signal: 9, core: false },
    ];
    assert!(!others.iter().any(ExitCause::is_expected));
}

#[test]
fn exits_are_shown_in_plain_words() {
    assert_eq!(Exit::Code(3).to_string(), "exited with code 3");
    assert_eq!(signal(9).to_string(), "killed by signal KILL");
    assert_eq!(
        Exit::Signal { number: 11, core: true }.to_string(),
        "killed by signal SEGV, core dumped"
    );
    assert_eq!(signal(34).to_string(), "killed by signal 34");
    assert_eq!(
        ExitCause::FailedToBoot(Exit::Code(70)).to_string(),
        "exited with code 70 before it was ready"
    );
}

#[test]
fn the_exit_of_a_rogue_is_always_classified_as_rogue() {
    for violation in [
        Violation::Cpu,
        Violation::Time,
        Violation::Memory,
        Violation::Hung,
        Violation::Protocol,
        Violation::Boot,
    ] {
        for exit in [OK, Exit::Code(3), signal(2), signal(9), signal(15)] {
            let stop_reason = Some(StopReason::Rogue(violation));
            let cause = classify_exit(exit, Status::Serving, stop_reason, ChildKind::Pool);
            assert_eq!(cause, ExitCause::KilledByDaemon(KillReason::Rogue(violation)));
        }
    }
    let asked =
        classify_exit(signal(9), Status::Serving, Some(StopReason::Killed), ChildKind::Pool);
    assert_eq!(asked, ExitCause::KilledByDaemon(KillReason::Requested));
}

#[test]
fn every_cause_is_unpacked_as_it_was_packed_and_has_a_distinct_kind() {
    let exits = [OK, Exit::Code(255), signal(9), Exit::Signal { number: 64, core: true }];
    let mut words = std::collections::BTreeSet::new();
    for exit in exits {
        for cause in (1..32).filter_map(|number| ExitCause::of_number(number, exit)) {
            assert_ne!(cause.pack(), 0);
            assert_eq!(ExitCause::unpack(cause.pack()), Some(cause));
            words.insert(cause.kind());
        }
    }
    assert_eq!(words.len(), 19);
    assert_eq!(ExitCause::unpack(0), None);
    for bits in 0..=u16::MAX {
        // Another process may have written any bits.
        let _ = ExitCause::unpack(bits);
    }
}
