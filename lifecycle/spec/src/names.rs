//! Names with a format: buildpack IDs, process types, layer names.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A name that breaks the rules of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a valid {kind}: {rule}")]
pub struct NameError {
    /// What the name was given as.
    pub name: String,
    /// "buildpack ID", "process type", "layer name".
    pub kind: &'static str,
    /// What the specification asks for.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { name: text.to_owned(), kind: $kind, rule: $rule })
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A buildpack's ID (Buildpack API, "buildpack.toml").
    ///
    /// Underscores and `+` are let through although the specification names only letters, digits, `.`, `/` and
    /// `-`: the reference lifecycle checks nothing here and published buildpacks use them.
    BuildpackId,
    "buildpack ID",
    "it may hold letters, digits, '.', '/', '-', '_' and '+', and must not be app, config, generated or sbom",
    |text| {
        !text.is_empty()
            && !matches!(text, "app" | "config" | "generated" | "sbom")
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "./-_+".contains(c))
            // The escaped ID is a folder's name; these two would lead out of its parent.
            && text.chars().any(|c| c != '.')
    }
);

impl BuildpackId {
    /// The name of the buildpack's folder: `/` becomes `_`.
    pub fn escaped(&self) -> String {
        escape_id(&self.0)
    }
}

name!(
    /// A process type (Buildpack API, "launch.toml").
    ProcessType,
    "process type",
    "it may hold letters, digits, '.', '_' and '-'",
    |text| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            // The type is a symlink's name under /cnb/process.
            && text.chars().any(|c| c != '.')
    }
);

name!(
    /// The name of a layer, a folder's name with three words taken for the buildpack's own files.
    LayerName,
    "layer name",
    "it must be a folder's name and not build, launch or store",
    |text| {
        !text.is_empty()
            && !matches!(text, "." | ".." | "build" | "launch" | "store")
            && !text.contains(['/', '\0'])
    }
);

/// The folder name of a buildpack ID (Platform API, "Buildpacks Directory Layout"): `/` becomes `_`.
pub fn escape_id(id: &str) -> String {
    id.replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        for (text, valid) in [
            ("heroku/python", true),
            ("io.buildpacks.samples.hello-world", true),
            ("a_b", true),
            ("", false),
            ("app", false),
            ("sbom", false),
            ("..", false),
            ("a b", false),
            ("a@b", false),
        ] {
            assert_eq!(text.parse::<BuildpackId>().is_ok(), valid, "{text:?}");
        }
        for (text, valid) in [
            ("web", true),
            ("a.b_c-1", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("a:b", false),
        ] {
            assert_eq!(text.parse::<ProcessType>().is_ok(), valid, "{text:?}");
        }
        for (text, valid) in [
            ("venv", true),
            ("wheel store", true),
            ("launch", false),
            ("a/b", false),
            ("..", false),
        ] {
            assert_eq!(text.parse::<LayerName>().is_ok(), valid, "{text:?}");
        }
    }
}
