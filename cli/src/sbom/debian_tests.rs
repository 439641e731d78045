use super::*;

const STATUS_TEXT: &str = "\
Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl (3.0.1-1)
Version: 3.0.1-1+b1

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: libgcc-s1
Status: hold ok installed
Architecture: amd64
Version: 14.2.0-19
";

const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: x
License: Expat

Files: *
Copyright: somebody
License: Expat

Files: b c
License: GPL-2+ or BSD-3-clause
 The text of it.

Files: d
License: GPL-2+ with OpenSSL exception

License: Artistic
 Stands alone.
";

fn file(text: &str) -> Content {
    Content::File(text.as_bytes().to_vec())
}

fn image(files: &[(&str, Content)]) -> BTreeMap<String, Content> {
    let wanted = files.iter().filter(|(path, _)| is_wanted(path));
    wanted
        .map(|(path, content)| ((*path).to_owned(), content.clone()))
        .collect()
}

#[test]
fn the_database_and_the_copyright_files_tell() {
    let files = image(&[
        ("var/lib/dpkg/status", file(STATUS_TEXT)),
        (
            "var/lib/dpkg/status-old",
            file("Package: old\nVersion: 1\n"),
        ),
        (
            "etc/os-release",
            Content::Symlink("../usr/lib/os-release".to_owned()),
        ),
        (
            "usr/lib/os-release",
            file("NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID=\"13\"\n"),
        ),
        ("usr/share/doc/libssl3/copyright", file(COPYRIGHT)),
        (
            "usr/share/doc/libgcc-s1",
            Content::Symlink("gcc-14-base".to_owned()),
        ),
        (
            "usr/share/doc/gcc-14-base/copyright",
            file("This is prose.\n"),
        ),
        ("usr/share/doc/libssl3/examples/copyright", file("no")),
    ]);
    assert!(!files.contains_key("usr/share/doc/libssl3/examples/copyright"));
    let found = components(&files);
    let shown: Vec<_> = found
        .iter()
        .map(|it| (it.name.as_str(), it.version.as_deref(), it.purl.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            ("debian", Some("13"), None),
            (
                "libgcc-s1",
                Some("14.2.0-19"),
                Some("pkg:deb/debian/libgcc-s1@14.2.0-19?arch=amd64&distro=debian-13")
            ),
            (
                "libssl3",
                Some("3.0.1-1+b1"),
                Some(
                    "pkg:deb/debian/libssl3@3.0.1-1%2Bb1?arch=amd64&distro=debian-13&upstream=openssl%403.0.1-1"
                )
            ),
        ]
    );
    assert_eq!(found[1].licences, []);
    assert_eq!(
        found[2].licences,
        [
            Licence::Id("MIT".to_owned()),
            Licence::Expression("GPL-2.0-or-later OR BSD-3-Clause".to_owned()),
            Licence::Name("GPL-2+ with OpenSSL exception".to_owned()),
        ]
    );
}

#[test]
fn images_without_dpkg_have_a_file_for_each_package() {
    let files = image(&[
        (
            "var/lib/dpkg/status.d/base",
            file("Package: base-files\nVersion: 13\n"),
        ),
        (
            "var/lib/dpkg/status.d/base.md5sums",
            file("Package: no\nVersion: 1\n"),
        ),
    ]);
    let found = components(&files);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].purl.as_deref(),
        Some("pkg:deb/debian/base-files@13")
    );
    assert_eq!(components(&BTreeMap::new()), []);
}

#[test]
fn odd_licences_stay_what_they_are() {
    for odd in [
        "GPL-2+ and",
        "or Expat",
        "Expat Expat",
        "public-domain",
        "Expat or Apache-2.0 and ISC",
    ] {
        assert_eq!(licence(odd), Licence::Name(odd.to_owned()), "{odd}");
    }
}
