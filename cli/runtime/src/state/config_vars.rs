//! Config vars: names, sizes, and how they are written for a shell.

use crate::nearest;
use std::collections::BTreeMap;

/// An app's config vars, by name. Values are secrets.
pub type ConfigVars = BTreeMap<String, String>;

/// All names and values of an app's config vars together, in bytes (Heroku Dev Center, "Config
/// vars": 32 kB for each app).
pub const MOST_BYTES: usize = 32 * 1024;

/// What the platform sets in each dyno.
const RESERVED: [&str; 2] = ["DYNO", "PORT"];

/// Why config vars are refused. No message contains a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigVarsError {
    #[error(
        "{name:?} cannot be a config var's name: use letters, digits and underscores, no digit first"
    )]
    Characters { name: String },
    #[error("{name} cannot be a config var's name: names do not begin with two underscores")]
    Underscores { name: String },
    #[error("{name} cannot be set: names that begin with HEROKU_ belong to the platform")]
    Platform { name: String },
    #[error("{name} cannot be set: each dyno gets its own {name} from the platform")]
    Reserved { name: String },
    #[error("{name} has a NUL byte in its value, which no environment can hold")]
    Nul { name: String },
    #[error(
        "the config vars would take {bytes} bytes; {MOST_BYTES} are the most, names and values together"
    )]
    TooLarge { bytes: usize },
}

/// Whether a user may set a config var of this name (Heroku Dev Center, "Config vars"). The
/// platform itself may also set `HEROKU_…`.
pub fn check_name(name: &str) -> Result<(), ConfigVarsError> {
    let first_is_good = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let rest_is_good = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let name = name.to_owned();
    // Shells drop variables that begin with a digit.
    if !first_is_good || !rest_is_good {
        Err(ConfigVarsError::Characters { name })
    } else if name.starts_with("__") {
        Err(ConfigVarsError::Underscores { name })
    } else if name.starts_with("HEROKU_") {
        Err(ConfigVarsError::Platform { name })
    } else if RESERVED.contains(&name.as_str()) {
        Err(ConfigVarsError::Reserved { name })
    } else {
        Ok(())
    }
}

/// Whether an app can have these config vars: their values and their size.
pub fn check_all(config: &ConfigVars) -> Result<(), ConfigVarsError> {
    if let Some((name, _)) = config.iter().find(|(_, value)| value.contains('\0')) {
        return Err(ConfigVarsError::Nul { name: name.clone() });
    }
    let bytes = config
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > MOST_BYTES {
        return Err(ConfigVarsError::TooLarge { bytes });
    }
    Ok(())
}

/// The name that was probably meant by one that is not set.
pub fn nearest_name<'a>(wanted: &str, config: &'a ConfigVars) -> Option<&'a str> {
    let known = config.keys().map(String::as_str);
    config
        .keys()
        .map(String::as_str)
        .find(|name| name.eq_ignore_ascii_case(wanted))
        .or_else(|| nearest::nearest(wanted, known))
}

/// A value as `heroku config -s` writes it: as it is, in single quotes, or in double quotes with
/// `\n` when it has a single quote or a line break. A backslash calls for double quotes, too: only
/// between those do shells and [`crate::state::env_file`] read it alike.
pub fn shell_quoted(value: &str) -> String {
    const SPECIAL: &str = "\"#!$&'()*,:;<=>?@[\\]^`{|}~";
    let is_plain = |c: char| !c.is_whitespace() && !SPECIAL.contains(c);
    if value.chars().all(is_plain) {
        return value.to_owned();
    }
    if !value.contains(['\'', '\n', '\r', '\\']) {
        return format!("'{value}'");
    }
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '"' | '\\' | '$' | '`' => quoted.extend(['\\', c]),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// What a release that sets and removes config vars is called: `Set FOO, BAR config vars`.
pub fn describe_change(before: &ConfigVars, after: &ConfigVars) -> String {
    let set: Vec<&str> = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(*value))
        .map(|(name, _)| name.as_str())
        .collect();
    let removed: Vec<&str> = before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .map(String::as_str)
        .collect();
    match (set.as_slice(), removed.as_slice()) {
        (set, []) => format!("Set {} config vars", set.join(", ")),
        ([], removed) => format!("Remove {} config vars", removed.join(", ")),
        (set, removed) => format!(
            "Set {} and remove {} config vars",
            set.join(", "),
            removed.join(", ")
        ),
    }
}

#[cfg(test)]
#[path = "config_vars_tests.rs"]
mod tests;
