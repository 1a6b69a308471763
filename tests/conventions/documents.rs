//! Checks the documents against the code: the layers, crates, files and functions in
//! `docs/ARCHITECTURE.md`, all links, the list of settings, and the index of decision records. Also
//! checks that no source file is too long.

use std::collections::{BTreeMap, BTreeSet};

use crate::source_tree::{documents, read, root, sources};

/// A row of the table of crates.
#[derive(Debug)]
pub(crate) struct Row {
    /// The crate's folder.
    pub(crate) folder: String,
    /// The members of the workspace that the crate depends on, by the names of their folders.
    pub(crate) depends_on: BTreeSet<String>,
    /// The packages that the crate must not depend on.
    pub(crate) must_not_depend_on: Vec<String>,
}

fn text() -> String {
    read("docs/ARCHITECTURE.md")
}

/// Returns the lines of a section of `docs/ARCHITECTURE.md`.
fn section(heading: &str) -> Vec<String> {
    let text = text();
    let mut lines = text.lines().skip_while(|line| *line != heading);
    assert_eq!(lines.next(), Some(heading), "docs/ARCHITECTURE.md has no such heading");
    lines.take_while(|line| !line.starts_with("## ")).map(str::to_owned).collect()
}

/// Returns the layer of each crate.
pub(crate) fn layers() -> BTreeMap<String, u32> {
    let mut layers = BTreeMap::new();
    for line in section("## Layers") {
        let Some(drawn) = line.strip_prefix("    ") else { continue };
        let mut words = drawn.split_whitespace();
        let Some(Ok(layer)) = words.next().map(str::parse) else { continue };
        // Text in parentheses is not a crate: it is the name of a package or a remark.
        let rest = words.collect::<Vec<_>>().join(" ");
        let names = rest.split('(').flat_map(|part| part.rsplit(')').next());
        for name in names.flat_map(str::split_whitespace) {
            let before = layers.insert(name.to_owned(), layer);
            assert_eq!(before, None, "{name} is in two layers");
        }
    }
    assert!(!layers.is_empty(), "docs/ARCHITECTURE.md lists no layers");
    layers
}

/// Returns the rows of the table of crates, by the names of the crates' folders.
pub(crate) fn rows() -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    let lines = section("## Layers");
    let mut table = lines.iter().filter(|line| line.starts_with('|'));
    assert_eq!(table.next().unwrap(), "| crate | is | must not | depends on |");
    for line in table.skip(1) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [crates, _is, must_not, depends_on] = cells[..] else { panic!("{line}") };
        for link in crates.split(", ") {
            let (_name, path) = link.split_once("](../").unwrap();
            let folder = path.trim_end_matches(')').to_owned();
            let name = folder.rsplit('/').next().unwrap().to_owned();
            let depends_on = match depends_on {
                "none of these" => BTreeSet::new(),
                names => names.split(", ").map(str::to_owned).collect(),
            };
            let must_not_depend_on = must_not_depend_on(must_not);
            assert!(
                rows.insert(name, Row { folder, depends_on, must_not_depend_on }).is_none(),
                "{line}"
            );
        }
    }
    rows
}

/// Returns the names after "depend on" in a cell, for example "actix, tokio or the fork server".
fn must_not_depend_on(cell: &str) -> Vec<String> {
    let Some((_before, names)) = cell.split_once("depend on ") else { return Vec::new() };
    names
        .split(", ")
        .flat_map(|names| names.split(" or "))
        .map(|name| name.trim_start_matches("the ").to_owned())
        .collect()
}

#[test]
fn every_file_and_function_named_in_the_architecture_document_exists() {
    let mut checked = 0;
    let tables = ["## Where to begin reading", "## What a change touches"].map(section);
    for line in tables.concat().into_iter().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [_for, reading] = cells[..] else { continue };
        let (mut folder, mut file) = (None, String::new());
        for (index, part) in reading.split('`').enumerate() {
            // Outside of the backquotes, `core: ` precedes the files of the crate `core`.
            if index % 2 == 0 {
                let start = part.rsplit_once(':').map(|(before, _space)| before);
                let name = start.and_then(|before| before.split([' ', ';']).next_back());
                folder = name.map(str::to_owned).or(folder);
                continue;
            }
            let folder = folder.as_deref().unwrap_or_else(|| panic!("{part} has no crate: {line}"));
            checked += 1;
            if !part.ends_with(".rs") && !part.ends_with('/') {
                let function = format!("fn {part}");
                let text = read(&file);
                let found = text
                    .match_indices(&function)
                    .any(|(at, _)| text[at + function.len()..].starts_with(['(', '<']));
                assert!(found, "{file} has no function {part}: {line}");
                continue;
            }
            file = format!("crates/{folder}/src/{part}");
            assert!(root().join(&file).exists(), "{file} does not exist: {line}");
        }
    }
    assert!(checked > 40, "the document names {checked} files and functions");
}

#[test]
fn every_link_in_the_documents_has_a_target() {
    for document in documents() {
        let folder = root().join(&document).parent().unwrap().to_owned();
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                assert!(folder.join(target).exists(), "{document} links to {link}");
            }
        }
    }
}

#[test]
fn every_setting_is_documented() {
    let document = read("docs/configuration.md");
    let mut settings = 0;
    for file in ["builder.rs", "model.rs", "babysitter/settings.rs"] {
        let text = read(&format!("crates/daemon/src/{file}"));
        let setters = text.lines().filter_map(|line| line.trim().strip_prefix("pub fn "));
        for setter in setters.filter_map(|setter| setter.split_once("(mut self")) {
            let forms = [format!("`{}(", setter.0), format!("`.{}(", setter.0)];
            let is_documented = forms.iter().any(|form| document.contains(form));
            assert!(is_documented, "{file}: {} is not in docs/configuration.md", setter.0);
            settings += 1;
        }
    }
    assert!(settings > 40, "{settings} settings were found");
}

#[test]
fn every_decision_record_is_in_the_index() {
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

/// The maximum number of lines of a source file. A longer file probably has more than one subject.
const LINES_MAX: usize = 800;

#[test]
fn no_source_file_has_more_lines_than_the_maximum() {
    let long: Vec<String> = sources()
        .into_iter()
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(lines, _path)| *lines > LINES_MAX)
        .map(|(lines, path)| format!("{path}: {lines}"))
        .collect();
    assert!(long.is_empty(), "files to split: {long:#?}");
}
