//! Completions and man pages.

use std::fs;
use std::process::{Command, Stdio};

use crate::run::{daemonctl, run, said};

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
fn completions_know_all_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let said = run(["completions", shell]);
        assert_eq!(said.code, 0, "{shell}");
        for command in COMMANDS {
            assert!(said.out.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn bash_takes_its_completions() {
    let script = run(["completions", "bash"]).out;
    let ask = format!(
        "{script}\nCOMP_WORDS=(daemonctl re); COMP_CWORD=1; _daemonctl daemonctl re daemonctl; \
         echo \"${{COMPREPLY[@]}}\""
    );
    let output = Command::new("bash").args(["--norc", "-c", &ask]).output().expect("bash is there");
    let said = said(&output);
    assert_eq!(said.out.trim(), "reopen reload resize retire resume", "{said:?}");
}

#[test]
fn there_is_a_page_for_each_command_with_the_exit_codes_on_the_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let pages = directory.path().join("man1");
    let output = daemonctl().args(["man", "--dir"]).arg(&pages).output();
    assert_eq!(said(&output.expect("it runs")).code, 0);
    for command in COMMANDS {
        let page = fs::read_to_string(pages.join(format!("daemonctl-{command}.1"))).expect(command);
        assert!(page.contains(".TH"), "{command}");
    }
    let first = fs::read_to_string(pages.join("daemonctl.1")).expect("a page");
    assert_eq!(run(["man"]).out, first);
    assert!(first.contains("EXIT STATUS") && first.contains("DAEMONCTL_BOARD"), "{first}");
    assert!(first.contains("there is no such child"), "{first}");
}

#[test]
fn man_can_render_the_page() {
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
            let skipped = b"skipped: neither groff nor nroff is on this machine\n";
            let _ = std::io::Write::write_all(&mut std::io::stderr(), skipped);
        }
        Some(output) => {
            let shown = String::from_utf8_lossy(&output.stdout);
            assert!(shown.contains("daemonctl"), "{shown}");
            assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
