use super::*;
use crate::callback::CallbackSet;
use crate::state_machine::{StateMachine, Timing};

const NOW: Duration = Duration::from_micros(123);

fn status(state: ServiceState, reloading: Reloading) -> ServiceStatus {
    let timing =
        Timing { poll_interval: Duration::from_secs(1), wait_hint: Duration::from_secs(30) };
    let status = StateMachine::new(timing, CallbackSet::NONE).status();
    ServiceStatus { state, reloading, wait_hint: Duration::from_secs(3), ..status }
}

#[test]
fn each_state_is_reported_with_its_own_lines() {
    use Reloading::{No, Yes};
    let reload = "RELOADING=1\nMONOTONIC_USEC=123\n";
    let table = [
        (ServiceState::NotReady, No, "STATUS=not ready\n".to_owned()),
        (
            ServiceState::StartPending,
            No,
            "EXTEND_TIMEOUT_USEC=3000000\nSTATUS=starting\n".to_owned(),
        ),
        (ServiceState::Running, No, "READY=1\nSTATUS=running\n".to_owned()),
        (ServiceState::Running, Yes, format!("{reload}STATUS=running\n")),
        (ServiceState::PausePending, No, "STATUS=pausing\n".to_owned()),
        (ServiceState::Paused, No, "STATUS=paused\n".to_owned()),
        (ServiceState::Paused, Yes, format!("{reload}STATUS=paused\n")),
        (ServiceState::ContinuePending, No, "STATUS=continuing\n".to_owned()),
        (
            ServiceState::StopPending,
            No,
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=3000000\nSTATUS=stopping\n".to_owned(),
        ),
        (ServiceState::Stopped, No, "STATUS=stopped\n".to_owned()),
    ];
    for (state, reloading, expected) in table {
        assert_eq!(notification(None, &status(state, reloading), "", NOW), expected);
    }
}

#[test]
fn the_end_of_a_reload_is_reported_with_ready_unless_the_service_stops() {
    let table = [
        (ServiceState::Running, "READY=1\nSTATUS=running\n"),
        (ServiceState::PausePending, "READY=1\nSTATUS=pausing\n"),
        (ServiceState::Paused, "READY=1\nSTATUS=paused\n"),
        (ServiceState::ContinuePending, "READY=1\nSTATUS=continuing\n"),
        (ServiceState::StopPending, "STOPPING=1\nEXTEND_TIMEOUT_USEC=3000000\nSTATUS=stopping\n"),
    ];
    for (state, expected) in table {
        let before = status(ServiceState::Running, Reloading::Yes);
        let lines = notification(Some(&before), &status(state, Reloading::No), "", NOW);
        assert_eq!(lines, expected);
    }
}

#[test]
fn ready_and_stopping_are_sent_once() {
    let lines = |before, after| {
        let before = status(before, Reloading::No);
        notification(Some(&before), &status(after, Reloading::No), "", NOW)
    };
    assert_eq!(lines(ServiceState::ContinuePending, ServiceState::Running), "STATUS=running\n");
    assert_eq!(
        lines(ServiceState::StartPending, ServiceState::Running),
        "READY=1\nSTATUS=running\n"
    );
    let again = "EXTEND_TIMEOUT_USEC=3000000\nSTATUS=stopping\n";
    assert_eq!(lines(ServiceState::StopPending, ServiceState::StopPending), again);
}

#[test]
fn a_status_text_stays_on_one_line() {
    let lines = status_line(ServiceState::Running, "2 children\nREADY=1");
    assert_eq!(lines, "STATUS=running: 2 children READY=1\n");
}

#[test]
fn a_watchdog_timeout_applies_only_to_the_process_in_watchdog_pid() {
    let timeout = |usec, pid| watchdog_timeout(usec, pid, 7).unwrap();
    assert_eq!(timeout(None, None), None);
    assert_eq!(timeout(Some("2000000"), None), Some(Duration::from_secs(2)));
    assert_eq!(timeout(Some("2000000"), Some("7")), Some(Duration::from_secs(2)));
    assert_eq!(timeout(Some("2000000"), Some("8")), None);
}

#[test]
fn an_invalid_watchdog_variable_is_named_in_the_error() {
    let invalid = |usec, pid| match watchdog_timeout(Some(usec), pid, 7).unwrap_err() {
        ServiceError::Environment { variable, value, .. } => (variable, value),
        other => panic!("{other}"),
    };
    assert_eq!(invalid("0", None), ("WATCHDOG_USEC", "0".to_owned()));
    assert_eq!(invalid("soon", None), ("WATCHDOG_USEC", "soon".to_owned()));
    assert_eq!(invalid("5", Some("me")), ("WATCHDOG_PID", "me".to_owned()));
}

#[test]
fn the_watchdog_is_notified_twice_within_its_timeout_but_not_without_a_pause() {
    let micros = Duration::from_micros;
    let table = [
        (micros(1), WATCHDOG_INTERVAL_MIN),
        (WATCHDOG_INTERVAL_MIN * 2 - micros(1), WATCHDOG_INTERVAL_MIN),
        (micros(400_000), micros(200_000)),
        (Duration::from_secs(30), Duration::from_secs(15)),
        (micros(u64::MAX), micros(u64::MAX) / 2),
    ];
    for (timeout, interval) in table {
        assert_eq!(watchdog_interval(timeout), interval, "{timeout:?}");
    }
}

#[test]
fn a_wait_hint_of_any_length_fits_into_the_number_of_systemd() {
    let mut status = status(ServiceState::StopPending, Reloading::No);
    status.wait_hint = Duration::MAX;
    let lines = notification(None, &status, "", NOW);
    assert!(lines.contains(&format!("EXTEND_TIMEOUT_USEC={}\n", u64::MAX)), "{lines}");
}
