//! What another number of children means: for a pool, for one that is sized by demand, and for a
//! post-forking daemon.

use daemon_core::{DemandScaler, Pool};

use crate::messages::{CommandError, Resize, Resized};

fn to_core(resize: Resize) -> daemon_core::Resize {
    match resize {
        Resize::More => daemon_core::Resize::More,
        Resize::Fewer => daemon_core::Resize::Fewer,
        Resize::To(children) => daemon_core::Resize::To(children),
    }
}

/// Changes how large a pool may grow that is sized by demand, as far as its scoreboard has slots.
pub(crate) fn growth(
    growth: &mut DemandScaler,
    slots: u32,
    resize: Resize,
) -> Result<Resized, CommandError> {
    let resize = to_core(resize);
    let wanted = resize.apply(growth.rules().max_children);
    let rules = growth
        .resize(resize, slots)
        .map_err(|error| CommandError::Size { wanted, reason: error.to_string() })?;
    Ok(Resized { min_spare: 0, max_spare: 0, max_children: rules.max_children })
}

/// Moves a pool's spares.
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

/// The new `max_children` of a post-forking daemon, as far as its scoreboard has slots.
pub(crate) fn max_children(now: u32, slots: u32, resize: Resize) -> Result<u32, CommandError> {
    let wanted = to_core(resize).apply(now);
    if wanted == 0 {
        return Err(CommandError::Size {
            wanted,
            reason: "a forking daemon needs one child".into(),
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
    fn a_post_forking_daemon_grows_as_far_as_its_slots() {
        assert_eq!(max_children(3, 16, Resize::More), Ok(4));
        assert_eq!(max_children(3, 16, Resize::To(16)), Ok(16));
        let refusal = max_children(3, 16, Resize::To(17)).unwrap_err();
        assert_eq!(refusal.to_string(), "cannot resize to 17: the scoreboard has 16 slots");
    }

    #[test]
    fn the_last_child_stays() {
        for (now, resize) in [(1, Resize::Fewer), (4, Resize::To(0))] {
            let refusal = max_children(now, 16, resize).unwrap_err().to_string();
            assert_eq!(refusal, "cannot resize to 0: a forking daemon needs one child");
        }
    }
}
