//! Tests the inspection of real processes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

#[test]
fn inspecting_the_test_process_returns_its_cpu_time_and_memory() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let start = Instant::now();
    let spent = |cpu: Option<Duration>| cpu.is_some_and(|cpu| cpu >= Duration::from_millis(20));
    let mut info = inspect(std::process::id());
    while !spent(info.cpu) {
        assert!(start.elapsed() < Duration::from_secs(20), "{info:?}");
        info = inspect(std::process::id());
    }
    assert!(matches!(info.state, Some('R' | 'S')), "{info:?}");
    assert!(info.rss.is_some_and(|rss| rss > 500_000), "{info:?}");
    assert!(info.pss.is_some_and(|pss| pss > 100_000), "{info:?}");
    assert!(pss(std::process::id()).is_some_and(|pss| pss > 100_000));
}

#[test]
fn a_sleeping_process_is_inspected_and_nothing_is_known_about_a_dead_process() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let mut waiting =
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    let mut info = inspect(waiting.id());
    while info.state != Some('S') {
        assert!(start.elapsed() < Duration::from_secs(10), "{info:?}");
        info = inspect(waiting.id());
    }
    assert_eq!(info.cpu.map(|cpu| cpu < Duration::from_secs(1)), Some(true));
    drop(waiting.stdin.take());
    assert!(waiting.wait().unwrap().success());
    assert_eq!(inspect(waiting.id()), ProcessInfo::default());
    assert_eq!(inspect(u32::MAX), ProcessInfo::default());
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_cannot_hide_behind_its_name() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let dir = std::env::temp_dir().join(format!("evidence-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for name in [&b"\xff\xfe"[..], b"a) Z 1 (b", b"a\nb) R"] {
        let program = dir.join(OsStr::from_bytes(name));
        std::os::unix::fs::symlink("/bin/cat", &program).unwrap();
        let mut process =
            Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        let mut info = inspect(process.id());
        while info.state != Some('S') {
            assert!(start.elapsed() < Duration::from_secs(10), "{name:?}: {info:?}");
            info = inspect(process.id());
        }
        assert!(info.rss.is_some_and(|bytes| bytes > 100_000), "{name:?}: {info:?}");
        let table = crate::process_table::read(&[process.id()]).unwrap();
        assert!(table.contains_key(&process.id()), "{name:?}");
        drop(process.stdin.take());
        process.wait().unwrap();
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
