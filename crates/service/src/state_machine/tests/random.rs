//! Tests of the state machine with random sequences of inputs.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Input {
    Control(Control),
    Answer,
    AnswerCall(usize),
    Set(ServiceState),
    Tick,
    Register,
    Remove,
}

fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        Just(Control::Stop),
        Just(Control::Pause),
        Just(Control::Continue),
        Just(Control::Interrogate),
        Just(Control::Shutdown),
        Just(Control::Preshutdown),
        Just(Control::ParamChange),
        (128..=255_u8).prop_map(|code| Control::User(UserControl::new(code).unwrap())),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        6 => control().prop_map(Input::Control),
        6 => Just(Input::Answer),
        6 => (0..4_usize).prop_map(Input::AnswerCall),
        1 => (0..8_usize).prop_map(|index| Input::Set(ServiceState::ALL[index])),
        2 => Just(Input::Tick),
        1 => Just(Input::Register),
        1 => Just(Input::Remove),
    ]
}

/// Records the effects of the state machine: the last reported state, the ids of the calls, and how
/// often the service ended.
struct Observer {
    reported: ServiceState,
    ends: u32,
    call_ids: Vec<CallId>,
    participants: Vec<ParticipantId>,
}

impl Observer {
    fn record(&mut self, effects: Vec<Effect>) -> Result<(), TestCaseError> {
        for effect in effects {
            match effect {
                Effect::Report(status) => {
                    prop_assert!(
                        status.state == self.reported || self.reported.enter(status.state).is_ok(),
                        "{:?} is followed by {:?}",
                        self.reported,
                        status.state
                    );
                    prop_assert_eq!(status.state.is_pending(), status.wait_hint > Duration::ZERO);
                    self.reported = status.state;
                }
                Effect::Call(call) => self.call_ids.extend(call.call_id),
                Effect::End => self.ends += 1,
            }
        }
        Ok(())
    }

    /// Passes an input to the state machine. Checks that a refused input changes nothing.
    fn apply(
        &mut self,
        input: Input,
        state_machine: &mut StateMachine,
        now: MonotonicTime,
    ) -> Result<Vec<Effect>, TestCaseError> {
        let before = state_machine.clone();
        let effects = match input {
            Input::Control(control) => state_machine.control(control, now).ok(),
            Input::Answer => Some(state_machine.next_state(None, None, now).1),
            Input::AnswerCall(age) => {
                let call_id = self.call_ids.iter().rev().nth(age).copied();
                let answer = |call_id| state_machine.next_state(Some(call_id), None, now).1;
                Some(call_id.map(answer).unwrap_or_default())
            }
            Input::Set(state) => state_machine.set(SetState::new(state), now).ok(),
            Input::Tick => Some(state_machine.tick(now)),
            Input::Register => {
                let (participant, effects) = state_machine.register(now);
                self.participants.push(participant);
                Some(effects)
            }
            Input::Remove => {
                let effects = self
                    .participants
                    .pop()
                    .map(|participant| state_machine.remove(participant, now));
                Some(effects.unwrap_or_default())
            }
        };
        if effects.is_none() {
            prop_assert_eq!(&*state_machine, &before);
        }
        Ok(effects.unwrap_or_default())
    }
}

proptest! {
    #[test]
    fn reported_states_are_legal_successors_and_the_service_ends_at_most_once(
        callbacks in 0..1024_u16,
        inputs in prop::collection::vec(input(), 0..60),
    ) {
        let callbacks = Callback::ALL
            .into_iter()
            .filter(|callback| callbacks & 1 << *callback as u16 != 0)
            .fold(CallbackSet::NONE, CallbackSet::with);
        let mut state_machine = state_machine(callbacks);
        let (reported, ends) = (ServiceState::NotReady, 0);
        let mut observer = Observer { reported, ends, call_ids: Vec::new(), participants: Vec::new() };
        observer.record(state_machine.start(at(0)))?;
        for (second, input) in (1..).zip(inputs) {
            let effects = observer.apply(input, &mut state_machine, at(second))?;
            observer.record(effects)?;
        }
        prop_assert!(observer.ends <= 1);
        prop_assert!(state_machine.next_wake().is_none() || state_machine.state() != ServiceState::Stopped);
    }
}
