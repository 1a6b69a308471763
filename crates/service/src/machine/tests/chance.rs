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
        let mut reported = Stage::NotReady;
        let mut ends = 0;
        let mut tickets = Vec::new();
        let mut listeners = Vec::new();
        let mut acts = machine.begin(at(0));
        for (second, event) in (1..).zip(events) {
            for act in acts.drain(..) {
                match act {
                    Act::Report(status) => {
                        prop_assert!(
                            status.stage == reported || reported.enter(status.stage).is_ok(),
                            "{reported:?} was followed by {:?}", status.stage
                        );
                        prop_assert_eq!(status.stage.is_pending(), status.wait_hint > Duration::ZERO);
                        reported = status.stage;
                    }
                    Act::Call(call) => tickets.extend(call.ticket),
                    Act::End => ends += 1,
                }
            }
            let before = machine.clone();
            let now = at(second);
            acts = match event {
                Event::Control(control) => match machine.control(control, now) {
                    Ok(acts) => acts,
                    Err(_refused) => {
                        prop_assert_eq!(&machine, &before);
                        Vec::new()
                    }
                },
                Event::Answer => machine.next_state(None, None, now).1,
                Event::Ticket(back) => {
                    let ticket = tickets.iter().rev().nth(back).copied();
                    ticket.map_or_else(Vec::new, |ticket| {
                        machine.next_state(Some(ticket), None, now).1
                    })
                }
                Event::Set(stage) => match machine.set(
                    Setting { stage, wait_hint: None, checkpoint: None, exit_code: None }, now,
                ) {
                    Ok(acts) => acts,
                    Err(_illegal) => {
                        prop_assert_eq!(&machine, &before);
                        Vec::new()
                    }
                },
                Event::Wait => machine.tick(now),
                Event::Register => {
                    let (listener, acts) = machine.register(now);
                    listeners.push(listener);
                    acts
                }
                Event::Lose => listeners.pop().map_or_else(Vec::new, |listener| {
                    machine.lost(listener, now)
                }),
            };
        }
        prop_assert!(ends <= 1);
        prop_assert!(machine.next_wake().is_none() || machine.stage() != Stage::Stopped);
    }
}
