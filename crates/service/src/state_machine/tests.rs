mod random;

use super::*;
use crate::state::UserControl;

const INTERVAL: Duration = Duration::from_secs(1);
const HINT: Duration = Duration::from_secs(30);

/// Returns the time at this second of the test.
fn at(second: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_secs(second))
}

fn state_machine(callbacks: CallbackSet) -> StateMachine {
    StateMachine::new(Timing { poll_interval: INTERVAL, wait_hint: HINT }, callbacks)
}

/// Returns the effects in words, without numbers.
fn in_words(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .map(|effect| match effect {
            Effect::Report(status) => format!("report {}", status.state.word()),
            Effect::Call(call) => format!("call {:?}", call.callback),
            Effect::End => "end".to_owned(),
        })
        .collect()
}

/// Returns a state machine that has all callbacks and is in this state.
fn machine_in(state: ServiceState) -> StateMachine {
    let mut machine = state_machine(CallbackSet::ALL);
    machine.start(at(0));
    let controls: &[Control] = match state {
        ServiceState::NotReady => return machine,
        ServiceState::StartPending | ServiceState::Running => &[],
        ServiceState::PausePending | ServiceState::Paused => &[Control::Pause],
        ServiceState::ContinuePending => &[Control::Pause, Control::Continue],
        ServiceState::StopPending | ServiceState::Stopped => &[Control::Stop],
    };
    machine.next_state(None, None, at(0));
    if state == ServiceState::StartPending {
        return machine;
    }
    machine.next_state(None, None, at(0));
    for control in controls {
        if machine.state().is_pending() {
            machine.next_state(None, None, at(0));
        }
        machine.control(*control, at(0)).unwrap();
    }
    if machine.state() != state {
        machine.next_state(None, None, at(0));
    }
    assert_eq!(machine.state(), state);
    machine
}

#[test]
fn a_service_without_callbacks_runs_at_once_and_stops_at_once() {
    let mut machine = state_machine(CallbackSet::NONE);
    assert_eq!(in_words(&machine.start(at(0))), ["report starting", "report running"]);
    assert_eq!(machine.next_wake(), None);
    let stopped = machine.control(Control::Stop, at(1)).unwrap();
    assert_eq!(in_words(&stopped), ["report stopping", "report stopped", "end"]);
}

#[test]
fn a_callback_is_called_again_at_each_poll_interval_until_it_answers() {
    let mut machine = state_machine(CallbackSet::NONE.with(Callback::StartPending));
    assert_eq!(in_words(&machine.start(at(0))), ["report starting", "call StartPending"]);
    assert_eq!(machine.next_wake(), Some(at(1)));
    assert_eq!(in_words(&machine.tick(at(0))), [""; 0]);
    assert_eq!(in_words(&machine.tick(at(1))), ["call StartPending"]);
    assert_eq!(in_words(&machine.tick(at(2))), ["call StartPending"]);
    let (result, effects) = machine.next_state(None, None, at(2));
    assert_eq!(result, NextStateResult::Entered(ServiceState::Running));
    assert_eq!(in_words(&effects), ["report running"]);
    assert_eq!(machine.next_wake(), None);
}

#[test]
fn each_state_calls_its_callback_and_a_pending_state_ends_with_the_answer() {
    let mut machine = state_machine(CallbackSet::ALL);
    assert_eq!(in_words(&machine.start(at(0))), ["call NotReady"]);
    let mut answer = |expected: &[&str]| {
        let (_result, effects) = machine.next_state(None, None, at(0));
        assert_eq!(in_words(&effects), expected);
    };
    answer(&["report starting", "call StartPending"]);
    answer(&["report running", "call Running"]);
    answer(&[]);
    let effects = machine.control(Control::Pause, at(0)).unwrap();
    assert_eq!(in_words(&effects), ["report pausing", "call PausePending"]);
    let mut answer = |expected: &[&str]| {
        let (_result, effects) = machine.next_state(None, None, at(0));
        assert_eq!(in_words(&effects), expected);
    };
    answer(&["report paused", "call Paused"]);
    answer(&[]);
    let effects = machine.control(Control::Continue, at(0)).unwrap();
    assert_eq!(in_words(&effects), ["report continuing", "call ContinuePending"]);
    let (_result, effects) = machine.next_state(None, None, at(0));
    assert_eq!(in_words(&effects), ["report running", "call Running"]);
    let effects = machine.control(Control::Stop, at(0)).unwrap();
    assert_eq!(in_words(&effects), ["report stopping", "call StopPending"]);
    let (_result, effects) = machine.next_state(None, None, at(0));
    assert_eq!(in_words(&effects), ["report stopped", "call Stopped", "end"]);
    assert_eq!(machine.next_wake(), None);
}

