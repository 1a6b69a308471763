use super::*;
use crate::callback::Wants;
use crate::machine::{Machine, Times};

const NOW: Duration = Duration::from_micros(123);

fn status(stage: Stage, reloading: Reloading) -> Status {
    let times = Times { cycle: Duration::from_secs(1), wait_hint: Duration::from_secs(30) };
    let status = Machine::new(times, Wants::NONE).status();
    Status { stage, reloading, wait_hint: Duration::from_secs(3), ..status }
}

#[test]
fn a_supervisor_is_told_what_the_table_says() {
    use Reloading::{No, Yes};
    let reload = "RELOADING=1\nMONOTONIC_USEC=123\n";
    let table = [
        (Stage::NotReady, No, "STATUS=not ready\n".to_owned()),
        (Stage::StartPending, No, "EXTEND_TIMEOUT_USEC=3000000\nSTATUS=starting\n".to_owned()),
        (Stage::Running, No, "READY=1\nSTATUS=running\n".to_owned()),
        (Stage::Running, Yes, format!("{reload}STATUS=running\n")),
        (Stage::PausePending, No, "STATUS=pausing\n".to_owned()),
        (Stage::Paused, No, "STATUS=paused\n".to_owned()),
        (Stage::Paused, Yes, format!("{reload}STATUS=paused\n")),
        (Stage::ContinuePending, No, "STATUS=continuing\n".to_owned()),
        (
            Stage::StopPending,
            No,
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=3000000\nSTATUS=stopping\n".to_owned(),
        ),
        (Stage::Stopped, No, "STATUS=stopped\n".to_owned()),
    ];
    for (stage, reloading, expected) in table {
        assert_eq!(notification(None, &status(stage, reloading), "", NOW), expected);
    }
}

#[test]
fn a_supervisor_that_waits_for_a_reload_hears_of_its_end_in_every_state_but_the_last() {
    let table = [
        (Stage::Running, "READY=1\nSTATUS=running\n"),
        (Stage::PausePending, "READY=1\nSTATUS=pausing\n"),
        (Stage::Paused, "READY=1\nSTATUS=paused\n"),
        (Stage::ContinuePending, "READY=1\nSTATUS=continuing\n"),
        (Stage::StopPending, "STOPPING=1\nEXTEND_TIMEOUT_USEC=3000000\nSTATUS=stopping\n"),
    ];
    for (stage, expected) in table {
        let before = status(Stage::Running, Reloading::Yes);
        let told = notification(Some(&before), &status(stage, Reloading::No), "", NOW);
        assert_eq!(told, expected);
    }
}

#[test]
fn what_was_told_once_is_not_told_again() {
    let told = |before, after| {
        let before = status(before, Reloading::No);
        notification(Some(&before), &status(after, Reloading::No), "", NOW)
    };
    assert_eq!(told(Stage::ContinuePending, Stage::Running), "STATUS=running\n");
    assert_eq!(told(Stage::StartPending, Stage::Running), "READY=1\nSTATUS=running\n");
    let again = "EXTEND_TIMEOUT_USEC=3000000\nSTATUS=stopping\n";
    assert_eq!(told(Stage::StopPending, Stage::StopPending), again);
}

#[test]
fn a_text_stays_on_its_line() {
    let told = status_line(Stage::Running, "2 children\nREADY=1");
    assert_eq!(told, "STATUS=running: 2 children READY=1\n");
}

#[test]
fn a_watchdog_is_heeded_by_whom_it_watches() {
    assert_eq!(watchdog(None, None, 7), Ok(None));
    assert_eq!(watchdog(Some("2000000"), None, 7), Ok(Some(Duration::from_secs(2))));
    assert_eq!(watchdog(Some("2000000"), Some("7"), 7), Ok(Some(Duration::from_secs(2))));
    assert_eq!(watchdog(Some("2000000"), Some("8"), 7), Ok(None));
    assert_eq!(watchdog(Some("0"), None, 7), Err("0".to_owned()));
    assert_eq!(watchdog(Some("soon"), None, 7), Err("soon".to_owned()));
    assert_eq!(watchdog(Some("5"), Some("me"), 7), Err("me".to_owned()));
}
