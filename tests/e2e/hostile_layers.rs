//! Layers made to do harm, as those of a builder's image, which a build unpacks; and archives of buildpacks.
//!
//! What the unpacker refuses is tested entry by entry in oci-image; here is what a user sees of it, and that the store
//! and everything around it stay as they were.

use crate::BINARY;
use oci_image::{BlobStore, Descriptor, Digest, Image, layout, media_type};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use test_support::{TestContext, Who, tar_entry, tar_entry_of, tar_of, with_filters};

const NAME: &str = "registry.example/builder:1";
const RUN: &str = "registry.example/run:1";
/// A name that nothing else has.
const INSIDE: &str = "inside-of-a-hostile-layer";

/// What a layer holds, and the exit code of a build with it.
struct Row {
    name: &'static str,
    layer: Layer,
    /// The build gets past the layer: it does no harm.
    harmless: bool,
    /// Where in the layer's own folder its file ends up.
    lands: Option<String>,
}

enum Layer {
    Tar(Vec<u8>),
    /// Compressed, with this diffID; none: that of its content.
    Blob(Vec<u8>, Option<Digest>),
}

fn refused(name: &'static str, entries: &[Vec<u8>]) -> Row {
    Row {
        name,
        layer: Layer::Tar(tar_of(entries)),
        harmless: false,
        lands: None,
    }
}

fn harmless(name: &'static str, entries: &[Vec<u8>]) -> Row {
    Row {
        harmless: true,
        ..refused(name, entries)
    }
}

/// One whose file would be outside if names and links were taken as they are.
fn stays_inside(name: &'static str, lands: &str, entries: &[Vec<u8>]) -> Row {
    Row {
        lands: Some(lands.to_owned()),
        ..harmless(name, entries)
    }
}

fn file(name: &str) -> Vec<u8> {
    tar_entry(b'0', name, "", b"harm")
}

fn link(name: &str, to: &str) -> Vec<u8> {
    tar_entry(b'2', name, to, b"")
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let length = (rest.len() + 1..rest.len() + 9)
            .find(|length| length.to_string().len() + rest.len() == *length)
            .unwrap();
        write!(text, "{length}{rest}").unwrap();
    }
    tar_entry(b'x', "pax", "", text.as_bytes())
}

fn escapes(outside: &str) -> Vec<Row> {
    vec![
        refused("a name that climbs", &[file("../outside")]),
        refused("a name that climbs later", &[file("a/b/../../../outside")]),
        stays_inside(
            "an absolute name",
            outside.trim_start_matches('/'),
            &[file(outside)],
        ),
        stays_inside(
            "a file through a link to the root",
            INSIDE,
            &[link("l", "/"), file(&format!("l/{INSIDE}"))],
        ),
        stays_inside(
            "a file through a link that climbs",
            INSIDE,
            &[link("l", "../../.."), file(&format!("l/{INSIDE}"))],
        ),
        refused(
            "a file through a link to itself",
            &[link("l", "l"), file("l/a")],
        ),
        refused(
            "a file through a link to outside",
            &[link("l", outside), file("l")],
        ),
        refused(
            "a folder through a link to outside",
            &[link("l", outside), file("l/a")],
        ),
        refused(
            "a hard link that climbs",
            &[tar_entry(b'1', "h", "../../outside", b"")],
        ),
        refused(
            "a hard link to outside",
            &[tar_entry(b'1', "h", outside, b"")],
        ),
        refused(
            "a hard link through a link",
            &[
                link("l", "/"),
                tar_entry(b'1', "h", &format!("l{outside}"), b""),
            ],
        ),
        refused("a hard link to the root", &[tar_entry(b'1', "h", "/", b"")]),
        harmless(
            "devices",
            &[
                tar_entry(b'3', "dev/sda", "", b""),
                tar_entry(b'4', "dev/sdb", "", b""),
            ],
        ),
    ]
}

