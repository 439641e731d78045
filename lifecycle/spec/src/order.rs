//! `order.toml` and `system.toml` (Platform API).

use crate::group::GroupElement;
use serde::{Deserialize, Serialize};

/// `order.toml`: the groups that detection tries, first match wins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The groups.
    #[serde(default)]
    pub order: Vec<OrderGroup>,
    /// Groups of image extensions, which detection tries in front of every group.
    #[serde(
        default,
        rename = "order-extensions",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub order_extensions: Vec<OrderGroup>,
}

/// One group of an order, in `order.toml` or in a composite buildpack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderGroup {
    /// The buildpacks, component or composite.
    #[serde(default)]
    pub group: Vec<GroupElement>,
}

impl Order {
    /// An order of one group.
    pub fn of(group: Vec<GroupElement>) -> Self {
        Self {
            order: vec![OrderGroup { group }],
            order_extensions: Vec::new(),
        }
    }

    /// Puts the system's buildpacks around every group; one that a group already names, in whatever version, is
    /// not added to it (Platform API 0.15, "detector").
    #[must_use]
    pub fn with_system(mut self, system: &System) -> Self {
        for group in &mut self.order {
            let missing = |buildpacks: &SystemBuildpacks| -> Vec<GroupElement> {
                buildpacks
                    .buildpacks
                    .iter()
                    .filter(|element| group.group.iter().all(|own| own.id != element.id))
                    .cloned()
                    .collect()
            };
            let (mut merged, post) = (missing(&system.pre), missing(&system.post));
            merged.append(&mut group.group);
            merged.extend(post);
            group.group = merged;
        }
        self
    }
}

/// `system.toml`, as it stands in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemToml {
    /// The only table.
    #[serde(default)]
    pub system: System,
}

/// Buildpacks that an operator puts around every group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// In front.
    #[serde(default)]
    pub pre: SystemBuildpacks,
    /// Behind.
    #[serde(default)]
    pub post: SystemBuildpacks,
}

/// One end of [`System`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemBuildpacks {
    /// The buildpacks.
    #[serde(default)]
    pub buildpacks: Vec<GroupElement>,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn system_buildpacks_surround_groups_without_repeating() {
        let order: Order = toml::from_str(
            "[[order]]\n[[order.group]]\nid = \"a\"\nversion = \"1\"\n[[order.group]]\nid = \"post\"\nversion = \"9\"\noptional = true\n\
             [[order]]\n[[order.group]]\nid = \"b\"\nversion = \"1\"\n",
        )
        .unwrap();
        let system: SystemToml = toml::from_str(
            "[[system.pre.buildpacks]]\nid = \"pre\"\nversion = \"1\"\n[[system.post.buildpacks]]\nid = \"post\"\nversion = \"1\"\n",
        )
        .unwrap();
        let merged = order.with_system(&system.system);
        let names: Vec<Vec<String>> = merged
            .order
            .iter()
            .map(|group| group.group.iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(
            names,
            [
                vec!["pre@1", "a@1", "post@9"],
                vec!["pre@1", "b@1", "post@1"]
            ]
        );
    }
}
