//! The models of a daemon: pre-forking, post-forking and solo, and a pool that is sized by demand.

mod on_demand;

use std::time::Duration;

use daemon_core::{DemandRules, Jitter, MAX_SLOTS, PoolRules, RequestLimit, slots_for};
use daemon_protocol::ModelKind;

pub use self::on_demand::{KillRogue, OnDemand, RequestFactory, SetQueueDepth};
use crate::error::ConfigError;

use on_demand::NoRequest;
pub(crate) use on_demand::SharedRequestFactory;

/// A model: a pool of children that are forked in advance. Each child serves many requests.
///
/// The parent keeps the number of spare (idle) children between `min_spare` and `max_spare`, as
/// Apache's prefork does, and replaces children that end while there are fewer than
/// `start_children` (or `max_spare`, if that is less). Sizes that are not set are computed from the
/// others, like those of `POE::Component::Daemon` (manual, `spawn`):
///
/// | | with `max_children` | without |
/// | --- | --- | --- |
/// | `min_spare` | half of `max_spare` if that is set, else 20 % of `max_children`; 1 to `start_children` | half of `max_spare` if that is set, else `start_children`; 1 to `start_children` |
/// | `max_spare` | 80 % of `max_children`, at least `min_spare` and `start_children` | twice `min_spare`, at least `start_children` |
/// | `max_children` | | `start_children` + `max_spare` |
///
/// A computed size never causes a fork or a retirement right after the start: a pool whose
/// `min_spare` and `max_spare` are not set stays at `start_children` while it is idle. If
/// `start_children` equals `max_children`, the pool is [fixed](PreFork::fixed).
///
/// # Examples
///
/// ```
/// use actix_daemon::PreFork;
///
/// let model = PreFork::new(4).min_spare(2).max_spare(8).max_children(32).requests(1000);
/// ```
#[derive(Debug, Clone)]
pub struct PreFork {
    start_children: u32,
    min_spare: Option<u32>,
    max_spare: Option<u32>,
    max_children: Option<u32>,
    requests: RequestLimit,
    jitter: Jitter,
    retire_delay: Option<Duration>,
}

impl PreFork {
    /// Creates a pool that starts with this many children. The number must be at least 1.
    #[must_use]
    pub fn new(start_children: u32) -> Self {
        PreFork {
            start_children,
            min_spare: None,
            max_spare: None,
            max_children: None,
            requests: RequestLimit::Unlimited,
            jitter: Jitter::default(),
            retire_delay: None,
        }
    }

    /// Creates a pool that always has this many children: it neither grows nor shrinks, and each
    /// child that ends is replaced. The number must be at least 1.
    ///
    /// This is the same as [`new`](PreFork::new) with the same [`max_children`](
    /// PreFork::max_children). That all children are busy is no event in such a pool, and an
    /// operator who resizes it changes the number of children.
    ///
    /// # Examples
    ///
    /// ```
    /// use actix_daemon::PreFork;
    ///
    /// let model = PreFork::fixed(4).requests(1000);
    /// ```
    #[must_use]
    pub fn fixed(children: u32) -> Self {
        PreFork::new(children).max_children(children)
    }

    /// Sets the number of children to start with. It must be at least 1.
    #[must_use]
    pub fn start_children(mut self, children: u32) -> Self {
        self.start_children = children;
        self
    }

    /// Sets the minimum number of spare children. With 0, no child is forked when all of
    /// [`start_children`](PreFork::start_children) are busy.
    #[must_use]
    pub fn min_spare(mut self, children: u32) -> Self {
        self.min_spare = Some(children);
        self
    }

    /// Sets the maximum number of spare children. Surplus children are retired.
    #[must_use]
    pub fn max_spare(mut self, children: u32) -> Self {
        self.max_spare = Some(children);
        self
    }

    /// Sets the maximum number of children, including those that are starting or exiting.
    #[must_use]
    pub fn max_children(mut self, children: u32) -> Self {
        self.max_children = Some(children);
        self
    }

    /// Sets the number of requests after which a child is replaced. 0, the default, means never.
    ///
    /// The quota of most children is a little smaller, so that the children are not all replaced at
    /// the same time. See [`jitter`](PreFork::jitter).
    #[must_use]
    pub fn requests(mut self, requests: u32) -> Self {
        self.requests = RequestLimit::new(requests);
        self
    }

    /// Sets the maximum percentage by which a child's quota is smaller than
    /// [`requests`](PreFork::requests). 10 by default, at most 50.
    #[must_use]
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets how long there must be more than `max_spare` spare children before some are retired.
    /// One second by default, the interval at which Apache's prefork module checks the number of
    /// idle children.
    #[must_use]
    pub fn retire_delay(mut self, retire_delay: Duration) -> Self {
        self.retire_delay = Some(retire_delay);
        self
    }
}

/// A model: a new child for each request, up to a maximum number of children at a time.
///
/// Most of the cost of a forked child is page faults, because the child maps each page of the
/// program again when it first touches the page. A smaller program therefore serves more
/// connections per second than a larger one. These settings in `Cargo.toml` help:
///
/// ```toml
/// [profile.release]
/// codegen-units = 1
/// lto = "fat"
/// opt-level = "s"
/// ```
///
/// # Examples
///
/// ```
/// use actix_daemon::PostFork;
///
/// let model = PostFork::new(64).backlog(256);
/// ```
#[derive(Debug, Clone)]
pub struct PostFork {
    max_children: u32,
    backlog: u32,
}

impl PostFork {
    /// Creates a model with at most this many children at a time. The number must be at least 1.
    #[must_use]
    pub fn new(max_children: u32) -> Self {
        PostFork { max_children, backlog: 128 }
    }