#[test]
fn a_shutdown_calls_the_shutdown_callback_before_the_stop_callback() {
    for control in [Control::Shutdown, Control::Preshutdown] {
        let mut machine = machine_in(ServiceState::Running);
        let effects = machine.control(control, at(0)).unwrap();
        assert_eq!(in_words(&effects), ["report stopping", "call Shutdown"]);
        assert_eq!(machine.status().wait_hint, HINT);
        let (result, effects) = machine.next_state(None, Some(HINT * 2), at(0));
        assert_eq!(result, NextStateResult::Recorded);
        assert_eq!(in_words(&effects), ["report stopping", "call StopPending"]);
        assert_eq!((machine.status().wait_hint, machine.status().checkpoint), (HINT * 2, 2));
        let Some(Effect::Call(call)) = effects.last() else { panic!("not a call: {effects:?}") };
        assert_eq!(call.control, Some(control));
    }
}

#[test]
fn a_second_answer_to_the_same_call_has_no_effect() {
    let mut machine = state_machine(CallbackSet::ALL);
    let Effect::Call(call) = machine.start(at(0))[0] else { panic!("not a call") };
    assert_eq!(
        machine.next_state(call.call_id, None, at(0)).0,
        NextStateResult::Entered(ServiceState::StartPending)
    );
    assert_eq!(machine.next_state(call.call_id, None, at(0)), (NextStateResult::Stale, vec![]));
    assert_eq!(machine.state(), ServiceState::StartPending);
}

#[test]
fn a_service_advances_when_all_participants_have_answered() {
    let mut machine = state_machine(CallbackSet::ALL);
    machine.start(at(0));
    let (participant, effects) = machine.register(at(0));
    assert_eq!(in_words(&effects), ["call NotReady"]);
    let Effect::Call(call) = effects[0] else { panic!("not a call") };
    assert_eq!(call.participant, participant);
    assert_eq!(machine.next_state(None, None, at(0)), (NextStateResult::Recorded, vec![]));
    assert_eq!(machine.next_state(None, None, at(0)), (NextStateResult::Stale, vec![]));
    let (result, effects) = machine.next_state(call.call_id, None, at(0));
    assert_eq!(result, NextStateResult::Entered(ServiceState::StartPending));
    assert_eq!(in_words(&effects), ["report starting", "call StartPending", "call StartPending"]);
}

#[test]
fn a_removed_participant_does_not_block_the_service() {
    let mut machine = state_machine(CallbackSet::NONE);
    machine.start(at(0));
    let (participant, effects) = machine.register(at(0));
    assert_eq!(in_words(&effects), ["call Running"]);
    let effects = machine.control(Control::Stop, at(0)).unwrap();
    assert_eq!(in_words(&effects), ["report stopping", "call StopPending"]);
    assert_eq!(in_words(&machine.remove(participant, at(1))), ["report stopped", "end"]);
}

