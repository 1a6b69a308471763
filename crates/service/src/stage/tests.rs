use super::*;
use crate::control::UserControl;

#[test]
fn a_state_is_followed_by_those_in_its_row() {
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
    for (from, row) in Stage::ALL.into_iter().zip(table) {
        for (wanted, legal) in Stage::ALL.into_iter().zip(row) {
            let expected = if legal { Ok(wanted) } else { Err(IllegalState { from, wanted }) };
            assert_eq!(from.enter(wanted), expected, "{from:?} to {wanted:?}");
        }
    }
}

#[test]
fn a_control_leads_to_what_is_in_its_row() {
    use Response::{Enter, Refuse, Reload, Report, ShutDown, Tell};
    use Stage::{ContinuePending, PausePending, StopPending};
    let user = Control::User(UserControl::new(128).unwrap());
    let stop = Enter(StopPending);
    let pause = Enter(PausePending);
    let go_on = Enter(ContinuePending);
    #[rustfmt::skip]
    let table = [
        // in:                          NotReady Stopped StartPending StopPending Running   ContinuePending PausePending Paused
        (Control::Stop,                [Refuse,  Refuse, stop,        Refuse,     stop,     stop,           stop,        stop]),
        (Control::Pause,               [Refuse,  Refuse, Refuse,      Refuse,     pause,    Refuse,         Refuse,      Refuse]),
        (Control::Continue,            [Refuse,  Refuse, Refuse,      Refuse,     Refuse,   Refuse,         Refuse,      go_on]),
        (Control::Interrogate,         [Report,  Report, Report,      Report,     Report,   Report,         Report,      Report]),
        (Control::Shutdown,            [Refuse,  Refuse, ShutDown,    Refuse,     ShutDown, ShutDown,       ShutDown,    ShutDown]),
        (Control::Preshutdown,         [Refuse,  Refuse, ShutDown,    Refuse,     ShutDown, ShutDown,       ShutDown,    ShutDown]),
        (Control::ParamChange,         [Refuse,  Refuse, Refuse,      Refuse,     Reload,   Refuse,         Refuse,      Reload]),
        (user,                         [Refuse,  Refuse, Refuse,      Refuse,     Tell,     Tell,           Tell,        Tell]),
    ];
    for (control, row) in table {
        for (stage, expected) in Stage::ALL.into_iter().zip(row) {
            assert_eq!(stage.respond(control), expected, "{control:?} in {stage:?}");
            if let Enter(next) = expected {
                assert_eq!(stage.enter(next), Ok(next), "{stage:?}");
            }
        }
    }
}

#[test]
fn an_answer_leads_to_a_legal_state() {
    for stage in Stage::ALL {
        if let Some(next) = stage.next() {
            assert_eq!(stage.enter(next), Ok(next));
        }
    }
}

#[test]
fn a_code_leads_back_to_its_state() {
    for stage in Stage::ALL {
        assert_eq!(Stage::from_code(stage.code()), Some(stage));
    }
    assert_eq!(Stage::from_code(8), None);
}

#[test]
fn controls_of_the_system_are_no_users() {
    assert!(UserControl::new(127).is_err());
    assert_eq!(UserControl::new(255).map(UserControl::get), Ok(255));
}
