//! Large parameters and results, by shared memory; and what of it is left in a worker that dies.

use std::fs;

use std::time::Duration;

use actix_dispatch::{Bytes, Call, Failure, NewRequest, Rejection};

use super::play::{builder, play, until};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("payloads_of_any_size_come_back_as_they_were", sizes),
    ("many_large_payloads_at_once_leave_no_descriptor_behind", many),
    ("memory_that_is_used_again_never_shows_one_what_is_another_s", each_its_own),
    ("a_worker_killed_in_a_large_answer_costs_its_task_alone", killed_in_a_large_answer),
    ("large_parameters_that_do_not_fit_are_refused_before_a_worker_sees_them", unfit),
];

fn with_reverse(workers: u32) -> actix_dispatch::DispatcherBuilder {
    builder(workers).method("reverse", |_call, (bytes, word): (Bytes, String)| {
        let mut bytes = bytes.into_vec();
        bytes.reverse();
        Ok::<_, String>((word, Bytes::from(bytes)))
    })
}

fn sizes() {
    play(with_reverse(2), async |stage| {
        for size in [0, 1, 65_000, 65_535, 65_536, 65_537, 300_000, 5_000_000] {
            let bytes: Vec<u8> = (0..size).map(|nth| (nth % 251) as u8).collect();
            let params = (Bytes::from(bytes.clone()), "word");
            let (word, back): (String, Bytes) = stage.ask("reverse", params).await.unwrap();
            let mut back = back.into_vec();
            back.reverse();
            assert_eq!((word.as_str(), back.len()), ("word", size));
            assert!(back == bytes);
        }
        let text = "x".repeat(200_000);
        assert_eq!(stage.ask::<String>("echo", &text).await.unwrap(), text);
        let failed = stage.ask::<()>("fail", &text).await.unwrap_err();
        assert_eq!(failed.to_string().len(), text.len());
    });
}

/// How many memory files of tasks a process holds.
fn memory_files(process: u32) -> usize {
    let held = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let names = held.filter_map(|fd| fs::read_link(fd.path()).ok());
    names.filter(|name| name.to_string_lossy().contains("memfd:task")).count()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn many() {
    play(with_reverse(3), async |stage| {
        let one = || (Bytes::from(vec![9; 100_000]), "w");
        stage.ask::<(String, Bytes)>("reverse", one()).await.unwrap();
        let before = descriptors();
        for _round in 0..3 {
            let parts: Vec<_> = (0..100)
                .map(|_task| stage.0.dispatcher.send(NewRequest::to("reverse").params(one())))
                .collect();
            for answer in parts {
                let (_word, bytes) =
                    answer.await.unwrap().unwrap().value::<(String, Bytes)>().unwrap();
                assert_eq!(bytes.len(), 100_000);
            }
        }
        // What is kept to be used again is let go when nobody has used it for a while.
        until("no descriptor is left", async || descriptors() <= before).await;
        for worker in stage.workers().await {
            // It is not asked: it is to let go of what it has while nothing comes.
            until("none is left in a worker", async || memory_files(worker) == 0).await;
        }
    });
}

/// What a worker that is killed was about to read, or its successor is sent, is nobody else's.
fn each_its_own() {
    let filled = |byte: u8| Bytes::from(vec![byte; 150_000]);
    let builder = builder(2)
        .method("whose", |call: &Call, bytes: Bytes| {
            if bytes.iter().any(|byte| *byte != bytes[0]) {
                return Err("it is of several".to_owned());
            }
            if bytes[0] % 5 == 4 && call.attempt() == 1 {
                std::process::abort();
            }
            Ok(bytes)
        })
        .method("stuck", |_call, _bytes: Bytes| -> Result<(), String> {
            loop {
                std::thread::park();
            }
        });
    play(builder, async move |stage| {
        for round in 0..5_u8 {
            let stuck = NewRequest::to("stuck").params(filled(255));
            let stuck = stuck.hard_limit(Duration::from_millis(5));
            let stuck = stage.0.dispatcher.send(stuck);
            let parts: Vec<_> = (0..30_u8)
                .map(|nth| NewRequest::to("whose").params(filled(round * 30 + nth)).attempts(2))
                .map(|request| stage.0.dispatcher.send(request))
                .collect();
            for (nth, answer) in (0..).zip(parts) {
                let bytes: Bytes = answer.await.unwrap().unwrap().value().unwrap();
                assert!(bytes.iter().all(|byte| *byte == round * 30 + nth), "request {nth}");
            }
            let stuck = stuck.await.unwrap().unwrap_err();
            assert!(matches!(stuck, Failure::TimedOut { .. }), "{stuck:?}");
        }
    });
}

/// A worker that fails in the middle of a large answer is lost, and nothing else with it.
fn killed_in_a_large_answer() {
    let builder = with_reverse(1).method("dies", |_call, (): ()| {
        let process = std::process::id();
        std::thread::spawn(move || {
            // While it encodes or sends what comes below.
            let pid = nix::unistd::Pid::from_raw(i32::try_from(process).unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)
        });
        Ok::<_, String>(Bytes::from(vec![3; 30_000_000]))
    });
    play(builder, async |stage| {
        for _time in 0..10 {
            match stage.ask::<Bytes>("dies", ()).await {
                // It may just have got there.
                Ok(bytes) => assert_eq!(bytes.len(), 30_000_000),
                Err(failure) => {
                    assert!(matches!(failure, Failure::WorkerLost { .. }), "{failure:?}")
                }
            }
            let params = (Bytes::from(vec![9; 100_000]), "w");
            // Its first worker may be the one that is being killed.
            let after = NewRequest::to("reverse").params(params).attempts(5);
            let (_word, back): (String, Bytes) = stage.send(after).await.unwrap().value().unwrap();
            assert_eq!(&*back, &[9; 100_000]);
        }
    });
}

fn unfit() {
    play(with_reverse(0).max_forks(1), async |stage| {
        let params = (7_u8, Bytes::from(vec![1; 100_000]));
        let refused = stage.send(NewRequest::to("reverse").params(params)).await.unwrap_err();
        let is_unfit = matches!(&refused, Failure::Rejected(Rejection::InvalidParams { .. }));
        assert!(is_unfit, "{refused:?}");
        assert!(stage.workers().await.is_empty());
    });
}
