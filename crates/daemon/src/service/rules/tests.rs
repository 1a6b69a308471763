//! Tests which answers, requests and controls follow from the states of the daemon and the service,
//! and tests the health and the numbers that the service reports.

use daemon_protocol::{Counters, Reporter};

use super::*;

const RUNNING: DaemonSnapshot = DaemonSnapshot {
    phase: Phase::Running,
    operator_pause: OperatorPause::Off,
    reload: ReloadProgress::None,
    end: DaemonEnd::NotYet,
};

#[test]
fn the_state_of_the_daemon_decides_whether_a_callback_is_answered() {
    use super::DaemonRequest::{Pause, Reload, Resume, Stop};
    use CallStep::{Answer, Request, Wait};
    let starting = DaemonSnapshot { phase: Phase::Starting, ..RUNNING };
    let paused = DaemonSnapshot { operator_pause: OperatorPause::On, ..RUNNING };
    let begun = DaemonSnapshot { reload: ReloadProgress::Requested, ..RUNNING };
    let replacing = DaemonSnapshot { reload: ReloadProgress::Replacing, ..RUNNING };
    let renewed = DaemonSnapshot { reload: ReloadProgress::Done, ..RUNNING };
    let stopping = DaemonSnapshot { phase: Phase::Stopping, ..RUNNING };
    let stopped = DaemonSnapshot { phase: Phase::Stopped, ..RUNNING };
    let ended = DaemonSnapshot { end: DaemonEnd::Good, ..stopped };
    let failed = DaemonSnapshot { end: DaemonEnd::Failed, ..stopped };
    let table = [
        (Callback::NotReady, starting, Answer),
        (Callback::StartPending, starting, Wait),
        (Callback::StartPending, RUNNING, Answer),
        (Callback::StartPending, stopping, Wait),
        (Callback::StartPending, stopped, Wait),
        (Callback::Running, RUNNING, Answer),
        (Callback::PausePending, RUNNING, Request(Pause)),
        (Callback::PausePending, paused, Answer),
        (Callback::Paused, paused, Answer),
        (Callback::ContinuePending, paused, Request(Resume)),
        (Callback::ContinuePending, RUNNING, Answer),
        (Callback::Unhandled, RUNNING, Request(Reload)),
        (Callback::Unhandled, begun, Wait),
        (Callback::Unhandled, replacing, Wait),
        (Callback::Unhandled, renewed, Answer),
        (Callback::Shutdown, starting, Request(Stop)),
        (Callback::Shutdown, RUNNING, Request(Stop)),
        (Callback::Shutdown, stopping, Answer),
        (Callback::Shutdown, stopped, Answer),
        (Callback::StopPending, starting, Request(Stop)),
        (Callback::StopPending, RUNNING, Request(Stop)),
        (Callback::StopPending, stopping, Wait),
        (Callback::StopPending, stopped, Wait),
        (Callback::StopPending, ended, Answer),
        (Callback::StopPending, failed, Answer),
        (Callback::Stopped, ended, Answer),
    ];
    for (callback, known, expected) in table {
        assert_eq!(known.on_callback(callback), expected, "{callback:?} {known:?}");
    }
}

#[test]
fn the_service_receives_a_control_when_the_daemon_has_changed_its_state() {
    for state in ServiceState::ALL {
        for phase in Phase::ALL {
            for operator_pause in [OperatorPause::Off, OperatorPause::On] {
                for reload in [
                    ReloadProgress::None,
                    ReloadProgress::Requested,
                    ReloadProgress::Replacing,
                    ReloadProgress::Done,
                ] {
                    let known =
                        DaemonSnapshot { phase, operator_pause, reload, end: DaemonEnd::NotYet };
                    let led = known.control_for(state);
                    // The service never refuses the control. If the states of the daemon and the
                    // service match, there is no control.
                    if let Some(control) = led {
                        let response = state.respond(control);
                        assert_ne!(
                            response,
                            daemon_service::ControlResponse::Refuse,
                            "{known:?} {state:?}"
                        );
                    }
                    let settled = matches!(
                        (state, operator_pause),
                        (ServiceState::Running, OperatorPause::Off)
                            | (ServiceState::Paused, OperatorPause::On)
                    );
                    if settled && phase == Phase::Running && reload == ReloadProgress::None {
                        assert_eq!(led, None);
                    }
                }
            }
        }
    }
    let paused = DaemonSnapshot { operator_pause: OperatorPause::On, ..RUNNING };
    assert_eq!(paused.control_for(ServiceState::Running), Some(Control::Pause));
    assert_eq!(RUNNING.control_for(ServiceState::Paused), Some(Control::Continue));
    let reloading = DaemonSnapshot { reload: ReloadProgress::Replacing, ..RUNNING };
    assert_eq!(reloading.control_for(ServiceState::Running), Some(Control::ParamChange));
    let stopping = DaemonSnapshot { phase: Phase::Stopping, ..paused };
    assert_eq!(stopping.control_for(ServiceState::PausePending), Some(Control::Stop));
    assert_eq!(stopping.control_for(ServiceState::StopPending), None);
}

fn report(model: ModelKind, letters: &str) -> Report {
    let child = |letter| {
        let letter = char::to_string(&letter);
        let child = serde_json::json!({
            "slot": 0, "letter": letter, "age": 0.0, "since": 0.0, "requests": 2, "generation": 1,
            "cpu": null, "causes": [],
        });
        serde_json::from_value(child).unwrap()
    };
    let mut report = Report::new("Daemon".to_owned(), model, Reporter::Parent, 1);
    report.phase = Phase::Running;
    report.children = letters.chars().map(child).collect();
    let mut counters = Counters::default();
    counters.requests = 10;
    report.counters = Some(counters);
    report
}

#[test]
fn a_pool_is_healthy_while_a_child_is_idle_or_busy() {
    for letters in [".", "w", "r", "l", "ffe."] {
        assert_eq!(health(&report(ModelKind::PreFork, letters)), Health::Healthy, "{letters}");
    }
    for letters in ["", "f", "F", "e", "ffe"] {
        let ill = health(&report(ModelKind::PreFork, letters));
        assert!(matches!(ill, Health::Unhealthy(_)), "{letters}");
        assert_eq!(health(&report(ModelKind::PostFork, letters)), Health::Healthy);
        let mut starting = report(ModelKind::PreFork, letters);
        starting.phase = Phase::Starting;
        assert_eq!(health(&starting), Health::Healthy);
    }
    assert_eq!(health(&report(ModelKind::Solo, "")), Health::Healthy);
}

#[test]
fn the_numbers_of_children_and_requests_are_formatted_as_one_line() {
    let line = counts(&report(ModelKind::PreFork, "r.wle"));
    assert_eq!(line, "5 children, 2 busy, 2 idle; 10 requests started");
    let mut crowded = report(ModelKind::PostFork, "r");
    crowded.waiting = 3;
    assert_eq!(
        counts(&crowded),
        "1 children, 1 busy, 0 idle, 3 requests waiting; 10 requests started"
    );
    assert_eq!(counts(&report(ModelKind::Solo, "")), "");
}
