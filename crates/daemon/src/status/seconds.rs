//! Times as a number of seconds, told to the microsecond: what programs in any language can read.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::Serializer;

/// The number of seconds, whole microseconds of it.
pub(crate) fn of(time: Duration) -> f64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(micros).as_secs_f64()
}

fn parse(seconds: f64) -> Option<Duration> {
    // To the nearest microsecond: a decimal fraction of a second is rarely a binary one.
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    let micros = time.checked_add(Duration::from_nanos(500))?.as_micros();
    u64::try_from(micros).ok().map(Duration::from_micros)
}

pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(of(*time))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(from)?;
    parse(seconds).ok_or_else(|| D::Error::custom(format!("{seconds} is no time in seconds")))
}

/// The same for a time that may not be known.
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
        time.map(Some).ok_or_else(|| D::Error::custom(format!("{seconds} is no time in seconds")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_of_seconds() {
        assert_eq!(of(Duration::from_millis(1500)).to_string(), "1.5");
        assert_eq!(parse(1.5), Some(Duration::from_millis(1500)));
        assert_eq!(parse(0.1), Some(Duration::from_millis(100)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e30] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
