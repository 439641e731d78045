//! Extras and dependency groups that are installed on request.

use super::ProjectError;
use libcnb::Env;

/// Names extras (optional dependencies) to install, separated by commas or spaces.
pub(crate) const EXTRAS_VARIABLE: &str = "BP_PYTHON_EXTRAS";
/// Names dependency groups to install, separated likewise; without it none is.
pub(crate) const GROUPS_VARIABLE: &str = "BP_PYTHON_GROUPS";

/// Names the member of uv's workspace to install, where it is not the workspace's own project.
pub(crate) const MEMBER_VARIABLE: &str = "BP_UV_PACKAGE";

/// What is installed besides the project's ordinary dependencies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) extras: Vec<String>,
    pub(crate) groups: Vec<String>,
    /// The member of the workspace that is installed.
    pub(crate) member: Option<String>,
    /// Whether one of the groups is for developers, in PDM's sense: none of the extras.
    pub(crate) for_developers: bool,
}

impl Selection {
    pub(super) fn of(env: &Env) -> Result<Self, ProjectError> {
        Ok(Self {
            extras: names(env, EXTRAS_VARIABLE)?,
            groups: names(env, GROUPS_VARIABLE)?,
            member: names(env, MEMBER_VARIABLE)?.into_iter().next(),
            for_developers: false,
        })
    }

    /// Each name behind a flag of its own.
    pub(crate) fn flags(&self, extra: &'static str, group: &'static str) -> Vec<String> {
        let behind = |flag: &'static str, names: &[String]| {
            names
                .iter()
                .flat_map(|name| [flag.to_owned(), name.clone()])
                .collect::<Vec<_>>()
        };
        [behind(extra, &self.extras), behind(group, &self.groups)].concat()
    }
}

fn names(env: &Env, variable: &'static str) -> Result<Vec<String>, ProjectError> {
    let value = env
        .get(variable)
        .map(|value| value.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for name in value.split([',', ' ', '\t', '\n']) {
        if name.is_empty() {
            continue;
        }
        if !is_name(name) {
            return Err(ProjectError::MalformedSelection {
                variable,
                name: name.to_owned(),
            });
        }
        names.push(name.to_owned());
    }
    // The order in which they are asked for changes nothing.
    names.sort();
    names.dedup();
    Ok(names)
}

/// The names of extras and groups (PEP 508, PEP 735); nothing that a tool would take for an option.
fn is_name(name: &str) -> bool {
    let alphanumeric = |character: char| character.is_ascii_alphanumeric();
    name.starts_with(alphanumeric)
        && name.ends_with(alphanumeric)
        && name
            .chars()
            .all(|character| alphanumeric(character) || "-_.".contains(character))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn extras(value: &str) -> Result<Vec<String>, String> {
        let mut env = Env::new();
        env.insert(EXTRAS_VARIABLE, value);
        Selection::of(&env)
            .map(|selection| selection.extras)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn names_in_any_order_are_the_same_selection() {
        assert_eq!(extras("b, a").unwrap(), extras("a,b,a").unwrap());
        assert_eq!(extras(" ").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn options_are_no_names() {
        for value in ["--index-url", "a;b", "-", "a/../b"] {
            assert!(
                extras(value).unwrap_err().contains("BP_PYTHON_EXTRAS"),
                "{value}"
            );
        }
    }
}
