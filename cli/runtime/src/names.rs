//! Names of dynos.

use cnb_spec::names::ProcessType;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A dyno's name, which it also finds in `$DYNO`: `web.1`, `run.4711`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

    /// The one-off after this one, for where this name is taken.
    pub(crate) fn next_one_off(&self) -> Self {
        Self {
            kind: self.kind.clone(),
            number: if self.number < 9999 {
                self.number + 1
            } else {
                1000
            },
        }
    }
}

/// What tells a dyno from every other one, those of the same name included: a random UUID
/// (RFC 9562, version 4).
pub(crate) fn dyno_id() -> String {
    let mut bytes = [0_u8; 16];
    // Without random bytes the id says little, but nothing depends on it.
    let _ = getrandom(&mut bytes, GetRandomFlags::NONBLOCK);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let number = u128::from_be_bytes(bytes);
    let hex = format!("{number:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
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
    fn dyno_ids() {
        let id = dyno_id();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert_ne!(id, dyno_id());
    }

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
