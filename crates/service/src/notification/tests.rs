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
fn a_service_that_has_reloaded_while_paused_says_that_it_is_ready() {
    let before = status(Stage::Paused, Reloading::Yes);
    let told = notification(Some(&before), &status(Stage::Paused, Reloading::No), "", NOW);
    assert_eq!(told, "READY=1\nSTATUS=paused\n");
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
