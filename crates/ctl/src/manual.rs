//! What is made of the command line's description: completions and man pages.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap::builder::Resettable;
use clap_complete::Shell;

use crate::cli::{Cli, EXIT_CODES};
use crate::failure::Failure;

/// The completions of a shell.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "daemonctl", &mut script);
    script
}

/// The manual page of daemonctl itself.
///
/// # Errors
///
/// None that writing to memory has.
pub(crate) fn page() -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    // The page has a section of its own for what ends the help.
    let command = described().after_help(Resettable::Reset);
    clap_mangen::Man::new(command).render(&mut page).map_err(Failure::output)?;
    page.extend_from_slice(ENVIRONMENT.as_bytes());
    page.extend_from_slice(b".SH \"EXIT STATUS\"\n");
    for line in EXIT_CODES.lines().skip(1) {
        let (code, meaning) = line.trim_start().split_once("  ").unwrap_or((line, ""));
        page.extend_from_slice(format!(".TP\n{code}\n{meaning}\n").as_bytes());
    }
    Ok(page)
}

/// Writes the pages of daemonctl and of all its commands into a directory, which is made if it is
/// missing.
///
/// # Errors
///
/// If they cannot be written.
pub(crate) fn pages(dir: &Path) -> Result<(), Failure> {
    let first = page()?;
    let write = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        clap_mangen::generate_to(described(), dir)?;
        fs::write(dir.join("daemonctl.1"), &first)
    };
    let object = format!("manual pages into {}", dir.display());
    write().map_err(|source| Failure::Write { object, source })
}

fn described() -> clap::Command {
    Cli::command().disable_help_subcommand(true)
}

const ENVIRONMENT: &str = "\
.SH ENVIRONMENT
.TP
DAEMONCTL_SOCKET
The control socket, where \\fB\\-\\-socket\\fR is not given.
.TP
DAEMONCTL_BOARD
The scoreboard in a file, where \\fB\\-\\-board\\fR is not given.
.TP
NO_COLOR
No colours, if it is set and not empty.
";
