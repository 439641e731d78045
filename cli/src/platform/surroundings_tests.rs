#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::ui::printer::Detail;
use sandbox::Access;

#[test]
fn volumes() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().canonicalize().unwrap();
    let printer = Printer::new(Detail::Quiet);
    let parsed = |rest: &str| volume(&format!("{}{rest}", source.display()), &printer);
    assert_eq!(
        parsed(":/data").unwrap(),
        Mount::read_only(&source, "/data")
    );
    assert_eq!(parsed(":/data:ro").unwrap().access, Access::ReadOnly);
    assert_eq!(parsed(":/data:rw").unwrap().access, Access::ReadWrite);
    for wrong in [
        "",
        ":",
        ":data",
        ":/data:wr",
        ":/a:/b:ro:x",
        ":/a/../b",
        ":/",
        ":/proc",
        ":/slugc/x",
        ":/layers",
    ] {
        let failure = parsed(wrong).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{wrong}");
    }
    assert_eq!(
        volume("/there/is/none:/data", &printer).unwrap_err().exit,
        Exit::Input
    );
}

#[test]
fn bindings_are_copied_without_what_leads_out() {
    let folder = tempfile::tempdir().unwrap();
    let binding = folder.path().join("db");
    fs::create_dir_all(binding.join("..data")).unwrap();
    fs::write(binding.join("..data/type"), "postgresql").unwrap();
    std::os::unix::fs::symlink("..data/type", binding.join("type")).unwrap();
    fs::write(binding.join("password"), "s3cret").unwrap();
    let parsed = Binding::parse(&format!("db={}", binding.display())).unwrap();
    let into = folder.path().join("into");
    parsed.copy(&into).unwrap();
    let read = |name: &str| fs::read_to_string(into.join("db").join(name)).unwrap();
    assert_eq!(
        (read("type").as_str(), read("password").as_str()),
        ("postgresql", "s3cret")
    );
    std::os::unix::fs::symlink("/etc/hostname", binding.join("host")).unwrap();
    assert!(parsed.copy(&into).is_err());
    for wrong in ["db", "=x", "DB=/", "a/b=/", "db=/there/is/none", "db=/etc"] {
        assert!(Binding::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn instants_and_names() {
    assert_eq!(instant("1700000000").unwrap(), 1_700_000_000);
    assert!(instant("now").unwrap() > 1_700_000_000);
    for wrong in ["", "yesterday", "-1", "99999999999999"] {
        assert!(instant(wrong).is_err(), "{wrong}");
    }
    assert!(exec_env("test").is_ok());
    assert!(exec_env("a/b").is_err());
    assert_eq!(workspace("/app/").unwrap(), "/app");
    for wrong in ["app", "/", "/usr/app", "/layers", "/app/../etc", "/home"] {
        assert!(workspace(wrong).is_err(), "{wrong}");
    }
}
