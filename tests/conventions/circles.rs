//! Checks that the modules of a crate do not import each other in a circle. Two modules beside each
//! other are compared together with their submodules; a module and its own submodules may import
//! each other. Code for tests is exempt.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::slice::from_ref;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::source_tree::{read, root, workspace};

/// The segments of a path, for example `crate::parent::Registry`.
type Segments = Vec<String>;

/// What one module defines and names.
#[derive(Debug, Default)]
struct Module {
    /// The file that contains the module. Modules of the same name for several platforms may have
    /// several.
    files: BTreeSet<PathBuf>,
    definitions: BTreeSet<String>,
    /// The names that `use` brings into the module, with their paths.
    imports: BTreeMap<String, Segments>,
    /// The modules from which `use` brings in all names.
    globs: Vec<Segments>,
    /// Every path that the module names, and the file that names it.
    paths: Vec<(PathBuf, Segments)>,
}

/// The modules of one crate, by their paths without `crate`.
#[derive(Debug, Default)]
struct Modules(BTreeMap<Segments, Module>);

/// The position of the code that is read.
struct Place {
    module: Segments,
    file: PathBuf,
    /// The folder of the files of the module's submodules.
    folder: PathBuf,
    /// The folder to which the attribute `path` of a submodule is relative.
    base: PathBuf,
}

impl Modules {
    fn of_crate(file: &str) -> Self {
        let file = PathBuf::from(file);
        let base = file.parent().unwrap().to_owned();
        let mut modules = Self::default();
        modules.read_file(&Place { module: Vec::new(), file, folder: base.clone(), base });
        modules
    }

    fn read_file(&mut self, place: &Place) {
        let text = read(place.file.to_str().unwrap());
        let tokens =
            text.parse().unwrap_or_else(|error| panic!("{}: {error}", place.file.display()));
        self.read_code(place, tokens);
    }

    fn read_code(&mut self, place: &Place, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let module = self.0.entry(place.module.clone()).or_default();
        module.files.insert(place.file.clone());
        let (mut at, mut path_attribute) = (0, None);
        while at < tokens.len() {
            let word = word(&tokens, at);
            match (&tokens[at], word.as_str(), tokens.get(at + 1)) {
                (TokenTree::Group(attribute), "", _)
                    if is_punct(&tokens, at.wrapping_sub(1), '#') =>
                {
                    let text = attribute.stream().to_string().replace(' ', "");
                    if let Some(path) = text.strip_prefix("path=") {
                        path_attribute = Some(path.trim_matches('"').to_owned());
                    }
                    if text == "cfg(test)" || text.starts_with("cfg(all(test") {
                        at = end_of_item(&tokens, at + 1);
                    }
                }
                (TokenTree::Group(group), _, _) => self.read_code(place, group.stream()),
                (_, "mod", Some(TokenTree::Ident(name))) => {
                    let name = name.to_string();
                    let module = [&place.module[..], from_ref(&name)].concat();
                    let folder = place.folder.join(&name);
                    if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                        let (file, base) = (place.file.clone(), folder.clone());
                        self.read_code(&Place { module, file, folder, base }, body.stream());
                    } else {
                        let beside = place.folder.join(format!("{name}.rs"));
                        let file = match path_attribute.take() {
                            Some(path) => place.base.join(path),
                            None if root().join(&beside).exists() => beside,
                            None => folder.join("mod.rs"),
                        };
                        let base = file.parent().unwrap().to_owned();
                        let is_mod = file.ends_with("mod.rs");
                        let folder = if is_mod { base.clone() } else { file.with_extension("") };
                        self.read_file(&Place { module, file, folder, base });
                    }
                    at += 2;
                }
                (_, "use", Some(_)) => {
                    let end = end_of_item(&tokens, at);
                    let end = if is_punct(&tokens, end, ';') { end } else { end + 1 };
                    self.read_use(place, &tokens[at + 1..end], Vec::new());
                    at = end;
                }
                (_, "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static", Some(_)) => {
                    let name = self::word(&tokens, at + 1);
                    self.0.get_mut(&place.module).unwrap().definitions.insert(name);
                }
                (TokenTree::Ident(_), _, _) if !is_separator(&tokens, at.wrapping_sub(2)) => {
                    let mut path = vec![word];
                    while is_separator(&tokens, at + 1) && !self::word(&tokens, at + 3).is_empty() {
                        at += 3;
                        path.push(self::word(&tokens, at));
                    }
                    if path.len() > 1 {
                        let module = self.0.get_mut(&place.module).unwrap();
                        module.paths.push((place.file.clone(), path));
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Reads a list of the trees of a `use` declaration, each of which follows `prefix`.
    fn read_use(&mut self, place: &Place, tokens: &[TokenTree], prefix: Segments) {
        for tree in tokens.split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ','))
        {
            let mut path = prefix.clone();
            let mut alias = None;
            for (at, token) in tree.iter().enumerate() {
                match token {
                    TokenTree::Ident(name) if name == "as" => alias = Some(word(tree, at + 1)),
                    TokenTree::Ident(_) if alias.is_some() => {}
                    TokenTree::Ident(name) if name == "self" && !path.is_empty() => {}
                    TokenTree::Ident(name) => path.push(name.to_string()),
                    TokenTree::Group(group) => {
                        let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                        self.read_use(place, &inner, path.clone());
                        alias = Some(String::new());
                    }
                    TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                }
            }
            let Some(last) = path.last().cloned() else { continue };
            let module = self.0.get_mut(&place.module).unwrap();
            match tree.last() {
                Some(TokenTree::Punct(_)) => module.globs.push(path.clone()),
                _ => drop(module.imports.insert(alias.unwrap_or(last), path.clone())),
            }
            module.paths.push((place.file.clone(), path));
        }
    }

    /// Returns the path from the root of the crate, or `None` if the path leads to another crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Segments> {
        let (first, rest) = path.split_first()?;
        let mut base = module.to_vec();
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([base, rest.to_vec()].concat()),
            "super" => {
                let up = path.iter().take_while(|segment| *segment == "super").count();
                base.truncate(base.len().saturating_sub(up));
                Some([&base, &path[up..]].concat())
            }
            _ => {
                base.push(first.clone());
                self.0.contains_key(&base).then(|| [&base, rest].concat())
            }
        }
    }

