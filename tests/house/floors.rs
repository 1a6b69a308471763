//! Arrows point down only, and each is in the document's table.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::{floors, rows};
use crate::tree::{Crate, workspace};

#[test]
fn every_crate_has_its_row_and_its_floor() {
    let (floors, rows) = (floors(), rows());
    let crates: BTreeMap<String, String> =
        workspace().into_iter().map(|this| (this.name, this.folder)).collect();
    let told: BTreeMap<String, String> =
        rows.into_iter().map(|(name, row)| (name, row.folder)).collect();
    assert_eq!(crates, told, "left the workspace, right the table");
    let drawn: BTreeSet<&String> = floors.keys().collect();
    assert_eq!(
        crates.keys().collect::<BTreeSet<_>>(),
        drawn,
        "left the workspace, right the floors"
    );
}

#[test]
fn arrows_point_down_only() {
    let floors = floors();
    for this in workspace() {
        let ours = this.needs.iter().filter_map(|need| need.of_ours.as_ref());
        for other in ours.chain(&this.tested_with) {
            assert!(
                floors[other] < floors[&this.name],
                "{} stands on floor {} and builds on {other}, of floor {}",
                this.name,
                floors[&this.name],
                floors[other]
            );
        }
    }
}

#[test]
fn each_crate_builds_on_what_the_table_says_and_on_nothing_else() {
    let rows = rows();
    for this in workspace() {
        let ours = this.needs.iter().filter_map(|need| need.of_ours.clone());
        let builds_on: BTreeSet<String> = ours.collect();
        let told = &rows[&this.name].builds_on;
        assert_eq!(&builds_on, told, "{}: left its manifest, right the table", this.name);
    }
}

#[test]
fn nobody_knows_what_the_table_says_that_he_may_not() {
    let crates: BTreeMap<String, Crate> =
        workspace().into_iter().map(|this| (this.name.clone(), this)).collect();
    let mut forbidden = 0;
    for (name, row) in rows() {
        let known = known(&crates, &name);
        for other in row.may_not_know {
            assert!(!known.contains(&other), "{name} knows {other}: {known:?}");
            forbidden += 1;
        }
    }
    assert!(forbidden >= 6, "the table forbids to know {forbidden} things");
}

/// What a crate is built with, itself and by way of ours, with the features that it switches on:
/// packages, and ours by their folders' names too.
fn known(crates: &BTreeMap<String, Crate>, name: &str) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut to_look_at = vec![(name.to_owned(), vec!["default".to_owned()])];
    while let Some((name, features)) = to_look_at.pop() {
        let this = &crates[&name];
        let wanted = switched_on(this, features);
        for need in &this.needs {
            if need.optional && !wanted.contains(&need.package) {
                continue;
            }
            known.insert(need.package.clone());
            if let Some(ours) = &need.of_ours {
                known.insert(ours.clone());
                to_look_at.push((ours.clone(), need.features.clone()));
            }
        }
    }
    known
}

/// The optional packages that these features bring.
fn switched_on(this: &Crate, mut features: Vec<String>) -> BTreeSet<String> {
    let mut packages = BTreeSet::new();
    while let Some(feature) = features.pop() {
        match feature.strip_prefix("dep:") {
            Some(package) => {
                packages.insert(package.to_owned());
            }
            None => features.extend(this.features.get(&feature).cloned().unwrap_or_default()),
        }
    }
    packages
}
