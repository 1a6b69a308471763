//! The restrictions that apply to children only.

#[cfg(feature = "sandbox")]
use daemon_sys::sandbox::PreparedSandbox;
use daemon_sys::{Error, privileges};

/// Whether other processes of the daemon's user may trace a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tracing {
    /// As for the fork server.
    #[default]
    Inherited,
    Permitted,
}

/// The restrictions of a child. They are prepared before the fork server is forked, and each child
/// applies its copy before it runs any code of the program.
#[derive(Debug, Default)]
pub(crate) struct Confinement {
    pub(crate) tracing: Tracing,
    #[cfg(feature = "sandbox")]
    pub(crate) sandbox: Option<PreparedSandbox>,
}

impl Confinement {
    /// Restricts this process permanently. If this fails, the child must not run.
    pub(crate) fn apply(self) -> Result<(), Error> {
        match self.tracing {
            Tracing::Inherited => {}
            Tracing::Permitted => privileges::set_traceable(true)?,
        }
        #[cfg(feature = "sandbox")]
        if let Some(sandbox) = self.sandbox {
            sandbox.enter()?;
        }
        Ok(())
    }
}
