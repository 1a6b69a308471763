//! The files of the repository, and the workspace as cargo describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Returns the root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Reads a file of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the paths of all Rust files, relative to the root.
pub(crate) fn sources() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["crates", "examples", "tests"] {
        walk(&root().join(folder), "rs", &mut found);
    }
    assert!(found.len() > 100, "only {} files were found", found.len());
    found.sort();
    found
}

/// Returns the paths of all Markdown files, relative to the root.
pub(crate) fn documents() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for folder in ["crates", "docs", "examples", "tests"] {
        walk(&root().join(folder), "md", &mut found);
    }
    assert!(found.len() > 30, "only {} documents were found", found.len());
    found
}

fn walk(folder: &Path, kind: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // The fuzz crate is not a member of the workspace and has its own target folder.
            if path.file_name().is_some_and(|name| name != "target") {
                walk(&path, kind, found);
            }
        } else if path.extension().is_some_and(|extension| extension == kind) {
            found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// A member of the workspace.
#[derive(Debug)]
pub(crate) struct Crate {
    /// The name of the crate's folder. The documents use this name.
    pub(crate) name: String,
    /// The path of the crate's folder, relative to the root.
    pub(crate) folder: String,
    /// The root files of the crate's libraries, programs and tests, relative to the root.
    pub(crate) roots: Vec<String>,
    /// The crate's dependencies for all platforms, without dev-dependencies.
    pub(crate) needs: Vec<Need>,
    /// The members of the workspace among the dev-dependencies.
    pub(crate) tested_with: BTreeSet<String>,
    /// The features of the crate, and what each of them enables.
    pub(crate) features: BTreeMap<String, Vec<String>>,
}

/// A dependency of a crate.
#[derive(Debug)]
pub(crate) struct Need {
    /// The name of the package.
    pub(crate) package: String,
    /// The name of the package's folder, if the package is a member of the workspace.
    pub(crate) member: Option<String>,
    /// Whether the dependency is optional. An optional dependency is used only if a feature enables
    /// it.
    pub(crate) optional: bool,
    /// The features of the package that the crate enables.
    pub(crate) features: Vec<String>,
}

/// Returns the members of the workspace.
pub(crate) fn workspace() -> Vec<Crate> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let answer = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let metadata: Value = serde_json::from_slice(&answer.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let folder = |package: &Value| {
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        manifest.parent().unwrap().to_owned()
    };
    let name_of = |folder: &Path| folder.file_name().unwrap().to_str().unwrap().to_owned();
    let members: BTreeMap<&str, String> = packages
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
            let member = members.get(package).cloned();
            if dependency["kind"] == "dev" {
                tested_with.extend(member);
            } else {
                needs.push(Need {
                    package: package.to_owned(),
                    member,
                    optional: dependency["optional"].as_bool().unwrap(),
                    features: words(&dependency["features"]),
                });
            }
        }
        let features = package["features"].as_object().unwrap();
        let folder = folder(package);
        let relative =
            |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let targets = package["targets"].as_array().unwrap().iter();
        Crate {
            name: name_of(&folder),
            folder: relative(&folder),
            roots: targets
                .map(|target| relative(Path::new(target["src_path"].as_str().unwrap())))
                .collect(),
            needs,
            tested_with,
            features: features.iter().map(|(name, on)| (name.clone(), words(on))).collect(),
        }
    };
    packages.iter().map(of).collect()
}
