//! Unsafe code stands in the crates that call the system, one call a block, each with its reason; every
//! other crate forbids it.

use crate::tree::{read, sources, workspace};

/// The crates that may hold unsafe code.
const ROOMS: [&str; 2] = ["crates/sys", "crates/winsys"];

fn may_be_unsafe(path: &str) -> bool {
    ROOMS.iter().any(|room| path.strip_prefix(room).is_some_and(|rest| rest.starts_with('/')))
}

/// The lines of a section of a manifest.
fn section(manifest: &str, name: &str) -> Vec<String> {
    let heading = format!("[{name}]");
    let lines = manifest.lines().skip_while(|line| **line != heading).skip(1);
    lines.take_while(|line| !line.starts_with('[')).map(str::to_owned).collect()
}

#[test]
fn every_crate_forbids_unsafe_code_but_those_that_call_the_system() {
    let rules = section(&read("Cargo.toml"), "workspace.lints.rust");
    assert!(rules.iter().any(|rule| rule == "unsafe_code = \"forbid\""), "{rules:#?}");
    for this in workspace() {
        let manifest = read(&format!("{}/Cargo.toml", this.folder));
        let inherits = section(&manifest, "lints").iter().any(|line| line == "workspace = true");
        if ROOMS.contains(&this.folder.as_str()) {
            let rust = section(&manifest, "lints.rust");
            assert!(
                rust.iter().any(|rule| rule == "unsafe_op_in_unsafe_fn = \"deny\""),
                "{rust:#?}"
            );
            let clippy = section(&manifest, "lints.clippy");
            for rule in ["undocumented_unsafe_blocks", "multiple_unsafe_ops_per_block"] {
                let rule = format!("{rule} = \"deny\"");
                assert!(clippy.contains(&rule), "{}: {clippy:#?}", this.folder);
            }
        } else {
            assert!(inherits, "{} does not keep to the workspace's rules", this.folder);
        }
    }
}

#[test]
fn the_word_unsafe_stands_nowhere_else() {
    for path in sources().into_iter().filter(|path| !may_be_unsafe(path)) {
        for (number, line) in (1..).zip(code(&read(&path))) {
            let words = line.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            assert!(!words.into_iter().any(|word| word == "unsafe"), "{path}:{number}: {line}");
        }
    }
}

/// Clippy sees to it only where it is compiled: here all systems' files are read.
#[test]
fn every_unsafe_block_gives_its_reason_and_holds_one_call() {
    let mut blocks = 0;
    for path in sources().into_iter().filter(|path| may_be_unsafe(path)) {
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        for block in unsafe_blocks(&text) {
            blocks += 1;
            let place = format!("{path}:{}", block.line + 1);
            assert!(has_reason(&lines, block.line), "{place}: no SAFETY sentence above it");
            let statements = block.inside.trim().trim_end_matches(';');
            assert!(!statements.contains(';'), "{place}: more than one call: {statements}");
        }
    }
    assert!(blocks > 60, "{blocks} blocks were found");
}

/// Whether a comment with the reason ends just above the statement that a line belongs to.
fn has_reason(lines: &[&str], line: usize) -> bool {
    let goes_on = |line: &&str| !line.starts_with("//") && !line.ends_with([';', '{', '}']);
    let above = lines[..line].iter().rev().map(|line| line.trim());
    let comment = above.skip_while(goes_on);
    comment.take_while(|line| line.starts_with("//")).any(|line| line.starts_with("// SAFETY: "))
}

#[derive(Debug)]
struct Block {
    /// The line on which it begins, from 0.
    line: usize,
    inside: String,
}

fn unsafe_blocks(text: &str) -> Vec<Block> {
    let code = code(text).join("\n");
    let begins = code.match_indices("unsafe {").map(|(at, _)| at);
    let block = |at: usize| {
        let inside = &code[at + "unsafe {".len()..];
        let mut depth = 1_u32;
        let end = inside.find(|letter| {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let inside = inside[..end.expect("what is opened is closed")].to_owned();
        Block { line: code[..at].matches('\n').count(), inside }
    };
    begins.map(block).collect()
}

/// The lines without what stands in comments and strings. A string that ends on another line than it
/// began on is taken for code from its second line on, which errs towards a complaint.
fn code(text: &str) -> Vec<String> {
    text.lines().map(code_of_line).collect()
}

fn code_of_line(line: &str) -> String {
    let mut code = String::new();
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '/' if letters.peek() == Some(&'/') => break,
            '\'' if letters.peek() == Some(&'"') => {
                letters.next();
            }
            '"' => {
                while let Some(quoted) = letters.next() {
                    match quoted {
                        '\\' => drop(letters.next()),
                        '"' => break,
                        _other => {}
                    }
                }
            }
            letter => code.push(letter),
        }
    }
    code
}

#[test]
fn a_block_without_its_reason_or_with_two_calls_is_found() {
    let text = "// SAFETY: it is so.\nlet a = unsafe { one() };\nlet b = unsafe {\n    two();\n    \
                three()\n};\n\"unsafe { in a string }\"; // unsafe { in a comment }";
    let lines: Vec<&str> = text.lines().collect();
    let found = unsafe_blocks(text);
    assert_eq!(found.iter().map(|block| block.line).collect::<Vec<_>>(), [1, 2], "{found:?}");
    assert!(has_reason(&lines, 1));
    assert!(!has_reason(&lines, 2));
    assert!(found[1].inside.trim().contains(';'));
}
