#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::os::unix::fs::symlink;

#[test]
fn paths_are_followed_through_all_layers() {
    let scratch = tempfile::tempdir().unwrap();
    let (top, bottom) = (scratch.path().join("top"), scratch.path().join("bottom"));
    fs::create_dir_all(top.join("opt")).unwrap();
    fs::create_dir_all(bottom.join("usr/bin")).unwrap();
    fs::write(bottom.join("usr/bin/python3.13"), "").unwrap();
    symlink("python3.13", bottom.join("usr/bin/python3")).unwrap();
    symlink("usr/bin", bottom.join("bin")).unwrap();
    symlink("/bin/python3", top.join("opt/python")).unwrap();
    symlink("../../../../etc/passwd", top.join("opt/out")).unwrap();
    symlink("loop", top.join("opt/loop")).unwrap();
    let lowers = [top, bottom.clone()];
    let found = |path: &str| find_in(&lowers, Path::new(path));
    assert_eq!(
        found("/opt/python"),
        Some(bottom.join("usr/bin/python3.13"))
    );
    assert_eq!(found("/usr/bin/python3.12"), None);
    assert_eq!(found("/opt/loop"), None);
    // Not this machine's.
    assert_eq!(found("/opt/out"), None);
}

#[test]
fn launch_layers_say_what_they_need() {
    let scratch = tempfile::tempdir().unwrap();
    let layers = scratch.path();
    for (layer, launch) in [("venv", true), ("tools", false)] {
        let bin = layers.join("buildpack").join(layer).join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(
            layers.join(format!("buildpack/{layer}.toml")),
            format!("[types]\nlaunch = {launch}\n"),
        )
        .unwrap();
        symlink(format!("/usr/bin/{layer}"), bin.join("python")).unwrap();
        symlink("python", bin.join("python3")).unwrap();
        symlink("/layers/other/x", bin.join("x")).unwrap();
    }
    fs::create_dir(layers.join("config")).unwrap();
    fs::write(
        layers.join("config/metadata.toml"),
        "[[processes]]\ntype = \"web\"\ncommand = [\"bash\", \"-c\"]\n",
    )
    .unwrap();
    let expected: Vec<String> = vec!["/bin/bash".to_owned(), "/usr/bin/venv".to_owned()];
    assert_eq!(
        needed(layers).unwrap().into_iter().collect::<Vec<_>>(),
        expected
    );
}
