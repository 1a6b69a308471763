//! Tests large parameters and results in shared memory, also when a worker dies.

use std::fs;

use std::time::Duration;

use actix_dispatch::{Bytes, Call, Failure, NewRequest, Rejection};

use super::fixture::{builder, wait_until, with_dispatcher};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("payloads_of_any_size_are_returned_unchanged", sizes),
    ("many_large_payloads_leak_no_descriptor", many),
    ("reused_memory_never_shows_the_data_of_another_request", each_its_own),
    ("a_worker_killed_while_sending_a_large_result_loses_only_its_task", killed_in_a_large_answer),
    ("large_parameters_of_the_wrong_type_are_rejected_by_the_parent", unfit),
];

fn with_reverse(workers: u32) -> actix_dispatch::DispatcherBuilder {
    builder(workers).method("reverse", |_call, (bytes, word): (Bytes, String)| {
        let mut bytes = bytes.into_vec();
        bytes.reverse();
        Ok::<_, String>((word, Bytes::from(bytes)))
    })
}

fn sizes() {
    with_dispatcher(with_reverse(2), async |test| {
        for size in [0, 1, 65_000, 65_535, 65_536, 65_537, 300_000, 5_000_000] {
            let bytes: Vec<u8> = (0..size).map(|nth| (nth % 251) as u8).collect();
            let params = (Bytes::from(bytes.clone()), "word");
            let (word, back): (String, Bytes) = test.call("reverse", params).await.unwrap();
            let mut back = back.into_vec();
            back.reverse();
            assert_eq!((word.as_str(), back.len()), ("word", size));
            assert!(back == bytes);
        }
        let text = "x".repeat(200_000);
        assert_eq!(test.call::<String>("echo", &text).await.unwrap(), text);
        let failed = test.call::<()>("fail", &text).await.unwrap_err();
        assert_eq!(failed.to_string().len(), text.len());
    });
}

/// Returns the number of task memory files that a process has open.
fn memory_files(process: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let names = open.filter_map(|fd| fs::read_link(fd.path()).ok());
    names.filter(|name| name.to_string_lossy().contains("memfd:task")).count()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn many() {
    with_dispatcher(with_reverse(3), async |test| {
        let one = || (Bytes::from(vec![9; 100_000]), "w");
        test.call::<(String, Bytes)>("reverse", one()).await.unwrap();
        let before = descriptors();
        for _round in 0..3 {
            let pending: Vec<_> = (0..100)
                .map(|_task| test.0.dispatcher.send(NewRequest::to("reverse").params(one())))
                .collect();
            for answer in pending {
                let (_word, bytes) =
                    answer.await.unwrap().unwrap().value::<(String, Bytes)>().unwrap();
                assert_eq!(bytes.len(), 100_000);
            }
        }
        // Buffers that are kept for reuse are released if they have not been used for some time.
        wait_until("the parent has closed its memory files", async || descriptors() <= before)
            .await;
        for worker in test.workers().await {
            // The worker gets no further request, so it must release its memory files while it is
            // idle.
            wait_until("the worker has closed its memory files", async || {
                memory_files(worker) == 0
            })
            .await;
        }
    });
}

/// Ends workers that have received a buffer, and checks that no other request gets the buffer's
/// data.
fn each_its_own() {
    let filled = |byte: u8| Bytes::from(vec![byte; 150_000]);
    let builder = builder(2)
        .method("whose", |call: &Call, bytes: Bytes| {
            if bytes.iter().any(|byte| *byte != bytes[0]) {
                return Err("the payload is mixed".to_owned());
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
    with_dispatcher(builder, async move |test| {
        for round in 0..5_u8 {
            let stuck = NewRequest::to("stuck").params(filled(255));
            let stuck = stuck.hard_limit(Duration::from_millis(5));
            let stuck = test.0.dispatcher.send(stuck);
            let pending: Vec<_> = (0..30_u8)
                .map(|nth| NewRequest::to("whose").params(filled(round * 30 + nth)).attempts(2))
                .map(|request| test.0.dispatcher.send(request))
                .collect();
            for (nth, answer) in (0..).zip(pending) {
                let bytes: Bytes = answer.await.unwrap().unwrap().value().unwrap();
                assert!(bytes.iter().all(|byte| *byte == round * 30 + nth), "request {nth}");
            }
            let stuck = stuck.await.unwrap().unwrap_err();
            assert!(matches!(stuck, Failure::TimedOut { .. }), "{stuck:?}");
        }
    });
}

/// Kills a worker while it encodes or sends a large result.
fn killed_in_a_large_answer() {
    let builder = with_reverse(1).method("dies", |_call, (): ()| {
        let process = std::process::id();
        std::thread::spawn(move || {
            // Runs while the value below is encoded or sent.
            let pid = nix::unistd::Pid::from_raw(i32::try_from(process).unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)
        });
        Ok::<_, String>(Bytes::from(vec![3; 30_000_000]))
    });
    with_dispatcher(builder, async |test| {
        for _time in 0..10 {
            match test.call::<Bytes>("dies", ()).await {
                // The result may have arrived just before the kill.
                Ok(bytes) => assert_eq!(bytes.len(), 30_000_000),
                Err(failure) => {
                    assert!(matches!(failure, Failure::WorkerLost { .. }), "{failure:?}");
                }
            }
            let params = (Bytes::from(vec![9; 100_000]), "w");
            // The first attempt may be sent to the worker that is being killed.
            let after = NewRequest::to("reverse").params(params).attempts(5);
            let (_word, back): (String, Bytes) = test.send(after).await.unwrap().value().unwrap();
            assert_eq!(&*back, &[9; 100_000]);
        }
    });
}

fn unfit() {
    with_dispatcher(with_reverse(1).pre_fork(0), async |test| {
        let params = (7_u8, Bytes::from(vec![1; 100_000]));
        let refused = test.send(NewRequest::to("reverse").params(params)).await.unwrap_err();
        let is_unfit = matches!(&refused, Failure::Rejected(Rejection::InvalidParams { .. }));
        assert!(is_unfit, "{refused:?}");
        assert!(test.workers().await.is_empty());
    });
}
