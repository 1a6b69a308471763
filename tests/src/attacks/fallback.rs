//! The fallback for systems other than Linux, where the attacks are not carried out.

/// Returns that the attack is not possible.
#[must_use]
pub fn attack(command: &str) -> String {
    format!("not possible: {command} needs Linux")
}
