mod chance;

use super::*;
use crate::control::UserControl;

const CYCLE: Duration = Duration::from_secs(1);
const HINT: Duration = Duration::from_secs(30);

/// The second that the test is in.
fn at(second: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_secs(second))
}

fn machine(wants: Wants) -> Machine {
    Machine::new(Times { cycle: CYCLE, wait_hint: HINT }, wants)
}

/// What was done, without numbers.
fn told(acts: &[Act]) -> Vec<String> {
    acts.iter()
        .map(|act| match act {
            Act::Report(status) => format!("report {}", status.stage.word()),
            Act::Call(call) => format!("call {:?}", call.callback),
            Act::End => "end".to_owned(),
        })
        .collect()
}

/// A machine with all callbacks, in the state that these answers and controls lead to.
fn led_to(stage: Stage) -> Machine {
    let mut machine = machine(Wants::ALL);
    machine.begin(at(0));
    let way: &[Control] = match stage {
        Stage::NotReady => return machine,
        Stage::StartPending | Stage::Running => &[],
        Stage::PausePending | Stage::Paused => &[Control::Pause],
        Stage::ContinuePending => &[Control::Pause, Control::Continue],
        Stage::StopPending | Stage::Stopped => &[Control::Stop],
    };
    machine.next_state(None, None, at(0));
    if stage == Stage::StartPending {
        return machine;
    }
    machine.next_state(None, None, at(0));
    for control in way {
        if machine.stage().is_pending() {
            machine.next_state(None, None, at(0));
        }
        machine.control(*control, at(0)).unwrap();
    }
    if machine.stage() != stage {
        machine.next_state(None, None, at(0));
    }
    assert_eq!(machine.stage(), stage);
    machine
}

#[test]
fn a_service_without_callbacks_runs_at_once_and_stops_at_once() {
    let mut machine = machine(Wants::NONE);
    assert_eq!(told(&machine.begin(at(0))), ["report starting", "report running"]);
    assert_eq!(machine.next_wake(), None);
    let stopped = machine.control(Control::Stop, at(1)).unwrap();
    assert_eq!(told(&stopped), ["report stopping", "report stopped", "end"]);
}

#[test]
fn a_callback_is_called_again_each_cycle_until_it_answers() {
    let mut machine = machine(Wants::NONE.with(Callback::StartPending));
    assert_eq!(told(&machine.begin(at(0))), ["report starting", "call StartPending"]);
    assert_eq!(machine.next_wake(), Some(at(1)));
    assert_eq!(told(&machine.tick(at(0))), [""; 0]);
    assert_eq!(told(&machine.tick(at(1))), ["call StartPending"]);
    assert_eq!(told(&machine.tick(at(2))), ["call StartPending"]);
    let (answered, acts) = machine.next_state(None, None, at(2));
    assert_eq!(answered, Answered::Now(Stage::Running));
    assert_eq!(told(&acts), ["report running"]);
    assert_eq!(machine.next_wake(), None);
}

#[test]
fn every_state_calls_its_callback_and_goes_on_when_it_answers() {
    let mut machine = machine(Wants::ALL);
    assert_eq!(told(&machine.begin(at(0))), ["call NotReady"]);
    let mut go = |expected: &[&str]| {
        let (_answered, acts) = machine.next_state(None, None, at(0));
        assert_eq!(told(&acts), expected);
    };
    go(&["report starting", "call StartPending"]);
    go(&["report running", "call Running"]);
    go(&[]);
    let acts = machine.control(Control::Pause, at(0)).unwrap();
    assert_eq!(told(&acts), ["report pausing", "call PausePending"]);
    let mut go = |expected: &[&str]| {
        let (_answered, acts) = machine.next_state(None, None, at(0));
        assert_eq!(told(&acts), expected);
    };
    go(&["report paused", "call Paused"]);
    go(&[]);
    let acts = machine.control(Control::Continue, at(0)).unwrap();
    assert_eq!(told(&acts), ["report continuing", "call ContinuePending"]);
    let (_answered, acts) = machine.next_state(None, None, at(0));
    assert_eq!(told(&acts), ["report running", "call Running"]);
    let acts = machine.control(Control::Stop, at(0)).unwrap();
    assert_eq!(told(&acts), ["report stopping", "call StopPending"]);
    let (_answered, acts) = machine.next_state(None, None, at(0));
    assert_eq!(told(&acts), ["report stopped", "call Stopped", "end"]);
    assert_eq!(machine.next_wake(), None);
}

#[test]
fn a_shutdown_has_its_callback_and_its_wait_hint_before_the_stop() {
    for control in [Control::Shutdown, Control::Preshutdown] {
        let mut machine = led_to(Stage::Running);
        let acts = machine.control(control, at(0)).unwrap();
        assert_eq!(told(&acts), ["report stopping", "call Shutdown"]);
        assert_eq!(machine.status().wait_hint, HINT);
        let (answered, acts) = machine.next_state(None, Some(HINT * 2), at(0));
        assert_eq!(answered, Answered::Noted);
        assert_eq!(told(&acts), ["report stopping", "call StopPending"]);
        assert_eq!((machine.status().wait_hint, machine.status().checkpoint), (HINT * 2, 2));
        let Some(Act::Call(call)) = acts.last() else { panic!("called: {acts:?}") };
        assert_eq!(call.message, Some(control));
    }
}

#[test]
fn an_answer_that_comes_twice_or_late_leads_nowhere() {
    let mut machine = machine(Wants::ALL);
    let Act::Call(call) = machine.begin(at(0))[0] else { panic!("called") };
    assert_eq!(machine.next_state(call.ticket, None, at(0)).0, Answered::Now(Stage::StartPending));
    assert_eq!(machine.next_state(call.ticket, None, at(0)), (Answered::Late, vec![]));
    assert_eq!(machine.stage(), Stage::StartPending);
}

