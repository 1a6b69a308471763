//! Checks that every public error type is in its crate's list of error messages,
//! `src/sentences.rs`. The crate's own tests compare the message of every variant with this list.

use crate::source_tree::{read, root, sources};

/// Returns the folders of the crates that have a list of error messages.
fn crates_with_a_list() -> Vec<String> {
    let folders = ["core", "sys", "forkserver", "daemon", "prefork", "service", "dispatch", "ctl"];
    let listed = folders.iter().map(|name| format!("crates/{name}"));
    listed.filter(|folder| root().join(folder).join("src/sentences.rs").exists()).collect()
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
fn every_public_error_type_is_in_its_crates_list_of_error_messages() {
    let mut checked = 0;
    for folder in crates_with_a_list() {
        let list = read(&format!("{folder}/src/sentences.rs"));
        let files =
            sources().into_iter().filter(|path| path.starts_with(&format!("{folder}/src/")));
        for path in files {
            for error in errors(&read(&path)) {
                let (line, generic) = (format!(": {error} {{"), format!(": {error}<"));
                let is_listed = list.contains(&line) || list.contains(&generic);
                assert!(is_listed, "{error} of {path} is not in {folder}/src/sentences.rs");
                checked += 1;
            }
        }
    }
    assert!(checked > 25, "{checked} errors were found");
}
