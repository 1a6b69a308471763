//! Whatever comes in whatever order.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Event {
    Control(Control),
    Answer,
    Ticket(usize),
    Set(Stage),
    Wait,
    Register,
    Lose,
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

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => control().prop_map(Event::Control),
        6 => Just(Event::Answer),
        6 => (0..4_usize).prop_map(Event::Ticket),
        1 => (0..8_usize).prop_map(|index| Event::Set(Stage::ALL[index])),
        2 => Just(Event::Wait),
        1 => Just(Event::Register),
        1 => Just(Event::Lose),
    ]
}

/// What was seen of a machine so far.
struct Seen {
    reported: Stage,
    ends: u32,
    tickets: Vec<Ticket>,
    listeners: Vec<Listener>,
}

impl Seen {
    fn note(&mut self, acts: Vec<Act>) -> Result<(), TestCaseError> {
        for act in acts {
            match act {
                Act::Report(status) => {
                    prop_assert!(
                        status.stage == self.reported || self.reported.enter(status.stage).is_ok(),
                        "{:?} was followed by {:?}",
                        self.reported,
                        status.stage
                    );
                    prop_assert_eq!(status.stage.is_pending(), status.wait_hint > Duration::ZERO);
                    self.reported = status.stage;
                }
                Act::Call(call) => self.tickets.extend(call.ticket),
                Act::End => self.ends += 1,
            }
        }
        Ok(())
    }

    /// Has something happen to the machine. What is refused changes nothing.
    fn happen(
        &mut self,
        event: Event,
        machine: &mut Machine,
        now: MonotonicTime,
    ) -> Result<Vec<Act>, TestCaseError> {
        let before = machine.clone();
        let acts = match event {
            Event::Control(control) => machine.control(control, now).ok(),
            Event::Answer => Some(machine.next_state(None, None, now).1),
            Event::Ticket(back) => {
                let ticket = self.tickets.iter().rev().nth(back).copied();
                let answer = |ticket| machine.next_state(Some(ticket), None, now).1;
                Some(ticket.map(answer).unwrap_or_default())
            }
            Event::Set(stage) => {
                let setting = Setting { stage, wait_hint: None, checkpoint: None, exit_code: None };
                machine.set(setting, now).ok()
            }
            Event::Wait => Some(machine.tick(now)),
            Event::Register => {
                let (listener, acts) = machine.register(now);
                self.listeners.push(listener);
                Some(acts)
            }
            Event::Lose => {
                let lost = self.listeners.pop().map(|listener| machine.lost(listener, now));
                Some(lost.unwrap_or_default())
            }
        };
        if acts.is_none() {
            prop_assert_eq!(&*machine, &before);
        }
        Ok(acts.unwrap_or_default())
    }
}

proptest! {
    #[test]
    fn reports_follow_the_table_and_the_end_comes_once(
        wants in 0..1024_u16,
        events in prop::collection::vec(event(), 0..60),
    ) {
        let wants = Callback::ALL
            .into_iter()
            .filter(|callback| wants & 1 << *callback as u16 != 0)
            .fold(Wants::NONE, Wants::with);
        let mut machine = machine(wants);
        let (reported, ends) = (Stage::NotReady, 0);
        let mut seen = Seen { reported, ends, tickets: Vec::new(), listeners: Vec::new() };
        seen.note(machine.begin(at(0)))?;
        for (second, event) in (1..).zip(events) {
            let acts = seen.happen(event, &mut machine, at(second))?;
            seen.note(acts)?;
        }
        prop_assert!(seen.ends <= 1);
        prop_assert!(machine.next_wake().is_none() || machine.stage() != Stage::Stopped);
    }
}
