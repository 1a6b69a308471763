//! What the programs under test share: their options, the lines they understand, and the desk at
//! which the parent answers.

mod desk;
mod mischief;
mod options;
mod session;
mod talk;

pub use desk::{Ask, open_desk, subscribe};
pub use mischief::lend;
pub use options::Options;
pub use session::Session;
pub use talk::talk;
