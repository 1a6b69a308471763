//! Each public error is in its crate's list of sentences, whose tests show that it lists all of it.

use crate::tree::{read, root, sources};

/// The crates whose errors are read by operators, by folder.
fn crates_with_a_list() -> Vec<String> {
    let folders = ["core", "sys", "forkserver", "daemon", "prefork", "service", "dispatch", "ctl"];
    let listed = folders.iter().map(|name| format!("crates/{name}"));
    listed.filter(|folder| root().join(folder).join("src/sentences.rs").exists()).collect()
}

/// The names of the public error types in a file.
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
fn every_public_error_says_in_a_list_what_it_says() {
    let mut looked_for = 0;
    for folder in crates_with_a_list() {
        let list = read(&format!("{folder}/src/sentences.rs"));
        let rooms =
            sources().into_iter().filter(|path| path.starts_with(&format!("{folder}/src/")));
        for path in rooms {
            for error in errors(&read(&path)) {
                let (line, generic) = (format!(": {error} {{"), format!(": {error}<"));
                let is_listed = list.contains(&line) || list.contains(&generic);
                assert!(is_listed, "{error} of {path} is not in {folder}/src/sentences.rs");
                looked_for += 1;
            }
        }
    }
    assert!(looked_for > 25, "{looked_for} errors were found");
}
