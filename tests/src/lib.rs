//! What the programs under test share: their options, the lines they understand, and the command_socket at
//! which the parent answers.

mod command_socket;
mod commands;
mod misbehave;
mod options;
mod session;

pub use command_socket::{ExtraCommand, open_command_socket, subscribe};
pub use commands::serve_commands;
pub use misbehave::lend;
pub use options::Options;
pub use session::LineSession;
