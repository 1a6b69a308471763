//! `docs/ARCHITECTURE.md`, read: its floors, its table of crates, the files that it names.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{documents, read, root, sources};

/// What the document says of a crate.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its folder.
    pub(crate) folder: String,
    /// What it may build on, by folders' names.
    pub(crate) builds_on: BTreeSet<String>,
    /// What it may not know, as the document names it.
    pub(crate) may_not_know: Vec<String>,
}

fn text() -> String {
    read("docs/ARCHITECTURE.md")
}

/// The lines below a heading, up to the next.
fn below(heading: &str) -> Vec<String> {
    let text = text();
    let mut lines = text.lines().skip_while(|line| *line != heading);
    assert_eq!(lines.next(), Some(heading), "the document has no such heading");
    lines.take_while(|line| !line.starts_with("## ")).map(str::to_owned).collect()
}

/// The floor on which each crate stands.
pub(crate) fn floors() -> BTreeMap<String, u32> {
    let mut floors = BTreeMap::new();
    for line in below("## Floors") {
        let Some(drawn) = line.strip_prefix("    ") else { continue };
        let mut words = drawn.split_whitespace();
        let Some(Ok(floor)) = words.next().map(str::parse) else { continue };
        // What stands in brackets is a package's name, or a remark.
        let rest = words.collect::<Vec<_>>().join(" ");
        let names = rest.split('(').flat_map(|part| part.rsplit(')').next());
        for name in names.flat_map(str::split_whitespace) {
            let before = floors.insert(name.to_owned(), floor);
            assert_eq!(before, None, "{name} stands on two floors");
        }
    }
    assert!(!floors.is_empty(), "the document draws no floors");
    floors
}

/// The table of crates.
pub(crate) fn rows() -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    let lines = below("## Floors");
    let mut table = lines.iter().filter(|line| line.starts_with('|'));
    assert_eq!(table.next().unwrap(), "| crate | is | may not | builds on |");
    for line in table.skip(1) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [crates, _is, may_not, builds_on] = cells[..] else { panic!("{line}") };
        for link in crates.split(", ") {
            let (_name, path) = link.split_once("](../").unwrap();
            let folder = path.trim_end_matches(')').to_owned();
            let name = folder.rsplit('/').next().unwrap().to_owned();
            let builds_on = match builds_on {
                "nothing of ours" => BTreeSet::new(),
                names => names.split(", ").map(str::to_owned).collect(),
            };
            let may_not_know = may_not_know(may_not);
            assert!(rows.insert(name, Row { folder, builds_on, may_not_know }).is_none(), "{line}");
        }
    }
    rows
}

/// What stands behind "know": `actix, tokio or the fork server`.
fn may_not_know(cell: &str) -> Vec<String> {
    let Some((_before, names)) = cell.split_once("know ") else { return Vec::new() };
    names
        .split(", ")
        .flat_map(|names| names.split(" or "))
        .map(|name| name.trim_start_matches("the ").to_owned())
        .collect()
}

#[test]
fn every_file_and_function_that_the_document_names_is_there() {
    let mut looked_for = 0;
    let tables = ["## Where to begin reading", "## Where it happens", "## What a change touches"];
    let tables = tables.map(below);
    for line in tables.concat().into_iter().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [_for, reading] = cells[..] else { continue };
        let (mut room, mut file) = (None, String::new());
        for (index, part) in reading.split('`').enumerate() {
            // Between the backquotes stands what is said of the files: `core: ` begins a crate's.
            if index % 2 == 0 {
                let begins = part.rsplit_once(':').map(|(before, _space)| before);
                let name = begins.and_then(|before| before.split([' ', ';']).next_back());
                room = name.map(str::to_owned).or(room);
                continue;
            }
            let room = room.as_deref().unwrap_or_else(|| panic!("whose is {part}? {line}"));
            looked_for += 1;
            if !part.ends_with(".rs") && !part.ends_with('/') {
                let function = format!("fn {part}");
                let text = read(&file);
                let found = text
                    .match_indices(&function)
                    .any(|(at, _)| text[at + function.len()..].starts_with(['(', '<']));
                assert!(found, "{file} has no function {part}: {line}");
                continue;
            }
            file = format!("crates/{room}/src/{part}");
            assert!(root().join(&file).exists(), "{file} is named, and not there: {line}");
        }
    }
    assert!(looked_for > 60, "the document names {looked_for} files and functions");
}

#[test]
fn every_link_of_the_documents_leads_to_something() {
    for document in documents() {
        let folder = root().join(&document).parent().unwrap().to_owned();
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let place = link.split('#').next().unwrap();
            if !place.is_empty() && !place.contains("://") {
                assert!(folder.join(place).exists(), "{document} links to {link}");
            }
        }
    }
}

#[test]
fn every_setting_is_in_the_document_of_settings() {
    let document = read("docs/configuration.md");
    let mut settings = 0;
    for room in ["builder.rs", "model.rs", "babysitter/settings.rs"] {
        let text = read(&format!("crates/daemon/src/{room}"));
        let steps = text.lines().filter_map(|line| line.trim().strip_prefix("pub fn "));
        for step in steps.filter_map(|step| step.split_once("(mut self")) {
            let told = [format!("`{}(", step.0), format!("`.{}(", step.0)];
            let is_told = told.iter().any(|told| document.contains(told));
            assert!(is_told, "{room} has a step that the document does not tell: {}", step.0);
            settings += 1;
        }
    }
    assert!(settings > 40, "{settings} settings were found");
}

#[test]
fn every_decision_is_in_their_index_by_its_title() {
    let index = read("docs/adr/README.md");
    let mut decisions = 0;
    for path in documents() {
        let Some(page) = path.strip_prefix("docs/adr/0") else { continue };
        let text = read(&path);
        let (number, title) = text.lines().next().and_then(|line| line.split_once(": ")).unwrap();
        let row = format!("| [{}](0{page}) | {title} |", number.trim_start_matches("# "));
        assert!(index.contains(&row), "the index has no line {row}");
        decisions += 1;
    }
    assert!(decisions >= 19, "{decisions} decisions were found");
}

/// A file is a room: past so many lines it is several.
const LINES_MAX: usize = 400;

#[test]
fn no_file_has_grown_past_a_room() {
    let long: Vec<String> = sources()
        .into_iter()
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(lines, _path)| *lines > LINES_MAX)
        .map(|(lines, path)| format!("{path}: {lines}"))
        .collect();
    assert!(long.is_empty(), "split them along their ideas: {long:#?}");
}
