//! Checks that only the crates that call the operating system contain unsafe code, and that each of
//! their unsafe blocks has a SAFETY comment and contains one call. All other crates forbid unsafe
//! code.

use crate::source_tree::{read, sources, workspace};

/// The crates that may contain unsafe code.
const UNSAFE_CRATES: [&str; 2] = ["crates/sys", "crates/winsys"];

fn may_be_unsafe(path: &str) -> bool {
    UNSAFE_CRATES
        .iter()
        .any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
}

/// Returns the lines of a section of a manifest.
fn section(manifest: &str, name: &str) -> Vec<String> {
    let heading = format!("[{name}]");
    let lines = manifest.lines().skip_while(|line| **line != heading).skip(1);
    lines.take_while(|line| !line.starts_with('[')).map(str::to_owned).collect()
}

#[test]
fn only_the_crates_that_call_the_operating_system_allow_unsafe_code() {
    let rules = section(&read("Cargo.toml"), "workspace.lints.rust");
    assert!(rules.iter().any(|rule| rule == "unsafe_code = \"forbid\""), "{rules:#?}");
    for this in workspace() {
        let manifest = read(&format!("{}/Cargo.toml", this.folder));
        let inherits = section(&manifest, "lints").iter().any(|line| line == "workspace = true");
        if UNSAFE_CRATES.contains(&this.folder.as_str()) {
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
            assert!(inherits, "{} does not inherit the lints of the workspace", this.folder);
        }
    }
}

#[test]
fn crates_that_forbid_unsafe_code_do_not_contain_the_word_unsafe() {
    for path in sources().into_iter().filter(|path| !may_be_unsafe(path)) {
        for (number, line) in (1..).zip(code(&read(&path))) {
            let words = line.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            assert!(!words.into_iter().any(|word| word == "unsafe"), "{path}:{number}: {line}");
        }
    }
}

/// Clippy checks only the files of one platform; this test reads those of all platforms.
#[test]
fn every_unsafe_block_has_a_safety_comment_and_one_call() {
    let mut blocks = 0;
    for path in sources().into_iter().filter(|path| may_be_unsafe(path)) {
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        for block in unsafe_blocks(&text) {
            blocks += 1;
            let position = format!("{path}:{}", block.line + 1);
            assert!(
                has_safety_comment(&lines, block.line),
                "{position}: no SAFETY comment above the block"
            );
            let statements = block.inside.trim().trim_end_matches(';');
            assert!(!statements.contains(';'), "{position}: more than one call: {statements}");
        }
    }
    assert!(blocks > 60, "{blocks} blocks were found");
}

/// Returns whether a SAFETY comment ends just above the statement that contains this line.
fn has_safety_comment(lines: &[&str], line: usize) -> bool {
    let is_continued = |line: &&str| !line.starts_with("//") && !line.ends_with([';', '{', '}']);
    let above = lines[..line].iter().rev().map(|line| line.trim());
    let comment = above.skip_while(is_continued);
    comment.take_while(|line| line.starts_with("//")).any(|line| line.starts_with("// SAFETY: "))
}

#[derive(Debug)]
struct Block {
    /// The number of the block's first line, counted from 0.
    line: usize,
    inside: String,
}

fn unsafe_blocks(text: &str) -> Vec<Block> {
    let code = code(text).join("\n");
    let starts = code.match_indices("unsafe {").map(|(at, _)| at);
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
        let inside = inside[..end.expect("unbalanced braces")].to_owned();
        Block { line: code[..at].matches('\n').count(), inside }
    };
    starts.map(block).collect()
}

/// Returns the lines without comments and string literals. If a string literal spans several lines,
/// all but its first line count as code, so the word `unsafe` in them is reported.
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
fn an_unsafe_block_without_a_safety_comment_or_with_two_calls_is_found() {
    let text = "// SAFETY: it is so.\nlet a = unsafe { one() };\nlet b = unsafe {\n    two();\n    \
                three()\n};\n\"unsafe { in a string }\"; // unsafe { in a comment }";
    let lines: Vec<&str> = text.lines().collect();
    let found = unsafe_blocks(text);
    assert_eq!(found.iter().map(|block| block.line).collect::<Vec<_>>(), [1, 2], "{found:?}");
    assert!(has_safety_comment(&lines, 1));
    assert!(!has_safety_comment(&lines, 2));
    assert!(found[1].inside.trim().contains(';'));
}
