//! No public type is defined in both `actix-daemon` and `actix-dispatch`: programs import both with `*`.

use std::collections::BTreeSet;

use crate::source_tree::{read, sources};

/// Returns the names of the public types and traits at the top level of a crate's modules.
fn public_types(folder: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in sources().into_iter().filter(|path| path.starts_with(&format!("{folder}/src/"))) {
        for line in read(&path).lines() {
            let kinds = ["pub struct ", "pub enum ", "pub trait ", "pub type ", "pub union "];
            if let Some(rest) = kinds.iter().find_map(|kind| line.strip_prefix(kind)) {
                let end = rest.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(rest.len());
                names.insert(rest[..end].to_owned());
            }
        }
    }
    assert!(names.len() > 20, "{folder} has {} public types", names.len());
    names
}

#[test]
fn no_public_type_is_defined_in_both_the_daemon_and_the_dispatcher() {
    let (daemon, dispatch) = (public_types("crates/daemon"), public_types("crates/dispatch"));
    let both: Vec<_> = daemon.intersection(&dispatch).collect();
    assert!(both.is_empty(), "defined in both crates: {both:?}");
}
