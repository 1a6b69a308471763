//! Checks that crates depend only on crates of lower layers, and that the table in
//! `docs/ARCHITECTURE.md` lists each of these dependencies.

use std::collections::{BTreeMap, BTreeSet};

use crate::documents::{layers, rows};
use crate::source_tree::{Crate, workspace};

#[test]
fn every_crate_has_a_row_and_a_layer_in_the_architecture_document() {
    let (layers, rows) = (layers(), rows());
    let crates: BTreeMap<String, String> =
        workspace().into_iter().map(|this| (this.name, this.folder)).collect();
    let documented: BTreeMap<String, String> =
        rows.into_iter().map(|(name, row)| (name, row.folder)).collect();
    assert_eq!(crates, documented, "left: the workspace, right: the table");
    let drawn: BTreeSet<&String> = layers.keys().collect();
    assert_eq!(
        crates.keys().collect::<BTreeSet<_>>(),
        drawn,
        "left: the workspace, right: the layers"
    );
}

#[test]
fn crates_depend_only_on_crates_of_lower_layers() {
    let layers = layers();
    for this in workspace() {
        let members = this.needs.iter().filter_map(|need| need.member.as_ref());
        for other in members.chain(&this.tested_with) {
            assert!(
                layers[other] < layers[&this.name],
                "{} in layer {} depends on {other} in layer {}",
                this.name,
                layers[&this.name],
                layers[other]
            );
        }
    }
}

#[test]
fn each_crate_depends_on_exactly_the_crates_in_its_row_of_the_table() {
    let rows = rows();
    for this in workspace() {
        let members = this.needs.iter().filter_map(|need| need.member.clone());
        let depends_on: BTreeSet<String> = members.collect();
        let documented = &rows[&this.name].depends_on;
        assert_eq!(&depends_on, documented, "{}: left: the manifest, right: the table", this.name);
    }
}

#[test]
fn no_crate_depends_on_a_package_that_the_table_forbids() {
    let crates: BTreeMap<String, Crate> =
        workspace().into_iter().map(|this| (this.name.clone(), this)).collect();
    let mut forbidden = 0;
    for (name, row) in rows() {
        let dependencies = dependencies(&crates, &name);
        for other in row.must_not_depend_on {
            assert!(!dependencies.contains(&other), "{name} depends on {other}: {dependencies:?}");
            forbidden += 1;
        }
    }
    assert!(forbidden >= 6, "the table forbids {forbidden} dependencies");
}

/// Returns the dependencies of a crate, and of the members of the workspace that it depends on.
/// Optional dependencies are included if an enabled feature needs them. Each member is included
/// twice: by the name of its package and by the name of its folder.
fn dependencies(crates: &BTreeMap<String, Crate>, name: &str) -> BTreeSet<String> {
    let mut dependencies = BTreeSet::new();
    let mut queue = vec![(name.to_owned(), vec!["default".to_owned()])];
    while let Some((name, features)) = queue.pop() {
        let this = &crates[&name];
        let enabled = enabled_packages(this, features);
        for need in &this.needs {
            if need.optional && !enabled.contains(&need.package) {
                continue;
            }
            dependencies.insert(need.package.clone());
            if let Some(member) = &need.member {
                dependencies.insert(member.clone());
                queue.push((member.clone(), need.features.clone()));
            }
        }
    }
    dependencies
}

/// Returns the optional packages that these features enable.
fn enabled_packages(this: &Crate, mut features: Vec<String>) -> BTreeSet<String> {
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