fn ambiguities() -> Vec<Row> {
    let long = |name: &str| tar_entry(b'L', "././@LongLink", "", format!("{name}\0").as_bytes());
    vec![
        refused("a file twice", &[file("a"), file("./a")]),
        refused(
            "a file twice, through a link",
            &[
                tar_entry(b'5', "d", "", b""),
                link("l", "d"),
                file("d/a"),
                file("l/a"),
            ],
        ),
        refused(
            "a file, then a folder",
            &[file("a"), tar_entry(b'5', "a", "", b"")],
        ),
        refused("a file, then something in it", &[file("a"), file("a/b")]),
        refused("a whiteout of nothing", &[file(".wh.")]),
        refused("a whiteout of the folder above", &[file(".wh...")]),
        refused("a whiteout of the folder itself", &[file("d/.wh..")]),
        harmless(
            "a whiteout of what the layer has",
            &[file("a"), file(".wh.a")],
        ),
        refused(
            "a PAX name that climbs",
            &[pax(&[("path", "../outside")]), file("a")],
        ),
        refused(
            "two PAX names",
            &[pax(&[("path", "a"), ("path", "b")]), file("c")],
        ),
        refused(
            "two PAX headers",
            &[pax(&[("path", "a")]), pax(&[("path", "b")]), file("c")],
        ),
        refused(
            "a PAX name and a GNU name",
            &[pax(&[("path", "a")]), long("b"), file("c")],
        ),
        refused("two GNU names", &[long("a"), long("b"), file("c")]),
        refused("a GNU name that climbs", &[long("../outside"), file("a")]),
        refused(
            "a PAX size beyond the end",
            &[pax(&[("size", "1000000")]), file("a")],
        ),
        refused(
            "a name for everything that follows",
            &[tar_entry(b'g', "g", "", b"10 path=b\n"), file("a")],
        ),
        refused("a sparse file", &[tar_entry(b'S', "a", "", b"")]),
        refused(
            "a file that breaks off",
            &[tar_entry_of(b'0', "a", "", 1 << 40, b"short")],
        ),
        Row {
            name: "no tar at all",
            layer: Layer::Tar(vec![b'x'; 4096]),
            harmless: false,
            lands: None,
        },
    ]
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 3).unwrap()
}

fn excess() -> Vec<Row> {
    let mib = vec![0; 1 << 20];
    let blob = |name, blob: Vec<u8>, diff_id| Row {
        name,
        layer: Layer::Blob(blob, diff_id),
        harmless: false,
        lands: None,
    };
    let nobody_counts = Some(Digest::of(b"nobody counts"));
    let ten_gigabytes = tar_entry_of(b'0', "zeros", "", 10 << 30, b"");
    let good = tar_of(&[file("a")]);
    vec![
        blob(
            "a gzip bomb",
            [gzip(&good), gzip(&mib).repeat(200)].concat(),
            nobody_counts,
        ),
        blob(
            "a zstd bomb",
            [zstd(&good), zstd(&mib).repeat(200)].concat(),
            nobody_counts,
        ),
        blob(
            "a file of 10 GiB of zeros, gzip",
            [gzip(&ten_gigabytes), gzip(&mib).repeat(10 << 10)].concat(),
            nobody_counts,
        ),
        blob(
            "a file of 10 GiB of zeros, zstd",
            [zstd(&ten_gigabytes), zstd(&mib).repeat(10 << 10)].concat(),
            nobody_counts,
        ),
        blob(
            "a gzip that breaks off",
            gzip(&good)[..30].to_vec(),
            nobody_counts,
        ),
        blob("a layer that is another", gzip(&good), nobody_counts),
    ]
}

/// A builder whose only layer this is, in a layout.
fn builder(folder: &Path, layer: &Layer) -> String {
    let blobs = BlobStore::open(folder.join("blobs")).unwrap();
    let (bytes, kind, diff_id) = match layer {
        Layer::Tar(tar) => (tar, media_type::OCI_LAYER, Digest::of(tar)),
        Layer::Blob(blob, diff_id) => {
            let kind = if blob.starts_with(&[0x1f]) {
                media_type::OCI_LAYER_GZIP
            } else {
                media_type::OCI_LAYER_ZSTD
            };
            (blob, kind, diff_id.unwrap_or(Digest::of(b"")))
        }
    };
    let mut image = Image::empty("linux", "amd64");
    let (digest, size) = blobs.put(bytes).unwrap();
    image
        .manifest
        .layers
        .push(Descriptor::new(kind, digest, size));
    image.config.rootfs.diff_ids.push(diff_id);
    let config = &mut image.config.config;
    config.set_env("CNB_USER_ID", "1000");
    config.set_env("CNB_GROUP_ID", "1000");
    let metadata = serde_json::json!({ "images": [{ "image": RUN }] }).to_string();
    config
        .labels
        .insert("io.buildpacks.builder.metadata".to_owned(), metadata);
    let manifest = image.save(&blobs).unwrap();
    let layout = folder.join("layout");
    layout::write(&layout, &blobs, &manifest, Some("1")).unwrap();
    test_support::output_of("chmod", &["-R", "a+rX", &folder.to_string_lossy()], folder);
    format!("oci:{}:1", layout.display())
}

