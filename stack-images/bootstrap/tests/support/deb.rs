//! Packages made in a test.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Write;

/// A file for a package: path, mode, content.
pub(crate) type File<'a> = (&'a str, u32, &'a str);

/// A package with its control part packed by gzip and its data part by `compress`.
pub(crate) fn deb(control: &[File<'_>], data: Vec<u8>, data_name: &str) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    let control = compress("control.tar.gz", &tar(control));
    for (name, content) in [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", control),
        (data_name, data),
    ] {
        writeln!(
            archive,
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`",
            0,
            0,
            0,
            "100644",
            content.len()
        )
        .unwrap();
        archive.extend_from_slice(&content);
        if content.len() % 2 == 1 {
            archive.push(b'\n');
        }
    }
    archive
}

/// Packs by the method that the file name says.
pub(crate) fn compress(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    match name.rsplit_once(".tar").unwrap().1 {
        "" => packed.extend_from_slice(bytes),
        ".gz" => {
            let mut writer =
                flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap();
        }
        ".xz" => {
            let mut writer = liblzma::write::XzEncoder::new(&mut packed, 1);
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap();
        }
        ".zst" => packed = zstd::encode_all(bytes, 1).unwrap(),
        other => panic!("no such method: {other}"),
    }
    packed
}

/// A tar archive as dpkg-deb makes them. A path that ends with a slash is a directory; the content of
/// `symlink:…` and `link:…` is where a link leads to; everything belongs to root:shadow.
pub(crate) fn tar(files: &[File<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(42);
        header.set_username("root").unwrap();
        header.set_groupname("shadow").unwrap();
        let mut body = "";
        if let Some(target) = content.strip_prefix("symlink:") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_link_name_literal(target).unwrap();
        } else if let Some(target) = content.strip_prefix("link:") {
            header.set_entry_type(tar::EntryType::Link);
            header.set_link_name_literal(target).unwrap();
        } else if path.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        } else {
            header.set_entry_type(tar::EntryType::Regular);
            body = content;
        }
        header.set_size(body.len() as u64);
        // Not set_path: the hostile paths in these tests are what it refuses.
        let name = format!("./{path}");
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, body.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}
