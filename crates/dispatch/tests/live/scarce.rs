//! Few descriptors: what is large waits in plain memory, and all of it is answered.

use std::collections::HashMap;

use actix_daemon::Daemon;
use actix_dispatch::{Bytes, NewRequest};
use daemon_sys::limits::{Resource, open_files_limit, set_limit};

use super::play::{Notes, builder, play, until};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("two_thousand_large_requests_wait_where_256_files_may_be_open_and_each_is_answered", many),
    ("a_dispatcher_may_open_as_many_files_as_the_hard_limit_lets_it", raised),
    ("a_limit_of_open_files_that_the_daemon_was_given_is_left_alone", given),
];

const REQUESTS: u64 = 2000;
const BULK: usize = 64 * 1024;

fn many() {
    set_limit(Resource::OpenFiles, 256, 256).expect("lowered");
    let builder = builder(2).method("back", |_call, (number, bulk): (u64, Bytes)| {
        let is_whole = bulk.iter().all(|byte| *byte == number as u8);
        if is_whole { Ok((number, bulk)) } else { Err("it is another's") }
    });
    play(builder, async |stage| {
        until("both workers are there", async || stage.workers().await.len() == 2).await;
        let before = stage.workers().await;
        let (notes, told) = Notes::start();
        let mut parts = HashMap::new();
        for number in 0..REQUESTS {
            let bulk = Bytes::from(vec![number as u8; BULK]);
            let request = NewRequest::to("back").params((number, bulk));
            parts.insert(request.id(), number);
            // What is told keeps the parameters: their files are not used again meanwhile.
            stage.0.dispatcher.do_send(request.upon_result(notes.clone().recipient()));
        }
        until("all are answered", async || told.borrow().len() >= parts.len()).await;
        for done in told.borrow_mut().drain(..) {
            let number = parts.remove(&done.request.id()).expect("it is told once");
            let (back, bulk): (u64, Bytes) = done.outcome.unwrap().value().unwrap();
            assert_eq!((back, bulk.len()), (number, BULK));
            assert!(bulk.iter().all(|byte| *byte == number as u8), "request {number}");
        }
        assert!(parts.is_empty());
        assert_eq!(stage.tally().await.answered, REQUESTS);
        assert_eq!(stage.workers().await, before, "none was killed");
    });
}

fn limit_of(builder: actix_dispatch::DispatcherBuilder, expected: u64) {
    let builder = builder.method("limit", |_call, (): ()| open_files_limit());
    play(builder, async move |stage| {
        assert_eq!(open_files_limit().unwrap(), expected);
        assert_eq!(stage.ask::<u64>("limit", ()).await.unwrap(), expected);
    });
}

fn raised() {
    set_limit(Resource::OpenFiles, 200, 1000).expect("lowered");
    limit_of(builder(1), 1000);
}

fn given() {
    set_limit(Resource::OpenFiles, 200, 1000).expect("lowered");
    limit_of(builder(1).daemon(Daemon::builder().limit(Resource::OpenFiles, 300)), 300);
}
