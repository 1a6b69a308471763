//! Shell completions and man pages of daemonctl, generated from the definition of its command line.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap::builder::Resettable;
use clap_complete::Shell;

use crate::cli::{Cli, EXIT_CODES};
use crate::error::CtlError;

/// Returns the completion script for a shell.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "daemonctl", &mut script);
    script
}

/// Returns the man page of daemonctl.
///
/// # Errors
///
/// Writing to memory does not fail, so no error is expected.
pub(crate) fn page() -> Result<Vec<u8>, CtlError> {
    let mut page = Vec::new();
    // The page has a section with the exit codes, so they are removed from the end of the help.
    let command = command_for_pages().after_help(Resettable::Reset);
    clap_mangen::Man::new(command).render(&mut page).map_err(CtlError::output)?;
    page.extend_from_slice(ENVIRONMENT.as_bytes());
    page.extend_from_slice(b".SH \"EXIT STATUS\"\n");
    for line in EXIT_CODES.lines().skip(1) {
        let (code, meaning) = line.trim_start().split_once("  ").unwrap_or((line, ""));
        page.extend_from_slice(format!(".TP\n{code}\n{meaning}\n").as_bytes());
    }
    Ok(page)
}

/// Writes the man pages of daemonctl and of all its commands into a directory, which is created if
/// necessary.
///
/// # Errors
///
/// Returns an error if the directory or a page cannot be written.
pub(crate) fn pages(dir: &Path) -> Result<(), CtlError> {
    let first = page()?;
    let write = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        clap_mangen::generate_to(command_for_pages(), dir)?;
        fs::write(dir.join("daemonctl.1"), &first)
    };
    write().map_err(|source| CtlError::Write { object: dir.display().to_string(), source })
}

fn command_for_pages() -> clap::Command {
    Cli::command().disable_help_subcommand(true)
}

const ENVIRONMENT: &str = "\
.SH ENVIRONMENT
.TP
DAEMONCTL_SOCKET
The path of the control socket, if \\fB\\-\\-socket\\fR is not given.
.TP
DAEMONCTL_BOARD
The path of the scoreboard file, if \\fB\\-\\-board\\fR is not given.
.TP
NO_COLOR
Disables colours if the variable is set and not empty.
";
