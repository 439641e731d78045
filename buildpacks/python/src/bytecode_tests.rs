#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::fs;
use std::time::Duration;

/// A process that had the time to compile just these modules ahead.
fn ahead(cache: &Path, site_packages: &Path, expected: &[&str]) -> Ahead {
    let expected: HashSet<OsString> = expected
        .iter()
        .map(|module| site_packages.join(module).into_os_string())
        .collect();
    let mut known = HashSet::new();
    for pause in [100, 1000, 10_000, 60_000] {
        let Ahead(mut worker) = Ahead::start(Path::new("python3"), cache, site_packages).unwrap();
        thread::sleep(Duration::from_millis(pause));
        known = worker.compiled_ahead().unwrap();
        if known == expected {
            return Ahead(worker);
        }
    }
    panic!("compiled ahead: {known:?}");
}

/// The bytecode of all modules of a folder, which is removed.
fn take_bytecode(folder: &Path) -> Vec<(OsString, Vec<u8>)> {
    let cache = folder.join("__pycache__");
    let mut found: Vec<_> = fs::read_dir(&cache)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name(), fs::read(entry.path()).unwrap())
        })
        .collect();
    found.sort();
    fs::remove_dir_all(cache).unwrap();
    found
}

#[test]
fn what_was_compiled_ahead_is_what_compiling_in_place_gives() {
    if processors() < 2 {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let (cache, site) = (scratch.path().join("cache"), scratch.path().join("site"));
    let (unpacked, installed) = (cache.join(".tmpAbc/some"), site.join("some"));
    for folder in [&unpacked, &installed, &cache.join(".tmpDef")] {
        fs::create_dir_all(folder).unwrap();
    }
    let same = "import sys\n\n\ndef f(a, b=(1, 'x')):\n    return [a, b, sys, 'x']\n";
    for (name, ahead, in_place) in [
        ("same.py", same, same),
        ("other.py", "a = 'ahead'\n", "a = 'place'\n"),
        ("partly.py", "a = 1\nb = (", "a = 1\nb = ()\n"),
        ("late.py", "", "a = 3\n"),
        ("never.py", "no Python", "no Python"),
    ] {
        if !ahead.is_empty() {
            fs::write(unpacked.join(name), ahead).unwrap();
        }
        fs::write(installed.join(name), in_place).unwrap();
    }
    fs::write(unpacked.join("data.txt"), "data").unwrap();
    // No line of an answer may be what a name makes of it.
    fs::write(unpacked.join("a\n\nb.py"), "").unwrap();
    fs::write(cache.join("elsewhere.py"), "").unwrap();
    let modules: Vec<PathBuf> = ["same", "other", "partly", "late", "never"]
        .map(|name| installed.join(format!("{name}.py")))
        .to_vec();

    let plain = start(Path::new("python3"), modules.clone(), None).unwrap();
    assert_eq!(plain.finish().unwrap(), 4);
    let expected = take_bytecode(&installed);
    assert_eq!(expected.len(), 4);

    let ahead = ahead(&cache, &site, &["some/same.py", "some/other.py"]);
    // uv gives a folder that is complete another name.
    fs::rename(cache.join(".tmpAbc"), cache.join("archive")).unwrap();
    let compilation = start(Path::new("python3"), modules, Some(ahead)).unwrap();
    assert_eq!(compilation.finish().unwrap(), 4);
    assert!(take_bytecode(&installed) == expected);
}

#[test]
fn a_folder_that_is_not_there_stops_nobody() {
    let scratch = tempfile::tempdir().unwrap();
    let (cache, site) = (scratch.path().join("cache"), scratch.path().join("site"));
    fs::create_dir(&site).unwrap();
    fs::write(site.join("a.py"), "").unwrap();
    let ahead = Ahead::start(Path::new("python3"), &cache, &site);
    let compilation = start(Path::new("python3"), vec![site.join("a.py")], ahead).unwrap();
    assert_eq!(compilation.finish().unwrap(), 1);
    assert_eq!(take_bytecode(&site).len(), 1);
}
