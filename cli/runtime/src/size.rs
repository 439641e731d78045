//! Heroku's dyno sizes.

use crate::nearest::nearest;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A dyno size (Heroku Dev Center, "Dyno Types").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    Eco,
    Basic,
    #[serde(rename = "standard-1x")]
    Standard1x,
    #[serde(rename = "standard-2x")]
    Standard2x,
    PerformanceM,
    PerformanceL,
    PerformanceLRam,
    PerformanceXl,
    #[serde(rename = "performance-2xl")]
    Performance2xl,
}

/// The size, its name as Heroku prints it, its short name, its memory quota in MiB, and its share of
/// the processors as a multiple of the smallest.
const SIZES: [(Size, &str, &str, u64, u32); 9] = [
    (Size::Eco, "Eco", "eco", 512, 1),
    (Size::Basic, "Basic", "basic", 512, 1),
    (Size::Standard1x, "Standard-1X", "1x", 512, 1),
    (Size::Standard2x, "Standard-2X", "2x", 1024, 2),
    (Size::PerformanceM, "Performance-M", "pm", 2560, 12),
    (Size::PerformanceL, "Performance-L", "pl", 14 * 1024, 50),
    (
        Size::PerformanceLRam,
        "Performance-L-RAM",
        "pl-ram",
        30 * 1024,
        24,
    ),
    (Size::PerformanceXl, "Performance-XL", "pxl", 62 * 1024, 50),
    (
        Size::Performance2xl,
        "Performance-2XL",
        "p2xl",
        126 * 1024,
        100,
    ),
];

/// A size that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no dyno size {wanted}: {}", offer(nearest.as_deref()))]
pub struct UnknownSize {
    wanted: String,
    /// The size that was probably meant.
    nearest: Option<String>,
}

fn offer(nearest: Option<&str>) -> String {
    let all: Vec<String> = SIZES
        .iter()
        .map(|(_, name, ..)| name.to_lowercase())
        .collect();
    match nearest {
        Some(nearest) => format!("did you mean {nearest}? There are {}", all.join(", ")),
        None => format!("there are {}", all.join(", ")),
    }
}

impl Size {
    /// How much memory a dyno of this size is to use, in bytes.
    pub fn memory(self) -> u64 {
        let (_, _, _, mebibytes, _) = SIZES[self as usize];
        mebibytes << 20
    }

    /// How much of busy processors it gets beside others, as a multiple of the smallest dynos'.
    pub fn cpu_share(self) -> u32 {
        let (.., share) = SIZES[self as usize];
        share
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SIZES[*self as usize].1)
    }
}

impl FromStr for Size {
    type Err = UnknownSize;

    /// In any case; `2X` and its like are Heroku's older names.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.to_lowercase();
        let found = SIZES
            .iter()
            .find(|(_, name, short, ..)| name.to_lowercase() == wanted || *short == wanted);
        found.map(|(size, ..)| *size).ok_or_else(|| {
            let names: Vec<String> = SIZES
                .iter()
                .map(|(_, name, ..)| name.to_lowercase())
                .collect();
            UnknownSize {
                nearest: nearest(&wanted, names.iter().map(String::as_str)).map(str::to_owned),
                wanted: text.to_owned(),
            }
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_and_quotas() {
        for (text, shown, mebibytes) in [
            ("eco", "Eco", 512),
            ("Standard-1X", "Standard-1X", 512),
            ("standard-2x", "Standard-2X", 1024),
            ("2X", "Standard-2X", 1024),
            ("performance-m", "Performance-M", 2560),
            ("performance-2xl", "Performance-2XL", 129_024),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.to_string(), shown);
            assert_eq!(size.memory() >> 20, mebibytes);
        }
        let error = "standart-1x".parse::<Size>().unwrap_err().to_string();
        assert!(error.contains("did you mean standard-1x?"), "{error}");
        assert!("".parse::<Size>().is_err());
    }

    #[test]
    fn the_table_is_in_order_and_what_is_stored_is_read() {
        for (place, (size, name, ..)) in SIZES.into_iter().enumerate() {
            assert_eq!(size as usize, place);
            let stored = serde_json::to_string(&size).unwrap();
            assert_eq!(stored, format!("\"{}\"", name.to_lowercase()));
            assert_eq!(serde_json::from_str::<Size>(&stored).unwrap(), size);
        }
    }
}
