//! What is refused before anything forks: numbers and names that do not go together.

use std::time::Duration;

use actix_daemon::ConfigError;

use super::DispatcherBuilder;

impl DispatcherBuilder {
    pub(crate) fn check(&mut self) -> Result<(), ConfigError> {
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        if self.pre_fork > self.max_forks {
            let why = format!("it must not be more than max_forks, which is {}", self.max_forks);
            return Err(ConfigError::value("pre_fork", self.pre_fork, why));
        }
        let more_than_nothing = "it must be more than nothing";
        if self.queue == 0 {
            return Err(ConfigError::value("queue", 0, more_than_nothing));
        }
        if self.defaults.attempts == 0 {
            return Err(ConfigError::value("attempts", 0, more_than_nothing));
        }
        for (field, limit) in
            [("soft_limit", self.defaults.soft), ("hard_limit", self.defaults.hard)]
        {
            if limit == Some(Duration::ZERO) {
                return Err(ConfigError::value(field, "0s", more_than_nothing));
            }
        }
        for (nth, lane) in self.lanes.iter().enumerate() {
            let others = self.lanes.iter().take(nth);
            if lane.name.is_empty() || others.into_iter().any(|other| other.name == lane.name) {
                let why = "it must be a name, and no other lane's";
                return Err(ConfigError::value("lane", format_args!("{:?}", lane.name), why));
            }
            if lane.max_running == Some(0) {
                let why = "nothing would ever get through";
                return Err(ConfigError::value(
                    "at_most",
                    format_args!("0 in lane {}", lane.name),
                    why,
                ));
            }
        }
        Ok(())
    }
}
