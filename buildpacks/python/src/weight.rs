//! Which packages make the image heavy.

use crate::layers::venv::Venv;
use crate::{log, tool_env};
use libcnb::Env;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Lists the heaviest packages after an install.
pub(crate) const VARIABLE: &str = "BP_PYTHON_SIZES";

/// From this size on they are listed without being asked for, in bytes.
const LARGE: u64 = 500_000_000;

/// How many are listed.
const SHOWN: usize = 10;

/// Says which packages are the heaviest, after a change of what is installed: when the user asks, or when it is much. What
/// can't be read is not told of.
pub(crate) fn tell(venv: &Venv, env: &Env) {
    if !venv.is_changed() {
        return;
    }
    let Ok(sizes) = sizes(&venv.site_packages) else {
        return;
    };
    let total: u64 = sizes.values().sum();
    let is_asked = env.get(VARIABLE).is_some_and(tool_env::is_on);
    if sizes.is_empty() || !is_asked && total < LARGE {
        return;
    }
    log::step(format!(
        "{} package{}, {}; the heaviest:",
        sizes.len(),
        if sizes.len() == 1 { "" } else { "s" },
        megabytes(total)
    ));
    for line in heaviest(&sizes) {
        log::step(line);
    }
}

fn heaviest(sizes: &BTreeMap<String, u64>) -> Vec<String> {
    let mut sorted: Vec<_> = sizes.iter().collect();
    // Equal ones stay in the order of their names.
    sorted.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
    sorted
        .into_iter()
        .take(SHOWN)
        .map(|(name, bytes)| format!("{:>10}  {name}", megabytes(*bytes)))
        .collect()
}

/// What each package's `RECORD` says of the sizes of its files (name, digest, size), in bytes.
fn sizes(site_packages: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    for entry in std::fs::read_dir(site_packages)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(package) = name.strip_suffix(".dist-info") else {
            continue;
        };
        let record = match std::fs::read(site_packages.join(&name).join("RECORD")) {
            Ok(record) => record,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let bytes = String::from_utf8_lossy(&record)
            .lines()
            .filter_map(|line| line.rsplit(',').next()?.trim().parse::<u64>().ok())
            .fold(0_u64, u64::saturating_add);
        sizes.insert(package.replacen('-', " ", 1), bytes);
    }
    Ok(sizes)
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_records() {
        let site_packages = tempfile::tempdir().unwrap();
        let add = |name: &str, record: &str| {
            let folder = site_packages.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("RECORD"), record).unwrap();
        };
        add(
            "big-1.0.dist-info",
            "big/a.py,sha256=x,2500000\n\"big/b,c.py\",sha256=y,500000\nbig-1.0.dist-info/RECORD,,\n",
        );
        add("small-2.dist-info", "small.py,sha256=x,100000\n");
        add(
            "lies-3.dist-info",
            "lies.py,sha256=x,99999999999999999999999\n",
        );
        std::fs::create_dir(site_packages.path().join("big")).unwrap();
        let sizes = sizes(site_packages.path()).unwrap();
        assert_eq!(
            heaviest(&sizes),
            [
                "    3.0 MB  big 1.0",
                "    0.1 MB  small 2",
                "    0.0 MB  lies 3"
            ]
        );
    }
}
