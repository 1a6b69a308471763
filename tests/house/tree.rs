//! The repository's files, and what cargo knows of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files of the repository that hold Rust, by their path from its root.
pub(crate) fn sources() -> Vec<String> {
    let mut found = Vec::new();
    for room in ["crates", "examples", "tests"] {
        walk(&root().join(room), "rs", &mut found);
    }
    assert!(found.len() > 100, "the walk has found {} files", found.len());
    found.sort();
    found
}

/// All documents of the repository, by their path from its root.
pub(crate) fn documents() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for room in ["crates", "docs", "examples", "tests"] {
        walk(&root().join(room), "md", &mut found);
    }
    assert!(found.len() > 30, "the walk has found {} documents", found.len());
    found
}

fn walk(folder: &Path, kind: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // What cargo has built below a crate that stands apart is no source.
            if path.file_name().is_some_and(|name| name != "target") {
                walk(&path, kind, found);
            }
        } else if path.extension().is_some_and(|extension| extension == kind) {
            found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// A crate of the workspace.
#[derive(Debug)]
pub(crate) struct Crate {
    /// Its folder's name, by which the document speaks of it.
    pub(crate) name: String,
    /// Its folder, from the repository's root.
    pub(crate) folder: String,
    /// What it is built with, by package: dependencies on each system, not those of tests alone.
    pub(crate) needs: Vec<Need>,
    /// Which crates of the workspace its tests are built with.
    pub(crate) tested_with: BTreeSet<String>,
    /// Its features, and what each switches on.
    pub(crate) features: BTreeMap<String, Vec<String>>,
}

/// A dependency.
#[derive(Debug)]
pub(crate) struct Need {
    /// The package.
    pub(crate) package: String,
    /// The crate of the workspace that it is, by its folder's name.
    pub(crate) of_ours: Option<String>,
    /// Whether it is there only if a feature wants it.
    pub(crate) optional: bool,
    /// Which of its features are switched on.
    pub(crate) features: Vec<String>,
}

/// The crates of the workspace, as cargo tells them.
pub(crate) fn workspace() -> Vec<Crate> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let answer = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let told: Value = serde_json::from_slice(&answer.stdout).unwrap();
    let packages = told["packages"].as_array().unwrap();
    let folder = |package: &Value| {
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        manifest.parent().unwrap().to_owned()
    };
    let name_of = |folder: &Path| folder.file_name().unwrap().to_str().unwrap().to_owned();
    let ours: BTreeMap<&str, String> = packages
        .iter()
        .map(|package| (package["name"].as_str().unwrap(), name_of(&folder(package))))
        .collect();
    let words = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let of = |package: &Value| {
        let mut needs = Vec::new();
        let mut tested_with = BTreeSet::new();
        for dependency in package["dependencies"].as_array().unwrap() {
            let package = dependency["name"].as_str().unwrap();
            let of_ours = ours.get(package).cloned();
            if dependency["kind"] == "dev" {
                tested_with.extend(of_ours);
            } else {
                needs.push(Need {
                    package: package.to_owned(),
                    of_ours,
                    optional: dependency["optional"].as_bool().unwrap(),
                    features: words(&dependency["features"]),
                });
            }
        }
        let features = package["features"].as_object().unwrap();
        let folder = folder(package);
        Crate {
            name: name_of(&folder),
            folder: folder.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(),
            needs,
            tested_with,
            features: features.iter().map(|(name, on)| (name.clone(), words(on))).collect(),
        }
    };
    packages.iter().map(of).collect()
}
