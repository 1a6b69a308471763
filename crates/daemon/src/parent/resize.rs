//! Carries out a resize: of a pool that is sized by spare children, of a pool that is sized by
//! demand, and of a post-forking daemon.

use daemon_core::{DemandScaler, Pool};

use crate::messages::{CommandError, Resize, Resized};

fn to_core(resize: Resize) -> daemon_core::PoolResize {
    match resize {
        Resize::More => daemon_core::PoolResize::More,
        Resize::Fewer => daemon_core::PoolResize::Fewer,
        Resize::To(children) => daemon_core::PoolResize::To(children),
    }
}

/// Changes `max_children` of a pool that is sized by demand. The new value can be at most the
/// number of slots.
pub(crate) fn demand(
    scaler: &mut DemandScaler,
    slots: u32,
    resize: Resize,
) -> Result<Resized, CommandError> {
    let resize = to_core(resize);
    let wanted = resize.apply(scaler.rules().max_children);
    let rules = scaler
        .resize(resize, slots)
        .map_err(|error| CommandError::Size { wanted, reason: error.to_string() })?;
    Ok(Resized { min_spare: 0, max_spare: 0, max_children: rules.max_children })
}

/// Changes `min_spare` and `max_spare` of a pool that is sized by spare children.
pub(crate) fn pool(pool: &mut Pool, resize: Resize) -> Result<Resized, CommandError> {
    let resize = to_core(resize);
    let wanted = resize.apply(pool.rules().max_spare);
    let rules = pool
        .resize(resize)
        .map_err(|error| CommandError::Size { wanted, reason: error.to_string() })?;
    Ok(Resized {
        min_spare: rules.min_spare,
        max_spare: rules.max_spare,
        max_children: rules.max_children,
    })
}

/// Returns the new `max_children` of a post-forking daemon. It must be at least 1 and at most the
/// number of slots.
pub(crate) fn max_children(now: u32, slots: u32, resize: Resize) -> Result<u32, CommandError> {
    let wanted = to_core(resize).apply(now);
    if wanted == 0 {
        return Err(CommandError::Size {
            wanted,
            reason: "a post-forking daemon needs at least 1 child".into(),
        });
    }
    if wanted > slots {
        return Err(CommandError::Size {
            wanted,
            reason: format!("the scoreboard has {slots} slots"),
        });
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_forking_daemon_is_resized_up_to_its_number_of_slots() {
        assert_eq!(max_children(3, 16, Resize::More), Ok(4));
        assert_eq!(max_children(3, 16, Resize::To(16)), Ok(16));
        let refusal = max_children(3, 16, Resize::To(17)).unwrap_err();
        assert_eq!(refusal.to_string(), "cannot resize to 17: the scoreboard has 16 slots");
    }

    #[test]
    fn a_post_forking_daemon_is_not_resized_to_zero_children() {
        for (now, resize) in [(1, Resize::Fewer), (4, Resize::To(0))] {
            let refusal = max_children(now, 16, resize).unwrap_err().to_string();
            assert_eq!(refusal, "cannot resize to 0: a post-forking daemon needs at least 1 child");
        }
    }
}
