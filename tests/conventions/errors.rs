//! Checks that every public error type is in its crate's list of errors, `src/sentences.rs`. The
//! crate's own tests compare the texts of all variants in this list with a snapshot.

use std::fs;

use crate::source_tree::{read, root, sources};

/// Returns the snapshot with the texts of a crate's errors, if the crate has a list of errors.
fn snapshot(folder: &str) -> Option<String> {
    let folder = format!("{folder}/src/snapshots");
    let mut files = fs::read_dir(root().join(&folder)).ok()?;
    let name = files.find_map(|file| {
        let name = file.unwrap().file_name().into_string().unwrap();
        name.ends_with("__sentences__errors.snap").then_some(name)
    });
    Some(read(&format!("{folder}/{}", name?)))
}

/// Returns the names of the public error types in a file.
fn errors(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_error = false;
    for line in text.lines() {
        if line.starts_with("#[derive(") {
            is_error = line.contains("thiserror::Error");
        }
        let named = ["pub enum ", "pub struct "].iter().find_map(|kind| line.strip_prefix(kind));
        if let Some(rest) = named {
            let end = rest.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(rest.len());
            if is_error {
                found.push(rest[..end].to_owned());
            }
            is_error = false;
        }
        if let Some((_, name)) = line.split_once("std::error::Error for ") {
            found.push(name.trim_end_matches(" {").to_owned());
        }
    }
    found
}

#[test]
fn every_public_error_type_is_in_its_crates_snapshot() {
    let mut checked = 0;
    for path in sources() {
        let Some((folder, _file)) = path.split_once("/src/") else { continue };
        // The daemon's list includes the errors of crates that have no list.
        let texts = snapshot(folder).or_else(|| snapshot("crates/daemon")).unwrap();
        for error in errors(&read(&path)) {
            let is_error = |line: &str| {
                line.strip_prefix(&error).is_some_and(|rest| rest.starts_with([':', '<']))
            };
            assert!(texts.lines().any(is_error), "{error} of {path} is not in the snapshot");
            checked += 1;
        }
    }
    assert!(checked > 25, "{checked} errors were found");
}