#[test]
fn a_service_that_awaits_a_participant_runs_only_after_the_participant_has_answered() {
    let mut machine = state_machine(CallbackSet::NONE);
    machine.await_registration();
    assert_eq!(in_words(&machine.start(at(0))), ["report starting"]);
    assert_eq!(in_words(&machine.tick(at(5))), [""; 0]);
    assert_eq!(machine.next_state(None, None, at(5)).0, NextStateResult::Stale);
    let (_participant, effects) = machine.register(at(6));
    assert_eq!(in_words(&effects), ["call StartPending"]);
    let Effect::Call(call) = effects[0] else { panic!("not a call") };
    assert_eq!(
        in_words(&machine.next_state(call.call_id, None, at(7)).1),
        ["report running", "call Running"]
    );
}

#[test]
fn a_reload_lasts_until_its_callback_is_answered() {
    for state in [ServiceState::Running, ServiceState::Paused] {
        let mut machine = machine_in(state);
        let effects = machine.control(Control::ParamChange, at(0)).unwrap();
        assert_eq!(
            in_words(&effects),
            [format!("report {}", state.word()), "call Unhandled".to_owned()]
        );
        assert!(machine.status().is_reloading);
        assert_eq!(in_words(&machine.tick(at(1))), ["call Unhandled"]);
        let (result, effects) = machine.next_state(None, None, at(1));
        assert_eq!(
            (result, in_words(&effects)),
            (NextStateResult::Recorded, vec![format!("report {}", state.word())])
        );
        assert_eq!((machine.state(), machine.status().is_reloading), (state, false));
    }
}

#[test]
fn a_user_control_is_delivered_once_and_changes_nothing() {
    let user = Control::User(UserControl::new(130).unwrap());
    let mut machine = machine_in(ServiceState::PausePending);
    let before = machine.clone();
    let effects = machine.control(user, at(0)).unwrap();
    assert_eq!(in_words(&effects), ["call Unhandled"]);
    assert_eq!(machine, before);
}

#[test]
fn an_interrogation_reports_every_state_and_changes_nothing() {
    for state in ServiceState::ALL {
        let mut machine = machine_in(state);
        let before = machine.clone();
        let effects = machine.control(Control::Interrogate, at(0)).unwrap();
        assert_eq!(effects, [Effect::Report(before.status())]);
        assert_eq!(machine, before);
    }
}

#[test]
fn a_refused_control_changes_nothing() {
    for state in ServiceState::ALL {
        for control in [Control::Pause, Control::Continue, Control::Stop, Control::ParamChange] {
            let mut machine = machine_in(state);
            let before = machine.clone();
            if state.respond(control) == ControlResponse::Refuse {
                assert_eq!(machine.control(control, at(0)), Err(ControlRefused { state, control }));
                assert_eq!(machine, before);
            }
        }
    }
}

#[test]
fn a_legal_state_is_set_with_its_wait_hint_and_checkpoint_and_an_illegal_state_is_refused() {
    let set = |state| SetState {
        state,
        wait_hint: Some(INTERVAL),
        checkpoint: Some(7),
        exit_code: Some(3),
    };
    for state in ServiceState::ALL {
        for to in ServiceState::ALL {
            let mut machine = machine_in(state);
            let before = machine.clone();
            let result = machine.set(set(to), at(0));
            if state != to && state.enter(to).is_err() {
                assert_eq!(result, Err(IllegalStateChange { from: state, to }));
                assert_eq!(machine, before);
                continue;
            }
            let Effect::Report(status) = result.unwrap()[0] else { panic!("not a report") };
            assert_eq!((status.state, status.exit_code), (to, 3));
            let expected = if to.is_pending() { (INTERVAL, 7) } else { (Duration::ZERO, 0) };
            assert_eq!((status.wait_hint, status.checkpoint), expected, "{state:?} {to:?}");
        }
    }
}

#[test]
fn setting_a_pending_state_again_reports_progress() {
    let mut machine = machine_in(ServiceState::StopPending);
    let again = SetState::new(ServiceState::StopPending);
    for checkpoint in [2, 3] {
        let effects = machine.set(again, at(0)).unwrap();
        assert_eq!(effects, [Effect::Report(machine.status())]);
        assert_eq!((machine.status().checkpoint, machine.status().wait_hint), (checkpoint, HINT));
    }
}
