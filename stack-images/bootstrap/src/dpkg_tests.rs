#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn package(control: &str, files: &[(&str, &str)], list: &str) -> Unpacked {
    let files = files
        .iter()
        .map(|(name, content)| ((*name).to_owned(), (0o755, content.as_bytes().to_vec())))
        .collect();
    Unpacked {
        control: Control {
            text: control.replace("; ", "\n"),
            files,
        },
        list: format!("/.\n{list}\n"),
        entries: Vec::new(),
    }
}

#[test]
fn the_database_of_a_fresh_root_and_of_a_layer_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let (run, build) = (folder.path().join("run"), folder.path().join("build"));
    let base = package(
        "Package: base; Architecture: amd64; Version: 1; Description: first\n more",
        &[
            ("conffiles", "/etc/base\n"),
            (
                "triggers",
                "interest-noawait /usr/share/base\ninterest rebuild # why\n",
            ),
        ],
        "/etc\n/etc/base",
    );
    let lib = package(
        "Package: lib; Architecture: amd64; Multi-Arch: same; Version: 2",
        &[
            ("postinst", "#!/bin/sh\n"),
            ("triggers", "activate-noawait rebuild\n"),
        ],
        "/usr/lib/lib.so",
    );
    write(&run, None, "amd64", &[&lib, &base]).unwrap();
    let read = |root: &Path, name: &str| fs::read_to_string(root.join(FOLDER).join(name)).unwrap();
    assert_eq!(
        read(&run, "status"),
        "Package: base\nStatus: install ok unpacked\nArchitecture: amd64\nVersion: 1\nDescription: first\n more\n\
         Conffiles:\n /etc/base newconffile\n\n\
         Package: lib\nStatus: install ok unpacked\nArchitecture: amd64\nMulti-Arch: same\nVersion: 2\n\n"
    );
    assert_eq!(read(&run, "info/base.list"), "/.\n/etc\n/etc/base\n");
    assert_eq!(read(&run, "info/lib:amd64.postinst"), "#!/bin/sh\n");
    assert_eq!(
        read(&run, "triggers/File"),
        "/usr/share/base base/noawait\n"
    );
    assert_eq!(read(&run, "triggers/rebuild"), "base\n");
    assert_eq!(read(&run, "triggers/Unincorp"), "");
    assert_eq!(
        (read(&run, "arch"), read(&run, "info/format")),
        ("amd64\n".to_owned(), "1\n".to_owned())
    );

    let status = read(&run, "status").replace("unpacked", "installed");
    fs::write(run.join(FOLDER).join("status"), status).unwrap();
    let tool = package(
        "Package: atool; Architecture: all; Version: 3",
        &[("triggers", "interest rebuild\n")],
        "/usr/share/base\n/usr/share/base/plugin",
    );
    write(&build, Some(&run), "amd64", &[&tool]).unwrap();
    let status = read(&build, "status");
    assert_eq!(unfinished(&status), ["atool (install ok unpacked)"]);
    assert_eq!(status.matches("install ok installed").count(), 2);
    assert!(status.starts_with("Package: atool\n"));
    assert_eq!(
        read(&build, "triggers/File"),
        "/usr/share/base base/noawait\n"
    );
    assert_eq!(read(&build, "triggers/rebuild"), "atool\nbase\n");
    assert_eq!(read(&build, "triggers/Unincorp"), "/usr/share/base -\n");
    assert!(!build.join(FOLDER).join("info/base.list").exists());
}

#[test]
fn preinst_scripts_run_after_those_of_their_dependencies() {
    let script = [("preinst", "#!/bin/sh\n")];
    let packages = [
        package("Package: app; Depends: lib (>= 1), missing", &script, ""),
        package(
            "Package: lib; Pre-Depends: zbase | other; Depends: app",
            &script,
            "",
        ),
        package("Package: quiet", &[], ""),
        package(
            "Package: passwd-maker; Essential: yes; Depends: lib",
            &script,
            "",
        ),
        package("Package: zbase", &script, ""),
    ];
    let order: Vec<_> = preinst_order(&packages.iter().collect::<Vec<_>>())
        .into_iter()
        .map(qualified)
        .collect();
    assert_eq!(order, ["passwd-maker", "zbase", "lib", "app"]);
}
