use super::*;

#[test]
fn only_the_specified_state_changes_are_legal() {
    #[rustfmt::skip]
    let table = [
        // to:                 NotReady Stopped StartPe StopPen Running Continu PausePe Paused
        /* NotReady        */ [false,   false,  true,   false,  false,  false,  false,  false],
        /* Stopped         */ [false,   false,  false,  false,  false,  false,  false,  false],
        /* StartPending    */ [false,   false,  false,  true,   true,   false,  false,  false],
        /* StopPending     */ [false,   true,   false,  false,  false,  false,  false,  false],
        /* Running         */ [false,   false,  false,  true,   false,  false,  true,   false],
        /* ContinuePending */ [false,   false,  false,  true,   true,   false,  false,  false],
        /* PausePending    */ [false,   false,  false,  true,   false,  false,  false,  true ],
        /* Paused          */ [false,   false,  false,  true,   false,  true,   false,  false],
    ];
    for (from, row) in ServiceState::ALL.into_iter().zip(table) {
        for (to, legal) in ServiceState::ALL.into_iter().zip(row) {
            let expected = if legal { Ok(to) } else { Err(IllegalStateChange { from, to }) };
            assert_eq!(from.enter(to), expected, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn every_state_responds_to_every_control_as_specified() {
    use ControlResponse::{Enter, Notify, Refuse, Reload, Report, ShutDown};
    use ServiceState::{ContinuePending, PausePending, StopPending};
    let user = Control::User(UserControl::new(128).unwrap());
    let stop = Enter(StopPending);
    let pause = Enter(PausePending);
    let resume = Enter(ContinuePending);
    #[rustfmt::skip]
    let table = [
        // in:                          NotReady Stopped StartPending StopPending Running
        // ContinuePending PausePending Paused
        (Control::Stop,                [Refuse,  Refuse, stop,        Refuse,     stop,     stop,           stop,        stop]),
        (Control::Pause,               [Refuse,  Refuse, Refuse,      Refuse,     pause,    Refuse,         Refuse,      Refuse]),
        (Control::Continue,            [Refuse,  Refuse, Refuse,      Refuse,     Refuse,   Refuse,         Refuse,      resume]),
        (Control::Interrogate,         [Report,  Report, Report,      Report,     Report,   Report,         Report,      Report]),
        (Control::Shutdown,            [Refuse,  Refuse, ShutDown,    Refuse,     ShutDown, ShutDown,       ShutDown,    ShutDown]),
        (Control::Preshutdown,         [Refuse,  Refuse, ShutDown,    Refuse,     ShutDown, ShutDown,       ShutDown,    ShutDown]),
        (Control::ParamChange,         [Refuse,  Refuse, Refuse,      Refuse,     Reload,   Refuse,         Refuse,      Reload]),
        (user,                         [Refuse,  Refuse, Refuse,      Refuse,     Notify,   Notify,         Notify,      Notify]),
    ];
    for (control, row) in table {
        for (state, expected) in ServiceState::ALL.into_iter().zip(row) {
            assert_eq!(state.respond(control), expected, "{control:?} in {state:?}");
            if let Enter(next) = expected {
                assert_eq!(state.enter(next), Ok(next), "{state:?}");
            }
        }
    }
}

#[test]
fn the_next_state_is_a_legal_successor() {
    for state in ServiceState::ALL {
        if let Some(next) = state.next() {
            assert_eq!(state.enter(next), Ok(next));
        }
    }
}

#[test]
fn a_code_converts_back_to_its_state() {
    for state in ServiceState::ALL {
        assert_eq!(ServiceState::from_code(state.code()), Some(state));
    }
    assert_eq!(ServiceState::from_code(8), None);
}

#[test]
fn codes_below_128_are_not_user_controls() {
    assert!(UserControl::new(127).is_err());
    assert_eq!(UserControl::new(255).map(UserControl::get), Ok(255));
}
