//! A hundred thousand requests, and workers that are killed at random: each is answered once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use actix_daemon::GetStatus;
use actix_dispatch::{Failure, NewRequest, RequestDone};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::play::{Notes, builder, play, until};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[(
    "each_of_a_hundred_thousand_is_answered_exactly_once_while_workers_are_killed",
    killed_at_random,
)];

const REQUESTS: usize = 100_000;
const KILLS: usize = 40;

/// Numbers that look like chance, the same each time (Marsaglia, Xorshift RNGs, 2003).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }
}

fn killed_at_random() {
    let told: Rc<RefCell<Vec<RequestDone>>> = Rc::default();
    let notes = Rc::clone(&told);
    let builder =
        builder(4).queue_capacity(REQUESTS).upon_result(move |_| Notes::into(notes).recipient());
    play(builder, async move |stage| {
        let mut parts = HashMap::new();
        let (mut chance, mut kills) = (Chance(0x5eed), 0);
        for nth in 0..REQUESTS {
            let request = NewRequest::to("echo").params(nth.to_string());
            parts.insert(request.id(), nth);
            stage.0.dispatcher.do_send(request);
            if nth % 1000 == 999 {
                tokio::task::yield_now().await;
            }
            if nth % (REQUESTS / KILLS) == 0 {
                kills += kill_one(&stage, &mut chance).await;
            }
        }
        while told.borrow().len() < REQUESTS {
            let before = told.borrow().len();
            if kills < 2 * KILLS {
                kills += kill_one(&stage, &mut chance).await;
            }
            let more = async || told.borrow().len() >= (before + 1000).min(REQUESTS);
            until("answers come", more).await;
        }
        let mut lost = 0;
        for RequestDone { request, outcome, .. } in told.take() {
            let nth = parts.remove(&request.id()).expect("it is answered once");
            match outcome {
                Ok(reply) => assert_eq!(reply.value::<String>().unwrap(), nth.to_string()),
                Err(Failure::WorkerLost { .. }) => lost += 1,
                Err(other) => panic!("request {nth}: {other}"),
            }
        }
        assert!(parts.is_empty());
        assert!(lost <= kills, "{lost} are lost to {kills} kills");
        let tally = stage.tally().await;
        assert_eq!(tally.answered + tally.failed, REQUESTS as u64);
        println!("{kills} kills, {lost} lost, {tally:?}");
    });
}

async fn kill_one(stage: &super::play::Stage, chance: &mut Chance) -> usize {
    let report = stage.0.daemon.send(GetStatus::Board).await.unwrap();
    // Workers that die before they have done anything are replaced later and later.
    let grown = report.children.iter().filter(|child| child.requests > 0);
    let workers: Vec<u32> = grown.filter_map(|child| child.pid).collect();
    if workers.is_empty() {
        return 0;
    }
    let victim = workers[chance.below(workers.len())];
    let pid = Pid::from_raw(i32::try_from(victim).unwrap());
    usize::from(kill(pid, Signal::SIGKILL).is_ok())
}
