//! Hands down an unusual state and then executes a program: `launcher STATE... -- PROGRAM
//! ARGUMENTS...`.
//!
//! | state | effect |
//! | --- | --- |
//! | `block=all` | blocks all signals |
//! | `ignore=CHLD,HUP` | ignores these signals |
//! | `alarm=SECONDS` | sets an alarm(2) |
//! | `close=0,2` | closes these descriptors |
//! | `limit=NAME:NUMBER` | sets a resource limit, soft and hard |
//! | `umask=OCTAL`, `nice=NUMBER` | sets the umask or the niceness |
//! | `user=NAME` | changes to this user |
//! | `cd=DIRECTORY` | changes to a directory, and then removes it |
//! | `subreaper=on` | adopts orphaned descendants |
//! | `pending=HUP` | sends itself this signal, which an earlier state has blocked |
//! | `under=launcher` | a child goes on with the other states; this process exits as the child does |
//! | `death_signal=TERM` | receives this signal when the parent ends |

use std::error::Error;
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;

use daemon_sys::fork::{ForkResult, fork};
use daemon_sys::limits::{self, Resource};
use daemon_sys::process::{self, Pid, Signal, exit_now, this_pid};
use daemon_sys::reap::{Exit, adopt_descendants, wait_for};
use daemon_sys::signals;
use nix::sys::signal::SigSet;
use nix::unistd::{User, alarm, close, execv, setgid, setuid};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    for state in arguments.by_ref().take_while(|argument| argument != "--") {
        let state = state.into_string().map_err(|state| format!("not text: {state:?}"))?;
        let (name, value) = state.split_once('=').ok_or("a state is NAME=VALUE")?;
        hand_down(name, value)?;
    }
    let words =
        arguments.map(|word| CString::new(word.into_vec())).collect::<Result<Vec<_>, _>>()?;
    let program = words.first().ok_or("a program is required")?;
    // `Command` would reset some of the states.
    execv(program, &words)?;
    Ok(())
}

fn hand_down(name: &str, value: &str) -> Result<(), Box<dyn Error>> {
    match name {
        "block" => SigSet::all().thread_block()?,
        "ignore" => {
            for name in value.split(',') {
                signals::ignore(signal(name)?)?;
            }
        }
        "alarm" => drop(alarm::set(value.parse()?)),
        "close" => {
            for descriptor in value.split(',') {
                close(descriptor.parse::<i32>()?)?;
            }
        }
        "limit" => {
            let (name, limit) = value.split_once(':').ok_or("a limit is NAME:NUMBER")?;
            let resource = match name {
                "open_files" => Resource::OpenFiles,
                "processes" => Resource::Processes,
                "file_size" => Resource::FileSize,
                "stack" => Resource::Stack,
                "core" => Resource::Core,
                _ => return Err(format!("no limit {name}").into()),
            };
            limits::set_limit(resource, limit.parse()?, limit.parse()?)?;
        }
        "umask" => drop(limits::umask(u32::from_str_radix(value, 8)?)),
        "nice" => limits::nice(value.parse()?)?,
        "user" => {
            let user = User::from_name(value)?.ok_or("no such user")?;
            setgid(user.gid)?;
            setuid(user.uid)?;
        }
        "cd" => {
            limits::change_dir(value)?;
            std::fs::remove_dir(value)?;
        }
        "subreaper" => drop(adopt_descendants()?),
        "pending" => drop(process::signal(this_pid(), signal(value)?)?),
        "under" => match fork()? {
            ForkResult::Child => {}
            ForkResult::Parent(child) => match wait_for(child)? {
                Exit::Code(code) => exit_now(code),
                Exit::Signal { .. } | Exit::Unknown => exit_now(1),
            },
        },
        "death_signal" => {
            let parent = i32::try_from(std::os::unix::process::parent_id())?;
            let parent = Pid::from_raw(parent).ok_or("the parent is in another namespace")?;
            process::die_with_parent(signal(value)?, parent)?;
        }
        _ => return Err(format!("no state {name}").into()),
    }
    Ok(())
}

fn signal(name: &str) -> Result<Signal, String> {
    let signal = Signal::ALL.into_iter().find(|signal| signal.name() == name);
    signal.ok_or_else(|| format!("no signal {name}"))
}
