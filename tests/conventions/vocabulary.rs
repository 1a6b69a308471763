//! Checks the vocabulary of `docs/glossary.md`. No identifier uses a word that the glossary
//! replaces. No type name is defined in more than two crates. The daemon and the dispatcher do not
//! both define a public type of the same name, because programs import both crates with `*`.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::source_tree::{read, sources};

/// The most entries that the glossary may have.
const ENTRIES_MAX: usize = 50;
/// The most crates that may define a type of the same name.
const DEFINITIONS_MAX: usize = 2;

/// One line of the glossary: a term, and the words that it replaces.
struct Entry {
    term: String,
    replaces: Vec<String>,
}

fn entries() -> Vec<Entry> {
    let text = read("docs/glossary.md");
    let rows = text.lines().filter(|line| line.starts_with("| **"));
    let entry = |row: &str| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [term, _meaning, replaces] = cells[..] else { panic!("not three cells: {row}") };
        Entry {
            term: term.trim_matches('*').to_owned(),
            replaces: replaces
                .split(", ")
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    };
    rows.map(entry).collect()
}

/// Returns the tokens of a file, without its comments.
fn tokens(path: &str) -> TokenStream {
    read(path).parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Adds all identifiers of a token stream and of its groups to `found`.
fn collect_identifiers(stream: TokenStream, found: &mut BTreeSet<String>) {
    for token in stream {
        match token {
            TokenTree::Ident(identifier) => drop(found.insert(identifier.to_string())),
            TokenTree::Group(group) => collect_identifiers(group.stream(), found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// A definition of a type or a trait.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TypeDefinition {
    name: String,
    /// Whether the type is `pub` without a restriction.
    is_public: bool,
}

/// Adds the types and traits that a token stream defines to `found`. Associated types, which are
/// inside the braces of a trait or an `impl`, do not count as definitions.
fn collect_types(stream: TokenStream, is_associated: bool, found: &mut BTreeSet<TypeDefinition>) {
    let mut keyword = String::new();
    let mut is_public = false;
    let mut is_in_impl = false;
    for token in stream {
        match token {
            TokenTree::Ident(identifier) => {
                let word = identifier.to_string();
                let defines = match keyword.as_str() {
                    "struct" | "enum" | "union" | "trait" => true,
                    "type" => !is_associated,
                    _ => false,
                };
                if defines {
                    found.insert(TypeDefinition { name: word.clone(), is_public });
                }
                is_public = word == "pub" || (is_public && keyword == "pub");
                is_in_impl |= word == "impl" || word == "trait";
                keyword = word;
            }
            TokenTree::Group(group) => {
                let is_body = group.delimiter() == Delimiter::Brace;
                collect_types(group.stream(), is_in_impl && is_body, found);
                is_in_impl &= !is_body;
                is_public = false;
                keyword.clear();
            }
            TokenTree::Punct(punctuation) => {
                is_in_impl &= punctuation.as_char() != ';';
                is_public = false;
                keyword.clear();
            }
            TokenTree::Literal(_) => {
                is_public = false;
                keyword.clear();
            }
        }
    }
}

/// Returns the definitions of all types, by the crate that contains them.
fn types_by_crate() -> BTreeMap<String, BTreeSet<TypeDefinition>> {
    let mut crates: BTreeMap<String, BTreeSet<TypeDefinition>> = BTreeMap::new();
    for path in sources() {
        collect_types(tokens(&path), false, crates.entry(crate_of(&path)).or_default());
    }
    crates
}

/// Returns the words of an identifier, in lower case: `PendingRequest` and `pending_request` both
/// consist of `pending` and `request`.
fn words(identifier: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for letter in identifier.chars() {
        if (letter == '_' || letter.is_uppercase()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter != '_' {
            word.extend(letter.to_lowercase());
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// Returns the folder of the crate to which a file belongs: `crates/NAME`, `examples` or `tests`.
fn crate_of(path: &str) -> String {
    let parts = if path.starts_with("crates/") { 2 } else { 1 };
    path.split('/').take(parts).collect::<Vec<_>>().join("/")
}

#[test]
fn the_glossary_is_short_and_defines_each_term_once() {
    let entries = entries();
    let terms: BTreeSet<&str> = entries.iter().map(|entry| entry.term.as_str()).collect();
    assert_eq!(terms.len(), entries.len(), "a term has two entries");
    assert!((20..=ENTRIES_MAX).contains(&entries.len()), "{} entries", entries.len());
}

#[test]
fn no_identifier_uses_a_word_that_the_glossary_replaces() {
    let replaced: BTreeMap<String, String> = entries()
        .into_iter()
        .flat_map(|entry| entry.replaces.into_iter().map(move |word| (word, entry.term.clone())))
        .collect();
    assert!(replaced.len() >= 50, "the glossary replaces {} words", replaced.len());
    let mut violations = Vec::new();
    for path in sources() {
        let mut identifiers = BTreeSet::new();
        collect_identifiers(tokens(&path), &mut identifiers);
        for identifier in identifiers {
            for word in words(&identifier) {
                if let Some(term) = replaced.get(&word) {
                    violations.push(format!("{path}: `{identifier}`: use \"{term}\""));
                }
            }
        }
    }
    assert!(violations.is_empty(), "{} identifiers: {violations:#?}", violations.len());
}

#[test]
fn no_type_name_is_defined_in_more_than_two_crates() {
    let mut definers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (crate_name, types) in types_by_crate() {
        for definition in types {
            definers.entry(definition.name).or_default().insert(crate_name.clone());
        }
    }
    assert!(definers.len() > 500, "{} type names were found", definers.len());
    definers.retain(|_name, crates| crates.len() > DEFINITIONS_MAX);
    assert!(definers.is_empty(), "{} names: {definers:#?}", definers.len());
}

/// Programs import both `actix-daemon` and `actix-dispatch` with `*`.
#[test]
fn no_public_type_is_defined_in_both_the_daemon_and_the_dispatcher() {
    let mut crates = types_by_crate();
    let mut public_types = |folder: &str| -> BTreeSet<String> {
        let types = crates.remove(folder).unwrap_or_default().into_iter();
        let names: BTreeSet<String> =
            types.filter(|definition| definition.is_public).map(|public| public.name).collect();
        assert!(names.len() > 20, "{folder} has {} public types", names.len());
        names
    };
    let (daemon, dispatch) = (public_types("crates/daemon"), public_types("crates/dispatch"));
    let both: Vec<_> = daemon.intersection(&dispatch).collect();
    assert!(both.is_empty(), "defined in both crates: {both:?}");
}

#[test]
fn identifiers_and_type_definitions_are_parsed() {
    assert_eq!(words("PendingRequest"), ["pending", "request"]);
    assert_eq!(words("is_full_2"), ["is", "full", "2"]);
    assert_eq!(words("_unused"), ["unused"]);
    let source = "struct A; mod m { pub type B = A; } impl T for A { type C = (); fn f() { enum D {} } } \
                  pub trait T { type C; } pub(crate) type E = A;";
    let mut found = BTreeSet::new();
    collect_types(source.parse().unwrap(), false, &mut found);
    let found: Vec<(&str, bool)> =
        found.iter().map(|definition| (definition.name.as_str(), definition.is_public)).collect();
    assert_eq!(found, [("A", false), ("B", true), ("D", false), ("E", false), ("T", true)]);
}