    /// Returns the module that contains the definition to which a path leads, through all names
    /// that other modules only import.
    fn find(&self, path: &[String], depth: u32) -> Option<Segments> {
        let mut here = Vec::new();
        for (at, segment) in path.iter().enumerate() {
            let child = [&here[..], from_ref(segment)].concat();
            if self.0.contains_key(&child) {
                here = child;
                continue;
            }
            let module = &self.0[&here];
            if depth == 0 {
                break;
            }
            if let Some(import) = module.imports.get(segment) {
                let import = self.absolute(&here, import)?;
                return self.find(&[&import, &path[at + 1..]].concat(), depth - 1);
            }
            let globs = module.globs.iter().filter_map(|glob| self.absolute(&here, glob));
            for glob in globs.filter_map(|glob| self.find(&glob, depth - 1)) {
                let found = self.find(&[&glob, &path[at..]].concat(), depth - 1);
                if found.as_ref().is_some_and(|found| {
                    *found != glob || self.0[&glob].definitions.contains(segment)
                }) {
                    return found;
                }
            }
            break;
        }
        Some(here)
    }

    /// Returns the imports of which the circles consist, each as two files.
    fn circles(&self) -> BTreeSet<String> {
        // Which module imports which other beside it, with the files whose imports these are.
        let mut imports: BTreeMap<(&[String], &[String]), BTreeSet<String>> = BTreeMap::new();
        for (from, module) in &self.0 {
            for (file, path) in &module.paths {
                let target = self.absolute(from, path).map(|path| self.find(&path, 8));
                let Some((to, target)) = target.and_then(|to| self.0.get_key_value(&to?)) else {
                    continue;
                };
                let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
                if from.len() > shared && to.len() > shared {
                    let files = imports.entry((&from[..=shared], &to[..=shared])).or_default();
                    files.extend(
                        target
                            .files
                            .iter()
                            .map(|to| format!("{} -> {}", file.display(), to.display())),
                    );
                }
            }
        }
        // A module that imports none of the others, or that none of them imports, is in no circle.
        let mut before = usize::MAX;
        while imports.len() < before {
            before = imports.len();
            let (from, to): (BTreeSet<_>, BTreeSet<_>) = imports.keys().copied().unzip();
            imports.retain(|(a, b), _files| to.contains(a) && from.contains(b));
        }
        imports.into_values().flatten().collect()
    }
}

/// Returns the word at this position, or an empty string.
fn word(tokens: &[TokenTree], at: usize) -> String {
    match tokens.get(at) {
        Some(TokenTree::Ident(word)) => word.to_string(),
        _ => String::new(),
    }
}

fn is_punct(tokens: &[TokenTree], at: usize, letter: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == letter)
}

/// Returns whether `::` is at this position.
fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens, at, ':') && is_punct(tokens, at.wrapping_add(1), ':')
}

/// Returns the position of the semicolon or the braces that end the item at this position.
fn end_of_item(tokens: &[TokenTree], start: usize) -> usize {
    let is_end = |at: &usize| {
        let is_body = |group: &Group| group.delimiter() == Delimiter::Brace;
        is_punct(tokens, *at, ';')
            || matches!(&tokens[*at], TokenTree::Group(group) if is_body(group))
    };
    (start..tokens.len()).find(is_end).unwrap_or(tokens.len())
}

#[test]
fn modules_do_not_import_each_other_in_a_circle() {
    let (mut modules, mut found) = (0, BTreeSet::new());
    for this in workspace() {
        for of_crate in this.roots.iter().map(|file| Modules::of_crate(file)) {
            modules += of_crate.0.len();
            found.extend(of_crate.circles());
        }
    }
    assert!(modules > 400, "{modules} modules were found");
    assert!(found.is_empty(), "circles: {found:#?}");
}

#[test]
fn a_circle_is_found_through_submodules_and_reexported_names() {
    let has_circle = |code: &str| {
        let file = PathBuf::from("lib.rs");
        let (folder, base) = (PathBuf::new(), PathBuf::new());
        let mut modules = Modules::default();
        modules.read_code(&Place { module: Vec::new(), file, folder, base }, code.parse().unwrap());
        !modules.circles().is_empty()
    };
    let is_circle = |imports: &str| {
        has_circle(&format!(
            "pub use {{a::{{inner::B as C, *}}, b::D}}; mod b {{ pub struct D; {imports} }}
             mod a {{ pub mod inner {{ pub struct B; }} pub struct A; use crate::D; }}"
        ))
    };
    assert!(!is_circle("use std::A; #[cfg(test)] mod tests { use crate::C; }"));
    assert!(is_circle("use crate::{C};"));
    assert!(is_circle("mod c { use super::super::A; }"));
    assert!(is_circle("fn f() { crate::a::g::<C>(); }"));
    assert!(!has_circle("mod a { mod b { use super::X; } pub struct X; use b::Y; }"));
}