#[test]
fn a_service_goes_on_when_all_have_answered() {
    let mut machine = machine(Wants::ALL);
    machine.begin(at(0));
    let (listener, acts) = machine.register(at(0));
    assert_eq!(told(&acts), ["call NotReady"]);
    let Act::Call(call) = acts[0] else { panic!("called") };
    assert_eq!(call.listener, listener);
    assert_eq!(machine.next_state(None, None, at(0)), (Answered::Noted, vec![]));
    assert_eq!(machine.next_state(None, None, at(0)), (Answered::Late, vec![]));
    let (answered, acts) = machine.next_state(call.ticket, None, at(0));
    assert_eq!(answered, Answered::Now(Stage::StartPending));
    assert_eq!(told(&acts), ["report starting", "call StartPending", "call StartPending"]);
}

#[test]
fn who_is_gone_is_waited_for_no_longer() {
    let mut machine = machine(Wants::NONE);
    machine.begin(at(0));
    let (listener, acts) = machine.register(at(0));
    assert_eq!(told(&acts), ["call Running"]);
    let acts = machine.control(Control::Stop, at(0)).unwrap();
    assert_eq!(told(&acts), ["report stopping", "call StopPending"]);
    assert_eq!(told(&machine.lost(listener, at(1))), ["report stopped", "end"]);
}

#[test]
fn a_service_that_awaits_a_registration_does_not_run_before() {
    let mut machine = machine(Wants::NONE);
    machine.await_registration();
    assert_eq!(told(&machine.begin(at(0))), ["report starting"]);
    assert_eq!(told(&machine.tick(at(5))), [""; 0]);
    assert_eq!(machine.next_state(None, None, at(5)).0, Answered::Late);
    let (_listener, acts) = machine.register(at(6));
    assert_eq!(told(&acts), ["call StartPending"]);
    let Act::Call(call) = acts[0] else { panic!("called") };
    assert_eq!(
        told(&machine.next_state(call.ticket, None, at(7)).1),
        ["report running", "call Running"]
    );
}

#[test]
fn parameters_are_read_anew_until_it_is_answered() {
    for stage in [Stage::Running, Stage::Paused] {
        let mut machine = led_to(stage);
        let acts = machine.control(Control::ParamChange, at(0)).unwrap();
        assert_eq!(told(&acts), [format!("report {}", stage.word()), "call Unhandled".to_owned()]);
        assert_eq!(machine.status().reloading, Reloading::Yes);
        assert_eq!(told(&machine.tick(at(1))), ["call Unhandled"]);
        let (answered, acts) = machine.next_state(None, None, at(1));
        assert_eq!(
            (answered, told(&acts)),
            (Answered::Noted, vec![format!("report {}", stage.word())])
        );
        assert_eq!((machine.stage(), machine.status().reloading), (stage, Reloading::No));
    }
}

#[test]
fn a_control_of_the_services_own_is_told_once_and_disturbs_nothing() {
    let user = Control::User(UserControl::new(130).unwrap());
    let mut machine = led_to(Stage::PausePending);
    let before = machine.clone();
    let acts = machine.control(user, at(0)).unwrap();
    assert_eq!(told(&acts), ["call Unhandled"]);
    assert_eq!(machine, before);
}

#[test]
fn a_service_reports_itself_in_every_state_and_changes_nothing() {
    for stage in Stage::ALL {
        let mut machine = led_to(stage);
        let before = machine.clone();
        let acts = machine.control(Control::Interrogate, at(0)).unwrap();
        assert_eq!(acts, [Act::Report(before.status())]);
        assert_eq!(machine, before);
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    for stage in Stage::ALL {
        for control in [Control::Pause, Control::Continue, Control::Stop, Control::ParamChange] {
            let mut machine = led_to(stage);
            let before = machine.clone();
            if stage.respond(control) == Response::Refuse {
                assert_eq!(machine.control(control, at(0)), Err(Refused { stage, control }));
                assert_eq!(machine, before);
            }
        }
    }
}

#[test]
fn a_state_is_set_with_wait_hint_and_checkpoint() {
    let set =
        |stage| Setting { stage, wait_hint: Some(CYCLE), checkpoint: Some(7), exit_code: Some(3) };
    for stage in Stage::ALL {
        for wanted in Stage::ALL {
            let mut machine = led_to(stage);
            let before = machine.clone();
            let result = machine.set(set(wanted), at(0));
            if stage != wanted && stage.enter(wanted).is_err() {
                assert_eq!(result, Err(IllegalState { from: stage, wanted }));
                assert_eq!(machine, before);
                continue;
            }
            let Act::Report(status) = result.unwrap()[0] else { panic!("reported") };
            assert_eq!((status.stage, status.exit_code), (wanted, 3));
            let expected = if wanted.is_pending() { (CYCLE, 7) } else { (Duration::ZERO, 0) };
            assert_eq!((status.wait_hint, status.checkpoint), expected, "{stage:?} {wanted:?}");
        }
    }
}

#[test]
fn a_pending_state_that_is_set_again_tells_how_far_it_is() {
    let mut machine = led_to(Stage::StopPending);
    let again =
        Setting { stage: Stage::StopPending, wait_hint: None, checkpoint: None, exit_code: None };
    for checkpoint in [2, 3] {
        let acts = machine.set(again, at(0)).unwrap();
        assert_eq!(acts, [Act::Report(machine.status())]);
        assert_eq!((machine.status().checkpoint, machine.status().wait_hint), (checkpoint, HINT));
    }
}
