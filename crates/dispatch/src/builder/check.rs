//! Checks the configuration before any process is forked.

use std::time::Duration;

use actix_daemon::ConfigError;

use super::DispatcherBuilder;
use crate::body::BODY_MAX;

impl DispatcherBuilder {
    pub(crate) fn check(&mut self) -> Result<(), ConfigError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.pre_fork > self.max_forks {
            let reason = format!("must not be greater than max_forks ({})", self.max_forks);
            return Err(ConfigError::value("pre_fork", self.pre_fork, reason));
        }
        let greater_than_0 = "must be greater than 0";
        if self.queue_capacity == 0 {
            return Err(ConfigError::value("queue_capacity", 0, greater_than_0));
        }
        if self.output_limit == 0 {
            return Err(ConfigError::value("output_limit", 0, greater_than_0));
        }
        if self.result_limit == 0 {
            return Err(ConfigError::value("result_limit", 0, greater_than_0));
        }
        if self.result_limit > BODY_MAX {
            let reason = format!("must not be greater than {BODY_MAX}");
            return Err(ConfigError::value("result_limit", self.result_limit, reason));
        }
        if self.defaults.attempts == 0 {
            return Err(ConfigError::value("attempts", 0, greater_than_0));
        }
        for (field, limit) in
            [("soft_limit", self.defaults.soft), ("hard_limit", self.defaults.hard)]
        {
            if limit == Some(Duration::ZERO) {
                return Err(ConfigError::value(field, "0s", greater_than_0));
            }
        }
        for (nth, lane) in self.lanes.iter().enumerate() {
            let others = self.lanes.iter().take(nth);
            if lane.name.is_empty() || others.into_iter().any(|other| other.name == lane.name) {
                let reason = "must be a unique, non-empty name";
                return Err(ConfigError::value("lane", format_args!("{:?}", lane.name), reason));
            }
            if lane.max_running == Some(0) {
                return Err(ConfigError::value(
                    "max_running",
                    format_args!("0 in lane {:?}", lane.name),
                    greater_than_0,
                ));
            }
        }
        Ok(())
    }
}
