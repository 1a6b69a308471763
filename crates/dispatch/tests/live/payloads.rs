//! Large parameters and results, by shared memory; and what of it is left in a worker that dies.

use std::fs;

use actix_dispatch::{Bytes, Failure, NewRequest, Rejection};

use super::play::{builder, play};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("payloads_of_any_size_come_back_as_they_were", sizes),
    ("many_large_payloads_at_once_leave_no_descriptor_behind", many),
    ("large_parameters_that_do_not_fit_are_refused_before_a_worker_sees_them", unfit),
];

fn with_reverse(workers: u32) -> actix_dispatch::Builder {
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

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn many() {
    play(with_reverse(3), async |stage| {
        let one = || (Bytes::from(vec![9; 100_000]), "w");
        stage.ask::<(String, Bytes)>("reverse", one()).await.unwrap();
        let before = descriptors();
        for _round in 0..3 {
            let asked: Vec<_> = (0..100)
                .map(|_task| stage.0.dispatcher.send(NewRequest::to("reverse").params(one())))
                .collect();
            for answer in asked {
                let (_word, bytes) =
                    answer.await.unwrap().unwrap().value::<(String, Bytes)>().unwrap();
                assert_eq!(bytes.len(), 100_000);
            }
        }
        let after = descriptors();
        assert!(after <= before, "{before} descriptors before, {after} after");
    });
}

fn unfit() {
    play(with_reverse(0).max_forks(1), async |stage| {
        let params = (7_u8, Bytes::from(vec![1; 100_000]));
        let refused = stage.send(NewRequest::to("reverse").params(params)).await.unwrap_err();
        let is_unfit = matches!(&refused, Failure::Rejected(Rejection::BadParams { .. }));
        assert!(is_unfit, "{refused:?}");
        assert!(stage.workers().await.is_empty());
    });
}
