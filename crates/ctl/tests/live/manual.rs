//! Tests of the completions and man pages.

use std::fs;
use std::process::{Command, Stdio};

use crate::run::{daemonctl, decoded, run};

const COMMANDS: [&str; 15] = [
    "status",
    "peek",
    "stop",
    "reopen",
    "reload",
    "resize",
    "retire",
    "kill",
    "trace",
    "pause",
    "resume",
    "events",
    "top",
    "completions",
    "man",
];

#[test]
fn completions_contain_all_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(["completions", shell]);
        assert_eq!(output.code, 0, "{shell}");
        for command in COMMANDS {
            assert!(output.out.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn bash_completes_a_prefix_to_the_commands_that_begin_with_it() {
    let script = run(["completions", "bash"]).out;
    let ask = format!(
        "{script}\nCOMP_WORDS=(daemonctl re); COMP_CWORD=1; _daemonctl daemonctl re daemonctl; \
         echo \"${{COMPREPLY[@]}}\""
    );
    let output =
        Command::new("bash").args(["--norc", "-c", &ask]).output().expect("bash is installed");
    let output = decoded(&output);
    assert_eq!(output.out.trim(), "reopen reload resize retire resume", "{output:?}");
}

#[test]
fn each_command_has_a_man_page_and_the_main_page_has_the_exit_codes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let pages = directory.path().join("man1");
    let output = daemonctl().args(["man", "--dir"]).arg(&pages).output();
    assert_eq!(decoded(&output.expect("daemonctl runs")).code, 0);
    for command in COMMANDS {
        let page = fs::read_to_string(pages.join(format!("daemonctl-{command}.1"))).expect(command);
        assert!(page.contains(".TH"), "{command}");
    }
    let first = fs::read_to_string(pages.join("daemonctl.1")).expect("a page");
    assert_eq!(run(["man"]).out, first);
    assert!(first.contains("EXIT STATUS") && first.contains("DAEMONCTL_BOARD"), "{first}");
    assert!(first.contains("no such child"), "{first}");
}

#[test]
fn groff_or_nroff_renders_the_man_page_without_warnings() {
    let page = run(["man"]).out;
    let renders = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().ok()?;
        std::io::Write::write_all(&mut child.stdin.take()?, page.as_bytes()).ok()?;
        child.wait_with_output().ok()
    };
    let arguments = ["-man", "-Tascii", "-ww"];
    match renders("groff", &arguments).or_else(|| renders("nroff", &["-man"])) {
        None => {
            let skipped = b"skipped: neither groff nor nroff is installed\n";
            let _ = std::io::Write::write_all(&mut std::io::stderr(), skipped);
        }
        Some(output) => {
            let shown = String::from_utf8_lossy(&output.stdout);
            assert!(shown.contains("daemonctl"), "{shown}");
            assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
