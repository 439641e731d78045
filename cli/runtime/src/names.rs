//! Names of dynos.

use cnb_spec::names::ProcessType;
use rustix::rand::{GetRandomFlags, getrandom};
use std::fmt;

/// A dyno's name, which it also finds in `$DYNO`: `web.1`, `run.4711`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DynoName {
    kind: String,
    number: u32,
}

impl DynoName {
    /// The `number`th dyno of a type, counted from 1.
    pub fn of(process_type: &ProcessType, number: u32) -> Self {
        Self {
            kind: process_type.to_string(),
            number,
        }
    }

    /// The one-off dyno of a release command: `release.` and the release's version.
    pub fn of_release(version: u64) -> Self {
        Self {
            kind: "release".to_owned(),
            number: u32::try_from(version).unwrap_or(u32::MAX),
        }
    }

    /// A one-off dyno: `run.` and a random number of four digits, as on Heroku. Two one-offs may
    /// get the same name; nothing is stored under it alone.
    pub fn one_off() -> Self {
        let mut bytes = [0_u8; 2];
        // Without random bytes every one-off would be run.1000, which is still a valid name.
        let _ = getrandom(&mut bytes, GetRandomFlags::NONBLOCK);
        Self {
            kind: "run".to_owned(),
            number: 1000 + u32::from(u16::from_le_bytes(bytes)) % 9000,
        }
    }
}

impl fmt::Display for DynoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.number)
    }
}

/// Whether dynos of this type get `PORT` and have to bind to it.
pub(crate) fn is_web(process_type: &ProcessType) -> bool {
    process_type.as_str() == "web"
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn dyno_names() {
        let web = "web".parse().unwrap();
        assert_eq!(DynoName::of(&web, 2).to_string(), "web.2");
        assert_eq!(DynoName::of_release(7).to_string(), "release.7");
        let name = DynoName::one_off().to_string();
        let number = name.strip_prefix("run.").unwrap();
        assert!((1000..10_000).contains(&number.parse::<u32>().unwrap()));
    }
}
