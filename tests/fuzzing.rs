//! Runs the entry point of a fuzz target without libFuzzer: over the corpus in the repository, over
//! changed inputs of the corpus, and over random bytes. Crates include this file by its path.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

/// The number of changed and random inputs for each target.
const CASES: u32 = 250;

/// The maximum length of a random input in bytes.
const LENGTH_MAX: usize = 4096;

/// Calls `decode` with many inputs. It must not panic with any of them.
///
/// `target` is the name of the fuzz target, whose corpus is in `fuzz/corpus/TARGET`. The packaged
/// crate does not contain the corpus, so a missing folder `fuzz` means an empty corpus.
///
/// # Panics
///
/// If `decode` panics, or if the repository has no corpus for the target.
pub(crate) fn decodes_any_bytes(target: &str, decode: fn(&[u8])) {
    let corpus = corpus(target);
    for (path, bytes) in &corpus {
        if std::panic::catch_unwind(|| decode(bytes)).is_err() {
            panic!("the fuzz target {target} panics with the input {}", path.display());
        }
    }
    let bytes = proptest::collection::vec(any::<u8>(), 0..LENGTH_MAX);
    let inputs = corpus.into_iter().map(|(_path, bytes)| bytes).collect::<Vec<_>>();
    let inputs = if inputs.is_empty() {
        bytes.boxed()
    } else {
        let changes = proptest::collection::vec(change(), 1..8);
        let changed = (select(inputs), changes).prop_map(|(mut bytes, changes)| {
            changes.into_iter().for_each(|change| change.apply(&mut bytes));
            bytes
        });
        prop_oneof![4 => changed, 1 => bytes].boxed()
    };
    let mut runner =
        TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let found = runner.run(&inputs, |bytes| {
        decode(&bytes);
        Ok(())
    });
    if let Err(error) = found {
        panic!("the fuzz target {target}: {error}");
    }
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    if !fuzz.exists() {
        return Vec::new();
    }
    let folder = fuzz.join("corpus").join(target);
    let files = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{} is the corpus: {error}", folder.display()));
    let mut inputs: Vec<_> = files
        .map(|file| {
            let path = file.expect("the folder can be read").path();
            let bytes = fs::read(&path).expect("the file can be read");
            (path, bytes)
        })
        .collect();
    assert!(!inputs.is_empty(), "{} has no inputs", folder.display());
    inputs.sort();
    inputs
}

/// A change of an input.
#[derive(Debug, Clone)]
enum Change {
    FlipBit(Index, u8),
    Put(Index, Vec<u8>),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    CutAt(Index),
    Repeat,
}

fn change() -> impl Strategy<Value = Change> {
    // Bytes that are special as lengths, counts and codes are more probable than others.
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..9),
        proptest::collection::vec(select(vec![0, 1, 0x7f, 0x80, 0xff, b'"', b'\n', b'0']), 1..9),
    ];
    prop_oneof![
        3 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::FlipBit(at, bit)),
        3 => (any::<Index>(), bytes.clone()).prop_map(|(at, bytes)| Change::Put(at, bytes)),
        2 => (any::<Index>(), bytes).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        2 => (any::<Index>(), 1..17_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => any::<Index>().prop_map(Change::CutAt),
        1 => Just(Change::Repeat),
    ]
}

impl Change {
    fn apply(self, bytes: &mut Vec<u8>) {
        let place = |at: Index, bytes: &[u8]| at.index(bytes.len() + 1);
        match self {
            Change::FlipBit(at, bit) => {
                let at = place(at, bytes);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Change::Put(at, new) => {
                let at = place(at, bytes);
                bytes.iter_mut().skip(at).zip(new).for_each(|(old, new)| *old = new);
            }
            Change::Insert(at, new) => {
                let at = place(at, bytes);
                bytes.splice(at..at, new);
            }
            Change::Remove(at, count) => {
                let at = place(at, bytes);
                bytes.drain(at..bytes.len().min(at + count));
            }
            Change::CutAt(at) => bytes.truncate(place(at, bytes)),
            Change::Repeat => {
                let half = bytes.len().min(LENGTH_MAX);
                bytes.extend_from_within(..half);
            }
        }
    }
}
