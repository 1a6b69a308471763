//! Sends a hundred thousand requests while workers are killed at random. Each request is answered
//! exactly once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use actix_daemon::GetStatus;
use actix_dispatch::{Failure, NewRequest, RequestDone};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::fixture::{Collector, builder, wait_until, with_dispatcher};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[(
    "each_of_a_hundred_thousand_requests_is_answered_exactly_once_while_workers_are_killed",
    killed_at_random,
)];

const REQUESTS: usize = 100_000;
const KILLS: usize = 40;

/// A pseudo-random generator with a fixed seed (Marsaglia, Xorshift RNGs, 2003).
struct XorShift(u64);

impl XorShift {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }
}

fn killed_at_random() {
    let received: Rc<RefCell<Vec<RequestDone>>> = Rc::default();
    let results = Rc::clone(&received);
    let builder = builder(4)
        .queue_capacity(REQUESTS)
        .upon_result(move |_| Collector::into(results).recipient());
    with_dispatcher(builder, async move |test| {
        let mut pending = HashMap::new();
        let (mut random, mut kills) = (XorShift(0x5eed), 0);
        for nth in 0..REQUESTS {
            let request = NewRequest::to("echo").params(nth.to_string());
            pending.insert(request.id(), nth);
            test.0.dispatcher.do_send(request);
            if nth % 1000 == 999 {
                tokio::task::yield_now().await;
            }
            if nth % (REQUESTS / KILLS) == 0 {
                kills += kill_one(&test, &mut random).await;
            }
        }
        while received.borrow().len() < REQUESTS {
            let before = received.borrow().len();
            if kills < 2 * KILLS {
                kills += kill_one(&test, &mut random).await;
            }
            let more = async || received.borrow().len() >= (before + 1000).min(REQUESTS);
            wait_until("further requests are answered", more).await;
        }
        let mut lost = 0;
        for RequestDone { request, outcome, .. } in received.take() {
            let nth = pending.remove(&request.id()).expect("one result per request");
            match outcome {
                Ok(reply) => assert_eq!(reply.value::<String>().unwrap(), nth.to_string()),
                Err(Failure::WorkerLost { .. }) => lost += 1,
                Err(other) => panic!("request {nth}: {other}"),
            }
        }
        assert!(pending.is_empty());
        assert!(lost <= kills, "{lost} tasks were lost in {kills} kills");
        let stats = test.stats().await;
        assert_eq!(stats.answered + stats.failed, REQUESTS as u64);
        println!("{kills} kills, {lost} lost, {stats:?}");
    });
}

async fn kill_one(test: &super::fixture::TestDispatcher, random: &mut XorShift) -> usize {
    let report = test.0.daemon.send(GetStatus::Board).await.unwrap();
    // Only workers that have served requests are killed, because workers that die before their
    // first task are replaced with an increasing delay.
    let active = report.children.iter().filter(|child| child.requests > 0);
    let workers: Vec<u32> = active.filter_map(|child| child.pid).collect();
    if workers.is_empty() {
        return 0;
    }
    let victim = workers[random.below(workers.len())];
    let pid = Pid::from_raw(i32::try_from(victim).unwrap());
    usize::from(kill(pid, Signal::SIGKILL).is_ok())
}
