//! Compares the tables of statuses and transitions in `docs/scoreboard.md` with the code.
//!
//! The packaged crate does not contain the document. The tests do nothing if the document is
//! missing.

#![cfg(not(loom))]

use std::fs;
use std::path::Path;

use daemon_core::Status;

fn document() -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scoreboard.md")).ok()
}

fn cells(row: &str) -> Vec<&str> {
    row.trim().trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn the_document_lists_the_same_transitions_as_the_code() {
    let Some(document) = document() else { return };
    let (_before, rest) = document.split_once("<!-- moves -->").expect("the table has a start");
    let (table, _after) = rest.split_once("<!-- /moves -->").expect("the table has an end");
    let mut rows = table.trim().lines().map(cells);
    let names = Status::ALL.map(|status| format!("{status:?}"));

    let head = rows.next().expect("the table has a head row");
    assert_eq!(head[1..], names);
    assert!(rows.next().is_some_and(|rule| rule.iter().all(|cell| *cell == "---")));
    for from in Status::ALL {
        let row = rows.next().expect("the table has a row for each status");
        assert_eq!((row[0], row.len()), (format!("{from:?}").as_str(), Status::ALL.len() + 1));
        for (wanted, cell) in Status::ALL.into_iter().zip(&row[1..]) {
            let step =
                from.transition_to(wanted).map(|step| format!("{step:?}")).unwrap_or_default();
            assert_eq!(*cell, step, "from {from} to {wanted}");
        }
    }
    assert_eq!(rows.next(), None);
}

#[test]
fn the_document_lists_the_same_letters_and_kinds_of_statuses_as_the_code() {
    let Some(document) = document() else { return };
    for status in Status::ALL {
        let kind = format!("{:?}", status.kind()).to_lowercase();
        let row = format!("| {status:?} | `{}` | {kind} |", status.letter());
        assert!(document.contains(&row), "{row}");
    }
}
