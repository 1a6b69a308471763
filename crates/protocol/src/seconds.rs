//! Serializes durations as numbers of seconds with microsecond precision. Programs in every
//! language can read such numbers.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::Serializer;

/// Returns the duration in seconds, truncated to whole microseconds.
pub(crate) fn of(time: Duration) -> f64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(micros).as_secs_f64()
}

fn parse(seconds: f64) -> Option<Duration> {
    // Round to the nearest microsecond, because most decimal fractions have no exact binary form.
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    let micros = time.checked_add(Duration::from_nanos(500))?.as_micros();
    u64::try_from(micros).ok().map(Duration::from_micros)
}

pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(of(*time))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(from)?;
    parse(seconds)
        .ok_or_else(|| D::Error::custom(format!("{seconds} is not a duration in seconds")))
}

/// Serializes optional durations in the same way.
pub(crate) mod optional {
    use super::{Deserialize, Deserializer, Duration, Error, Serializer, of, parse};

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => to.serialize_some(&of(*time)),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let Some(seconds) = Option::<f64>::deserialize(from)? else {
            return Ok(None);
        };
        let time = parse(seconds);
        time.map(Some)
            .ok_or_else(|| D::Error::custom(format!("{seconds} is not a duration in seconds")))
    }
}

/// Serializes a time as seconds since 1970, with a fraction.
pub(crate) mod epoch {
    use std::time::SystemTime;

    use super::{Deserialize, Deserializer, Duration, Error, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        time: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        // Only a clock that was never set shows a time before 1970, so such a time becomes 0.
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        serializer.serialize_f64(since.as_secs_f64())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        let since = Duration::try_from_secs_f64(seconds).map_err(D::Error::custom)?;
        let time = SystemTime::UNIX_EPOCH.checked_add(since);
        time.ok_or_else(|| D::Error::custom(format!("{seconds} s after 1970 is out of range")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_converted_to_seconds_and_back() {
        assert_eq!(of(Duration::from_millis(1500)).to_string(), "1.5");
        assert_eq!(parse(1.5), Some(Duration::from_millis(1500)));
        assert_eq!(parse(0.1), Some(Duration::from_millis(100)));
    }

    #[test]
    fn invalid_durations_are_refused() {
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e30] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
