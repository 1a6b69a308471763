use daemon_core::SlotNumber;
use std::time::Duration;

use super::*;
use crate::status::{ChildReport, Counters, Reporter};

const CALM: Known = Known {
    phase: Phase::Running,
    hold: OperatorPause::Off,
    renewal: Renewal::None,
    end: End::NotYet,
};

#[test]
fn a_call_leads_to_what_the_table_says() {
    use super::Order::{Pause, Renew, Resume, Stop};
    use Step::{Answer, Order, Wait};
    let starting = Known { phase: Phase::Starting, ..CALM };
    let held = Known { hold: OperatorPause::On, ..CALM };
    let begun = Known { renewal: Renewal::Begun, ..CALM };
    let replacing = Known { renewal: Renewal::Replacing, ..CALM };
    let renewed = Known { renewal: Renewal::Done, ..CALM };
    let stopping = Known { phase: Phase::Stopping, ..CALM };
    let stopped = Known { phase: Phase::Stopped, ..CALM };
    let ended = Known { end: End::Good, ..stopped };
    let failed = Known { end: End::Failed, ..stopped };
    let table = [
        (Callback::NotReady, starting, Answer),
        (Callback::StartPending, starting, Wait),
        (Callback::StartPending, CALM, Answer),
        (Callback::StartPending, stopping, Wait),
        (Callback::StartPending, stopped, Wait),
        (Callback::Running, CALM, Answer),
        (Callback::PausePending, CALM, Order(Pause)),
        (Callback::PausePending, held, Answer),
        (Callback::Paused, held, Answer),
        (Callback::ContinuePending, held, Order(Resume)),
        (Callback::ContinuePending, CALM, Answer),
        (Callback::Unhandled, CALM, Order(Renew)),
        (Callback::Unhandled, begun, Wait),
        (Callback::Unhandled, replacing, Wait),
        (Callback::Unhandled, renewed, Answer),
        (Callback::Shutdown, starting, Order(Stop)),
        (Callback::Shutdown, CALM, Order(Stop)),
        (Callback::Shutdown, stopping, Answer),
        (Callback::Shutdown, stopped, Answer),
        (Callback::StopPending, starting, Order(Stop)),
        (Callback::StopPending, CALM, Order(Stop)),
        (Callback::StopPending, stopping, Wait),
        (Callback::StopPending, stopped, Wait),
        (Callback::StopPending, ended, Answer),
        (Callback::StopPending, failed, Answer),
        (Callback::Stopped, ended, Answer),
    ];
    for (callback, known, expected) in table {
        assert_eq!(known.heed(callback), expected, "{callback:?} {known:?}");
    }
}

#[test]
fn a_service_is_led_where_the_daemon_has_gone() {
    for state in ServiceState::ALL {
        for phase in Phase::ALL {
            for hold in [OperatorPause::Off, OperatorPause::On] {
                for renewal in [Renewal::None, Renewal::Begun, Renewal::Replacing, Renewal::Done] {
                    let known = Known { phase, hold, renewal, end: End::NotYet };
                    let led = known.lead(state);
                    // It is never told what it would refuse, and nothing while all is as it shall be.
                    if let Some(control) = led {
                        let response = state.respond(control);
                        assert_ne!(
                            response,
                            daemon_service::ControlResponse::Refuse,
                            "{known:?} {state:?}"
                        );
                    }
                    let settled = matches!(
                        (state, hold),
                        (ServiceState::Running, OperatorPause::Off)
                            | (ServiceState::Paused, OperatorPause::On)
                    );
                    if settled && phase == Phase::Running && renewal == Renewal::None {
                        assert_eq!(led, None);
                    }
                }
            }
        }
    }
    let held = Known { hold: OperatorPause::On, ..CALM };
    assert_eq!(held.lead(ServiceState::Running), Some(Control::Pause));
    assert_eq!(CALM.lead(ServiceState::Paused), Some(Control::Continue));
    let reloading = Known { renewal: Renewal::Replacing, ..CALM };
    assert_eq!(reloading.lead(ServiceState::Running), Some(Control::ParamChange));
    let stopping = Known { phase: Phase::Stopping, ..held };
    assert_eq!(stopping.lead(ServiceState::PausePending), Some(Control::Stop));
    assert_eq!(stopping.lead(ServiceState::StopPending), None);
}

fn report(model: Kind, letters: &str) -> Report {
    let child = |letter| ChildReport {
        slot: SlotNumber::new(0),
        pid: None,
        letter,
        age: Duration::ZERO,
        since: Duration::ZERO,
        requests: 2,
        label: None,
        generation: 1,
        cpu: None,
        rss: None,
        pss: None,
        causes: Vec::new(),
    };
    Report {
        alias: "Daemon".to_owned(),
        model,
        reporter: Reporter::Parent,
        parent: 1,
        fork_server: None,
        phase: Phase::Running,
        door: None,
        up: Duration::ZERO,
        board: letters.to_owned(),
        slots: 8,
        free: 0,
        max_children: 8,
        waiting: 0,
        children: letters.chars().map(child).collect(),
        counters: Some(Counters { requests: 10, ..Counters::default() }),
        processes: Vec::new(),
    }
}

#[test]
fn a_pool_is_healthy_while_somebody_in_it_is_ready_or_serves() {
    for letters in [".", "w", "r", "l", "ffe."] {
        assert_eq!(health(&report(Kind::PreFork, letters)), Health::Healthy, "{letters}");
    }
    for letters in ["", "f", "F", "e", "ffe"] {
        let ill = health(&report(Kind::PreFork, letters));
        assert!(matches!(ill, Health::Unhealthy(_)), "{letters}");
        assert_eq!(health(&report(Kind::PostFork, letters)), Health::Healthy);
        let starting = Report { phase: Phase::Starting, ..report(Kind::PreFork, letters) };
        assert_eq!(health(&starting), Health::Healthy);
    }
    assert_eq!(health(&report(Kind::Solo, "")), Health::Healthy);
}

#[test]
fn counts_are_one_line() {
    let line = counts(&report(Kind::PreFork, "r.wle"));
    assert_eq!(line, "5 children, 2 busy, 2 idle; 10 requests");
    let crowded = Report { waiting: 3, ..report(Kind::PostFork, "r") };
    assert_eq!(counts(&crowded), "1 children, 1 busy, 0 idle, 3 requests wait; 10 requests");
    assert_eq!(counts(&report(Kind::Solo, "")), "");
}
