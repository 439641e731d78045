//! The index of a registry of buildpacks: which image is which version of a buildpack (CNB Buildpack Registry 0.1).
//!
//! It is a folder of the user's, such as a clone of the index that pack uses. What an ID stands for thus changes when the
//! user brings the folder up to date, and no build waits for a repository.
//!
//! ```text
//! 1/<namespace>_a   2/<namespace>_ab   3/ab/<namespace>_abc   ab/cd/<namespace>_abcd…
//! ```
//!
//! Each of these files has a line of JSON for each version.

use crate::failure::{Exit, Failure};
use oci_image::Reference;
use serde::Deserialize;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Thousands of versions fit.
const LARGEST: u64 = 16 << 20;

const UPDATE: &str = "bring the index up to date, for example with git pull";

#[derive(Debug, Deserialize)]
struct Entry {
    version: String,
    #[serde(default)]
    yanked: bool,
    #[serde(default)]
    addr: String,
}

/// Whether `NAMESPACE/NAME` can be in an index.
pub(crate) fn is_id(id: &str) -> bool {
    split(id).is_some()
}

fn split(id: &str) -> Option<(&str, &str)> {
    let (namespace, name) = id.split_once('/')?;
    let is_part = |part: &str| {
        // Folders are cut out of names, two bytes each: dots could lead out of the index.
        (1..=253).contains(&part.len())
            && !part.contains("..")
            && part.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)
            })
    };
    (is_part(namespace) && is_part(name)).then_some((namespace, name))
}

/// The image of a buildpack, by digest; without `version`, of the newest that was not withdrawn.
pub(crate) fn find(index: &Path, id: &str, version: &str) -> Result<String, Failure> {
    let file = file_of(index, id).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            format!("{id} is no ID of a registry's buildpack"),
        )
        .hint("write urn:cnb:registry:NAMESPACE/NAME[@VERSION]")
    })?;
    let unknown = |what: String| {
        Failure::new(
            Exit::Input,
            format!("the index {} has no {what}", index.display()),
        )
    };
    let unusable = |why: Box<dyn Error + Send + Sync>| {
        Failure::new(
            Exit::Input,
            format!("cannot read the index of buildpacks {}", file.display()),
        )
        .because(why)
        .hint(UPDATE)
    };
    let mut text = String::new();
    match File::open(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(unknown(format!("buildpack {id}")).hint(UPDATE));
        }
        opened => opened
            .and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
            .map_err(|error| unusable(error.into()))?,
    };
    if text.len() as u64 > LARGEST {
        return Err(unusable(
            format!("it is longer than {LARGEST} bytes").into(),
        ));
    }
    let entries = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(serde_json::from_str)
        .collect::<Result<Vec<Entry>, _>>()
        .map_err(|error| unusable(error.into()))?;
    let found = if version.is_empty() {
        let usable = entries.iter().filter(|entry| !entry.yanked);
        usable.max_by_key(|entry| precedence(&entry.version))
    } else {
        entries.iter().find(|entry| entry.version == version)
    };
    let found = found.ok_or_else(|| {
        if version.is_empty() {
            return unknown(format!("version of {id} that was not withdrawn")).hint(UPDATE);
        }
        let versions: Vec<&str> = entries.iter().map(|entry| &*entry.version).collect();
        unknown(format!("{id}@{version}")).hint(if versions.is_empty() {
            UPDATE.to_owned()
        } else {
            format!("it has {}", versions.join(", "))
        })
    })?;
    // A name alone could stand for something else tomorrow.
    let image = found.addr.parse::<Reference>().ok();
    if image.is_none_or(|image| image.digest().is_none()) {
        let why = format!("{:?} is no image by its digest", found.addr);
        return Err(unusable(why.into()));
    }
    Ok(found.addr.clone())
}

fn file_of(index: &Path, id: &str) -> Option<PathBuf> {
    let (namespace, name) = split(id)?;
    let folder = match name.len() {
        length @ (1 | 2) => length.to_string(),
        3 => format!("3/{}", &name[..2]),
        _ => format!("{}/{}", &name[..2], &name[2..4]),
    };
    Some(index.join(folder).join(format!("{namespace}_{name}")))
}

/// The order of versions (semver 2.0, "Precedence"); of two candidates for one release either may come first.
fn precedence(version: &str) -> (Vec<u64>, bool) {
    let core = version.split('+').next().unwrap_or_default();
    let (numbers, candidate) = core.split_once('-').unwrap_or((core, ""));
    let numbers = numbers.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.collect(), candidate.is_empty())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn versions_lead_to_images() {
        let index = tempfile::tempdir().unwrap();
        let image = |last: u8| format!("r.example/b@sha256:{last:064}");
        let line = |version: &str, yanked: bool, addr: &str| {
            format!(
                "{{\"ns\":\"team\",\"name\":\"ruby\",\"version\":\"{version}\",\"yanked\":{yanked},\"addr\":\"{addr}\"}}\n"
            )
        };
        fs::create_dir_all(index.path().join("ru/by")).unwrap();
        let text = line("1.9.0", false, &image(1))
            + &line("1.10.0", false, &image(2))
            + &line("2.0.0-rc1", false, &image(5))
            + &line("2.0.0", true, &image(3))
            + "\n"
            + &line("0.1.0", false, "r.example/b:1");
        fs::write(index.path().join("ru/by/team_ruby"), &text).unwrap();
        let found = |id: &str, version: &str| find(index.path(), id, version);
        assert_eq!(found("team/ruby", "1.9.0").unwrap(), image(1));
        assert_eq!(found("team/ruby", "2.0.0").unwrap(), image(3));
        assert_eq!(found("team/ruby", "").unwrap(), image(5));
        let said = crate::ui::error::chain(&found("team/ruby", "3").unwrap_err());
        assert!(said.contains("has no team/ruby@3"), "{said}");
        fs::write(
            index.path().join("ru/by/team_rubyist"),
            line("1.0.0", true, &image(1)),
        )
        .unwrap();
        let none = found("team/rubyist", "").unwrap_err();
        let said = crate::ui::error::chain(&none);
        assert!(said.contains("has no version of team/rubyist"), "{said}");
        assert_eq!(none.next_step(), Some(UPDATE));
        fs::write(
            index.path().join("ru/by/team_rubyists"),
            vec![b'\n'; usize::try_from(LARGEST).unwrap() + 1],
        )
        .unwrap();
        let said = crate::ui::error::chain(&found("team/rubyists", "").unwrap_err());
        assert!(said.contains("it is longer than"), "{said}");
        for (id, version) in [("team/ruby", "0.1.0"), ("team/rust", ""), ("ruby", "")] {
            assert!(found(id, version).is_err(), "{id}@{version}");
        }
    }

    #[test]
    fn files_by_the_length_of_the_name() {
        let place = |id: &str| file_of(Path::new("/i"), id).map(|it| it.display().to_string());
        for (id, expected) in [
            ("n/a", Some("/i/1/n_a")),
            ("n/ab", Some("/i/2/n_ab")),
            ("n/abc", Some("/i/3/ab/n_abc")),
            ("n/abcde", Some("/i/ab/cd/n_abcde")),
            ("n/../x", None),
            ("n/..ab", None),
            ("n/....", None),
            ("n/..x", None),
            ("N/abc", None),
            ("abc", None),
        ] {
            assert_eq!(place(id).as_deref(), expected, "{id}");
        }
    }
}
