//! Tests that an invalid configuration is refused before any fork, with an error that names the
//! field and the value.

use crate::harness::{TestProgram, run_clients};

#[track_caller]
fn is_refused(start: TestProgram, options: &str, words: &[&str]) {
    let failed = start.options(options).fail_to_start();
    assert_eq!(failed.status, "code 1", "{options}: {}", failed.stderr);
    assert_eq!(failed.processes, 1, "{options}: no child is forked");
    for word in words {
        assert!(failed.stderr.contains(word), "{options}: {word:?} in {}", failed.stderr);
    }
}

#[test]
fn inconsistent_pool_sizes_are_refused() {
    let cases: [(&str, &[&str]); 5] = [
        ("start=0", &["start_children", "0"]),
        ("start=1 min=5 max_spare=3", &["min_spare", "5", "max_spare", "3"]),
        ("start=9 max=4", &["start_children", "9", "max_children", "4"]),
        ("start=1 max=0", &["max_children", "0"]),
        ("start=1 max=100000", &["max_children", "100000"]),
    ];
    run_clients(cases.len(), |case| {
        is_refused(TestProgram::pool(), cases[case].0, cases[case].1);
    });
}

#[test]
fn invalid_sizes_of_a_post_forking_daemon_are_refused() {
    is_refused(TestProgram::postfork(), "max=0", &["max_children is 0"]);
    is_refused(TestProgram::postfork(), "max=100000", &["max_children is 100000"]);
}

#[test]
fn invalid_settings_are_refused() {
    let cases: [(&str, &[&str]); 13] = [
        ("alias=", &["alias is \"\""]),
        ("detach", &["logfile is not set"]),
        ("umask=7777", &["umask is 7777"]),
        ("nice=20", &["nice is 20"]),
        ("oom_score_adj=-1001", &["oom_score_adj is -1001"]),
        ("boot_timeout=0", &["boot_timeout is 0"]),
        ("workdir=/no/such", &["workdir is /no/such"]),
        ("logfile=/no/such/log", &["logfile is /no/such/log"]),
        ("pidfile=DIR", &["pidfile is ", "it is a directory"]),
        ("control=/no/such/socket", &["control is /no/such/socket"]),
        ("control=DIR", &["control is ", "it is a directory"]),
        ("group=daemon", &["group is daemon"]),
        ("user=nobody-of-that-name", &["nobody-of-that-name"]),
    ];
    run_clients(cases.len(), |case| {
        is_refused(TestProgram::pool(), cases[case].0, cases[case].1);
    });
}
