//! The common parts of the test programs: their options, the commands that their children answer,
//! the attacks that they can carry out, and the parent's command socket.

#[cfg(target_os = "linux")]
mod attacks;
#[cfg(not(target_os = "linux"))]
mod attacks {
    /// Returns that the attack is not possible.
    #[must_use]
    pub fn attack(command: &str) -> String {
        format!("not possible: {command} needs Linux")
    }
}
mod attempts;
mod command_socket;
mod commands;
mod misbehave;
mod options;
mod session;

pub use attacks::attack;
#[cfg(target_os = "linux")]
pub use attacks::{Attack, AttackKind, Random, catalogue};
pub use attempts::attempt;
pub use command_socket::{ExtraCommand, open_command_socket, subscribe};
pub use commands::{Next, serve_commands};
pub use misbehave::{block, hang_at_start, keep_descriptors_exhausted, lend, stuck_call};
pub use options::Options;
pub use session::LineSession;
