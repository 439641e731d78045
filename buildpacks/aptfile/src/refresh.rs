//! Whether the archives are asked again though nothing else changed.

use libcnb::Env;

/// Asks for a look at what is not pinned: a switch, or the name of a period in which one look is enough. The Python
/// buildpack takes the same.
const VARIABLE: &str = "BP_PYTHON_REFRESH";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refresh {
    No,
    Now,
    Once { period: String },
}

impl Refresh {
    /// What the user or the platform asks for.
    pub(crate) fn of(env: &Env) -> Self {
        let value = env
            .get(VARIABLE)
            .map(|value| value.to_string_lossy().trim().to_owned())
            .unwrap_or_default();
        match value.to_ascii_lowercase().as_str() {
            "" | "0" | "false" | "no" | "off" => Self::No,
            "1" | "true" | "yes" | "on" => Self::Now,
            _ => Self::Once { period: value },
        }
    }

    /// Whether that is still to be done after a build in another period, or none.
    pub(crate) fn is_due(&self, last: &str) -> bool {
        match self {
            Self::No => false,
            Self::Now => true,
            Self::Once { period } => period != last,
        }
    }

    /// The period, if one is named.
    pub(crate) fn period(&self) -> &str {
        match self {
            Self::No | Self::Now => "",
            Self::Once { period } => period,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_and_periods() {
        let of = |value: &str| {
            let mut env = Env::new();
            env.insert(VARIABLE, value);
            Refresh::of(&env)
        };
        assert_eq!(Refresh::of(&Env::new()), Refresh::No);
        for off in ["", "0", "no", " Off "] {
            assert!(!of(off).is_due(""), "{off}");
        }
        for on in ["1", "TRUE"] {
            assert!(of(on).is_due("") && of(on).period().is_empty(), "{on}");
        }
        let today = of("2026-11-23");
        assert!(today.is_due("") && today.is_due("2026-11-22"));
        assert!(!today.is_due(today.period()));
    }
}
