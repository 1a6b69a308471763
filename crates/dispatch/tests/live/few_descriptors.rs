//! At most a quarter of the limit of open files is used for the memory files of large requests. If
//! the limit is low, the other large requests wait in heap memory, and are answered too. Also tests
//! which limit of open files the dispatcher sets.

use std::collections::HashMap;

use actix_daemon::Daemon;
use actix_dispatch::{Bytes, NewRequest};
use daemon_sys::limits::{Resource, open_files_limit, set_limit};

use super::fixture::{Collector, builder, wait_until, with_dispatcher};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("two_thousand_large_requests_are_answered_with_a_limit_of_256_open_files", many),
    ("a_dispatcher_raises_the_soft_limit_of_open_files_to_the_hard_limit", raised),
    ("a_configured_limit_of_open_files_is_not_raised", given),
];

const REQUESTS: u64 = 2000;
const BULK: usize = 64 * 1024;

fn many() {
    set_limit(Resource::OpenFiles, 256, 256).expect("the limit is lowered");
    let builder = builder(2).method("back", |_call, (number, bulk): (u64, Bytes)| {
        let is_whole = bulk.iter().all(|byte| *byte == number as u8);
        if is_whole { Ok((number, bulk)) } else { Err("the payload is of another request") }
    });
    with_dispatcher(builder, async |test| {
        wait_until("both workers are running", async || test.workers().await.len() == 2).await;
        let before = test.workers().await;
        let (results, received) = Collector::start();
        let mut pending = HashMap::new();
        for number in 0..REQUESTS {
            let bulk = Bytes::from(vec![number as u8; BULK]);
            let request = NewRequest::to("back").params((number, bulk));
            pending.insert(request.id(), number);
            // The collector keeps the parameters, so their memory files are not reused.
            test.0.dispatcher.do_send(request.upon_result(results.clone().recipient()));
        }
        wait_until("all requests are answered", async || received.borrow().len() >= pending.len())
            .await;
        for done in received.borrow_mut().drain(..) {
            let number = pending.remove(&done.request.id()).expect("one result per request");
            let (back, bulk): (u64, Bytes) = done.outcome.unwrap().value().unwrap();
            assert_eq!((back, bulk.len()), (number, BULK));
            assert!(bulk.iter().all(|byte| *byte == number as u8), "request {number}");
        }
        assert!(pending.is_empty());
        assert_eq!(test.stats().await.answered, REQUESTS);
        assert_eq!(test.workers().await, before, "no worker was killed");
    });
}

fn limit_of(builder: actix_dispatch::DispatcherBuilder, expected: u64) {
    let builder = builder.method("limit", |_call, (): ()| open_files_limit());
    with_dispatcher(builder, async move |test| {
        assert_eq!(open_files_limit().unwrap(), expected);
        assert_eq!(test.call::<u64>("limit", ()).await.unwrap(), expected);
    });
}

fn raised() {
    set_limit(Resource::OpenFiles, 200, 1000).expect("the limit is lowered");
    limit_of(builder(1), 1000);
}

fn given() {
    set_limit(Resource::OpenFiles, 200, 1000).expect("the limit is lowered");
    limit_of(builder(1).daemon(Daemon::builder().limit(Resource::OpenFiles, 300)), 300);
}
