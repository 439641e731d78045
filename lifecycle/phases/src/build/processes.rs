//! The processes of all buildpacks: later ones replace earlier ones of their type.

use cnb_spec::metadata::Process;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Processes {
    by_type: BTreeMap<String, Process>,
    default: Option<String>,
}

impl Processes {
    /// Adds those of one buildpack; a warning when the image loses its default process by it.
    pub(super) fn add(&mut self, processes: Vec<Process>) -> Option<String> {
        let mut warning = None;
        for process in processes {
            let name = process.r#type.clone();
            if process.default {
                self.default = Some(name.clone());
                warning = None;
            } else if self.default.as_ref() == Some(&name) {
                self.default = None;
                warning = Some(format!(
                    "process {name} was the default and is redefined by one that is not: the image has no default process"
                ));
            }
            self.by_type.insert(
                name,
                Process {
                    default: false,
                    ..process
                },
            );
        }
        warning
    }

    /// All processes, sorted by type, and the default's type.
    pub(super) fn finish(self) -> (Vec<Process>, Option<String>) {
        (self.by_type.into_values().collect(), self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(r#type: &str, default: bool, buildpack: &str) -> Process {
        Process {
            r#type: r#type.into(),
            default,
            buildpack_id: buildpack.into(),
            ..Process::default()
        }
    }

    #[test]
    fn the_last_default_wins_unless_it_is_redefined() {
        let mut processes = Processes::default();
        assert!(
            processes
                .add(vec![
                    process("web", true, "a"),
                    process("worker", false, "a")
                ])
                .is_none()
        );
        assert!(processes.add(vec![process("admin", true, "b")]).is_none());
        assert!(
            processes.add(vec![process("web", false, "b")]).is_none(),
            "no longer the default"
        );
        let warning = processes.add(vec![process("admin", false, "c")]);
        assert!(warning.is_some_and(|text| text.contains("process admin was the default")));
        let (list, default) = processes.finish();
        assert_eq!(default, None);
        let list: Vec<_> = list
            .iter()
            .map(|p| (p.r#type.as_str(), p.buildpack_id.as_str()))
            .collect();
        assert_eq!(list, [("admin", "c"), ("web", "b"), ("worker", "a")]);
    }
}