    /// Sets the maximum number of children at a time. It must be at least 1.
    #[must_use]
    pub fn max_children(mut self, children: u32) -> Self {
        self.max_children = children;
        self
    }

    /// Sets how many requests may wait while all children are busy. Further requests are returned
    /// to the sender of [`HandOver`](crate::HandOver). 128 by default.
    #[must_use]
    pub fn backlog(mut self, requests: u32) -> Self {
        self.backlog = requests;
        self
    }
}

/// A model without children: the daemon is a single process, with the same setup, logging and
/// shutdown as in the other models.
#[derive(Debug, Clone, Copy, Default)]
pub struct Solo;

/// A model for a program whose children receive a request of type `R`.
///
/// [`PostFork`], [`OnDemand`] and [`Solo`] are models for every `R`. [`PreFork`] is a model only
/// for `()`, because its children accept their requests themselves.
pub trait Model<R>: sealed::Sealed {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a setting is invalid.
    fn check(self) -> Result<CheckedModel<R>, ConfigError>;
}

/// A model with valid settings.
#[derive(Debug)]
pub struct CheckedModel<R>(pub(crate) Rules<R>);

#[derive(Debug, Clone)]
pub(crate) enum Rules<R> {
    Solo,
    PostFork {
        max_children: u32,
        backlog: u32,
    },
    PreFork {
        pool: PoolRules,
        requests: RequestLimit,
        jitter: Jitter,
        request_factory: SharedRequestFactory<R>,
    },
    OnDemand {
        rules: DemandRules,
        requests: RequestLimit,
        jitter: Jitter,
        request_factory: SharedRequestFactory<R>,
    },
}

impl<R> Rules<R> {
    pub(crate) fn max_children(&self) -> u32 {
        match self {
            Rules::Solo => 0,
            Rules::PostFork { max_children, .. } => *max_children,
            Rules::PreFork { pool, .. } => pool.max_children,
            Rules::OnDemand { rules, .. } => rules.max_children,
        }
    }

    /// Returns the number of scoreboard slots. There are enough slots to double `max_children`
    /// later, up to [`MAX_SLOTS`].
    pub(crate) fn slots(&self) -> u32 {
        slots_for(self.max_children())
    }

    pub(crate) fn kind(&self) -> ModelKind {
        match self {
            Rules::Solo => ModelKind::Solo,
            Rules::PostFork { .. } => ModelKind::PostFork,
            Rules::PreFork { .. } | Rules::OnDemand { .. } => ModelKind::PreFork,
        }
    }
}

impl Model<()> for PreFork {
    fn check(self) -> Result<CheckedModel<()>, ConfigError> {
        let mut pool = PoolRules::from_parts(
            self.start_children,
            self.min_spare,
            self.max_spare,
            self.max_children,
        )?;
        if let Some(retire_delay) = self.retire_delay {
            pool.retire_delay = retire_delay;
        }
        let (requests, jitter) = (self.requests, self.jitter);
        let request_factory = SharedRequestFactory::new(NoRequest);
        Ok(CheckedModel(Rules::PreFork { pool, requests, jitter, request_factory }))
    }
}

impl<R> Model<R> for PostFork {
    fn check(self) -> Result<CheckedModel<R>, ConfigError> {
        let PostFork { max_children, backlog } = self;
        if max_children == 0 || max_children > MAX_SLOTS {
            let why = format!("it must be between 1 and {MAX_SLOTS}");
            return Err(ConfigError::value("max_children", max_children, why));
        }
        Ok(CheckedModel(Rules::PostFork { max_children, backlog }))
    }
}

impl<R> Model<R> for Solo {
    fn check(self) -> Result<CheckedModel<R>, ConfigError> {
        Ok(CheckedModel(Rules::Solo))
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::PreFork {}
    impl Sealed for super::PostFork {}
    impl Sealed for super::Solo {}
    impl<R> Sealed for super::OnDemand<R> {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<R>(model: impl Model<R>) -> String {
        model.check().map(|_checked| ()).unwrap_err().to_string()
    }

    #[test]
    fn sizes_that_are_not_set_are_computed_as_in_the_original() {
        let pool = |model: PreFork| match model.check().unwrap().0 {
            Rules::PreFork { pool, .. } => (pool.min_spare, pool.max_spare, pool.max_children),
            Rules::Solo | Rules::PostFork { .. } | Rules::OnDemand { .. } => {
                unreachable!("not a pool")
            }
        };
        assert_eq!(pool(PreFork::new(10)), (10, 20, 30));
        assert_eq!(pool(PreFork::new(3).max_children(10)), (2, 8, 10));
        assert_eq!(pool(PreFork::new(1).max_children(4)).0, 1);
        assert_eq!(pool(PreFork::new(3).max_spare(6).max_children(9)).0, 3);
    }

    #[test]
    fn a_fixed_pool_has_one_size() {
        for model in [PreFork::fixed(4), PreFork::new(4).max_children(4)] {
            let Rules::PreFork { pool, .. } = model.check().unwrap().0 else {
                unreachable!("not a pool")
            };
            assert_eq!(pool, PoolRules::fixed(4));
        }
        assert!(refusal(PreFork::fixed(0)).contains("start_children"));
    }

    #[test]
    fn the_error_for_a_max_spare_below_min_spare_contains_both_numbers() {
        let sentence = refusal(PreFork::new(1).min_spare(5).max_spare(3));
        assert!(sentence.contains("max_spare") && sentence.contains('5') && sentence.contains('3'));
    }

    #[test]
    fn the_error_for_zero_children_contains_the_name_of_the_setting() {
        assert!(refusal::<Vec<u8>>(PostFork::new(0)).contains("max_children is 0"));
        assert!(refusal(PreFork::new(0)).contains("start_children"));
    }
}
