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
fn bindings_have_names_and_types() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let parsed = |text: &str| bindings(&[text.to_owned()]);
    assert_eq!(parsed(&format!("db={path}")).unwrap_err().exit, Exit::Input);
    std::fs::write(folder.path().join("type"), "postgresql").unwrap();
    assert_eq!(parsed(&format!("db={path}")).unwrap()[0].name, "db");
    let twice = [format!("db={path}"), format!("db={path}")];
    assert_eq!(bindings(&twice).unwrap_err().exit, Exit::Usage);
    for wrong in ["db", "=x", "DB=/", "a/b=/", "db=/there/is/none"] {
        assert!(parsed(wrong).is_err(), "{wrong}");
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
    for wrong in [
        "app",
        "/",
        "/usr/app",
        "/layers",
        "/app/../etc",
        "/home",
        "/home/cnb/app",
    ] {
        assert!(workspace(wrong).is_err(), "{wrong}");
    }
}