/// Every path below a folder, and what files hold.
fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let content = if path.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            if path.is_dir() && !path.is_symlink() {
                waiting.push(path.clone());
            }
            found.push((path.display().to_string(), content));
        }
    }
    found.sort();
    found
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Builds on a builder with the row's layer; what is said.
fn build(t: &TestContext, row: &Row) -> String {
    let made = tempfile::tempdir().unwrap();
    let place = builder(made.path(), &row.layer);
    t.slugc().args(["pull", &place, "-t", NAME]).run().success();
    let app = t.empty_app("hostile");
    app.write("Procfile", "web: true\n");
    let arguments = ["build", ".", "--builder", NAME, "-b", "slugc/procfile"];
    let built = t.slugc_in(&app).args(arguments).run();
    let roots = t.store().join("roots");
    assert_eq!(
        names(&roots.join(".staging")),
        Vec::<String>::new(),
        "{}",
        row.name
    );
    let mut unpacked: Vec<String> = names(&roots);
    unpacked.retain(|name| !name.starts_with('.'));
    // Whatever climbs from where layers are unpacked comes by here.
    for folder in roots.join(".staging").ancestors() {
        let escaped = folder.join(INSIDE);
        assert!(!escaped.exists(), "{}: {}", row.name, escaped.display());
    }
    if row.harmless {
        let said = &built.stderr;
        assert_eq!(unpacked.len(), 1, "{} is unpacked:\n{said}", row.name);
        if let Some(lands) = &row.lands {
            let file = roots.join(&unpacked[0]).join(lands);
            assert_eq!(fs::read(file).unwrap(), b"harm", "{}", row.name);
        }
        fs::remove_dir_all(&roots).unwrap();
        return format!("# {}\nunpacked\n\n", row.name);
    }
    assert!(
        unpacked.is_empty(),
        "{} is unpacked:\n{}",
        row.name,
        built.stderr
    );
    let code = built.code();
    let built = built.says(&["cannot unpack the builder"]);
    format!("# {}\nexit {code}\n{}\n", row.name, built.stderr)
}

#[test]
fn a_build_is_not_harmed_by_its_builder() {
    check_builders(Who::Plain);
}

/// Who may make devices and give files away.
#[test]
fn a_build_as_root_is_not_harmed_by_its_builder() {
    check_builders(Who::Root);
}

fn check_builders(who: Who) {
    let Some(t) = TestContext::bare(BINARY, who) else {
        return;
    };
    let around = t.scratch().join("around");
    fs::create_dir(&around).unwrap();
    fs::write(around.join("outside"), "untouched").unwrap();
    t.give(&around);
    t.give(&around.join("outside"));
    let outside = around.join("outside").display().to_string();
    let run = tempfile::tempdir().unwrap();
    let place = builder(run.path(), &Layer::Tar(tar_of(&[file("run")])));
    t.slugc().args(["pull", &place, "-t", RUN]).run().success();
    let before = tree(&around);
    let rows = [escapes(&outside), ambiguities(), excess()];
    let mut said = String::new();
    for row in rows.into_iter().flatten() {
        said.push_str(&build(&t, &row));
        assert_eq!(
            tree(&around),
            before,
            "{} changed what is outside",
            row.name
        );
    }
    with_filters(&t, || insta::assert_snapshot!("hostile_layers", said));
}

/// An archive of a buildpack goes the same way, into a place where files may replace files.
#[test]
fn archives_of_buildpacks_stay_inside() {
    let Some(t) = TestContext::bare(BINARY, Who::Plain) else {
        return;
    };
    let outside = t.scratch().join("outside");
    fs::write(&outside, "untouched").unwrap();
    t.give(&outside);
    let shown = outside.display().to_string();
    let described = |more: &[Vec<u8>]| {
        let toml = "api = \"0.10\"\n[buildpack]\nid = \"a/b\"\nversion = \"1\"\n[[targets]]\nos = \"linux\"\n";
        let first = tar_entry(b'0', "buildpack.toml", "", toml.as_bytes());
        tar_of(&[vec![first], more.to_vec()].concat())
    };
    let mut said = String::new();
    for (name, entries) in [
        ("a name that climbs", vec![file("../outside")]),
        (
            "a link, then a file of its name",
            vec![link("l", &shown), file("l")],
        ),
        (
            "a hard link to outside",
            vec![tar_entry(b'1', "h", &shown, b"")],
        ),
        (
            "a link in the place of buildpack.toml",
            vec![link("buildpack.toml", &shown)],
        ),
        (
            "a link in the place of bin",
            vec![link("bin", "/bin"), file("bin/build")],
        ),
        ("a whiteout", vec![file(".wh.buildpack.toml")]),
    ] {
        let archive = t.scratch().join("buildpack.tar");
        fs::write(&archive, described(&entries)).unwrap();
        let shown = t
            .slugc()
            .args(["buildpack", "inspect", "buildpack.tar"])
            .run();
        assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched", "{name}");
        let kept = names(&t.store().join("buildpacks"));
        assert!(
            kept.iter().all(|name| !name.starts_with(".tmp")),
            "{kept:?}"
        );
        writeln!(
            said,
            "# {name}\nexit {}\n{}{}",
            shown.code(),
            shown.stdout,
            shown.stderr
        )
        .unwrap();
    }
    with_filters(&t, || {
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(r"\.tmp-\w+", ".tmp-[RANDOM]");
        settings.bind(|| insta::assert_snapshot!("hostile_buildpacks", said));
    });
}
