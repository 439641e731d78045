//! `app.json`: what an app needs besides its code (Heroku Dev Center, "app.json Schema").

use crate::failure::{Exit, Failure, OrFail};
use cnb_spec::names::ProcessType;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use slug_runtime::size::Size;
use slug_runtime::state::config_vars::check_name;
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub(crate) const FILE: &str = "app.json";

/// What of it slugc carries out.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct AppJson {
    pub(crate) env: BTreeMap<VariableName, Variable>,
    pub(crate) formation: BTreeMap<TypeName, Dynos>,
    pub(crate) addons: Vec<Wanted>,
    pub(crate) scripts: Scripts,
    /// The rest: looked at to say what is left out.
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

/// A config var's name that may be set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VariableName(pub(crate) String);

impl<'de> Deserialize<'de> for VariableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        check_name(&name).map_err(D::Error::custom)?;
        Ok(Self(name))
    }
}

/// A process type's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeName(pub(crate) ProcessType);

impl<'de> Deserialize<'de> for TypeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let parsed = name.parse();
        parsed
            .map(Self)
            .map_err(|_| D::Error::custom(format!("{name:?} cannot be a process type")))
    }
}

/// What a config var is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) description: Option<String>,
    pub(crate) value: Option<String>,
    /// Whether the app does not run without it; so unless it says otherwise.
    pub(crate) is_required: bool,
    /// Whether a random value is made for it.
    pub(crate) is_secret: bool,
}

/// How many dynos of a type, and how large.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dynos {
    #[serde(default)]
    pub(crate) quantity: Option<u32>,
    /// As it is written there: `free` and its like are in old files, and no reason not to run an app.
    #[serde(default)]
    size: Option<String>,
}

impl Dynos {
    /// The size, unless slugc does not have it.
    pub(crate) fn size(&self) -> Option<Size> {
        self.size.as_ref()?.parse().ok()
    }
}

/// An add-on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// `heroku-postgresql:mini`
    pub(crate) plan: String,
    /// The attachment's name.
    pub(crate) attachment: Option<String>,
    /// Whether it has options, which slugc's add-ons do not take.
    pub(crate) has_options: bool,
}

/// Commands at certain moments.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Scripts {
    /// Runs once, when the app has been set up.
    #[serde(deserialize_with = "script")]
    pub(crate) postdeploy: Option<String>,
}

fn script<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Default, Deserialize)]
    struct Long {
        command: String,
    }
    either(
        deserializer,
        "a command, or an object with a command",
        |text| Some(text.to_owned()),
        |long: Long| Some(long.command),
    )
}

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Generator {
            Secret,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            description: Option<String>,
            value: Option<String>,
            required: Option<bool>,
            generator: Option<Generator>,
        }
        either(
            deserializer,
            "a value, or an object with description, value, required and generator",
            |value| Self {
                description: None,
                value: Some(value.to_owned()),
                is_required: true,
                is_secret: false,
            },
            |long: Long| Self {
                description: long.description,
                value: long.value,
                is_required: long.required.unwrap_or(true),
                is_secret: matches!(long.generator, Some(Generator::Secret)),
            },
        )
    }
}

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            plan: String,
            r#as: Option<String>,
            options: Option<IgnoredAny>,
        }
        either(
            deserializer,
            "a plan, or an object with plan, as and options",
            |plan| Self {
                plan: plan.to_owned(),
                attachment: None,
                has_options: false,
            },
            |long: Long| Self {
                plan: long.plan,
                attachment: long.r#as,
                has_options: long.options.is_some(),
            },
        )
    }
}

/// Reads what may be written in a short and in a long way, with errors at their own place: serde's
/// untagged enums say only that neither fits.
fn either<'de, D, Long, T>(
    deserializer: D,
    expected: &'static str,
    of_text: impl FnOnce(&str) -> T,
    of_object: impl FnOnce(Long) -> T,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    Long: Deserialize<'de>,
{
    struct Either<F, G, Long> {
        expected: &'static str,
        of_text: F,
        of_object: G,
        long: std::marker::PhantomData<Long>,
    }
    impl<'de, F, G, Long, T> Visitor<'de> for Either<F, G, Long>
    where
        F: FnOnce(&str) -> T,
        G: FnOnce(Long) -> T,
        Long: Deserialize<'de>,
    {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.expected)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            Ok((self.of_text)(text))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            let object = serde::de::value::MapAccessDeserializer::new(map);
            Long::deserialize(object).map(self.of_object)
        }
    }
    deserializer.deserialize_any(Either {
        expected,
        of_text,
        of_object,
        long: std::marker::PhantomData,
    })
}

impl AppJson {
    /// Reads a folder's file; a missing one is `None`.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, Failure> {
        // `.` alone would only make messages longer.
        let path = match folder.to_str() {
            Some(".") => PathBuf::from(FILE),
            _ => folder.join(FILE),
        };
        match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => {
                let bytes =
                    read.or_fail(Exit::Input, || format!("cannot read {}", path.display()))?;
                Self::parse(&bytes, &path).map(Some)
            }
        }
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, Failure> {
        serde_json::from_slice(bytes).map_err(|error| {
            // serde_json ends its message with the place, which people look for first.
            let place = format!(" at line {} column {}", error.line(), error.column());
            let message = error.to_string();
            let what = message.strip_suffix(&place).unwrap_or(&message);
            let (line, column) = (error.line(), error.column());
            Failure::new(
                Exit::Input,
                format!("{}:{line}:{column}: {what}", path.display()),
            )
            .hint("what app.json may hold: https://devcenter.heroku.com/articles/app-json-schema")
        })
    }

    /// What is there and has no effect, in words.
    pub(crate) fn left_out(&self) -> Vec<String> {
        let about = |key: &str| match key {
            "buildpacks" => {
                Some("buildpacks: slugc detects its own; slugc build -b DIR names others")
            }
            "stack" | "image" => Some("slugc has a stack of its own"),
            "environments" => Some("there are no review apps and no CI here"),
            _ => None,
        };
        let mut notes: Vec<String> = self
            .rest
            .keys()
            .filter_map(|key| about(key).map(|why| format!("{FILE}'s {key} has no effect: {why}")))
            .collect();
        notes.extend(
            self.addons
                .iter()
                .filter(|addon| addon.has_options)
                .map(|addon| format!("{FILE}'s options of {} have no effect", addon.plan)),
        );
        notes.extend(self.formation.iter().filter_map(|(name, dynos)| {
            let error = dynos.size.as_ref()?.parse::<Size>().err()?;
            Some(format!(
                "{FILE}'s size of {} has no effect: {error}",
                name.0
            ))
        }));
        notes
    }
}

#[cfg(test)]
#[path = "app_json_tests.rs"]
mod tests;
