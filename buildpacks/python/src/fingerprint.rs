//! Digests of files and folders by content, for the keys of layers.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Folders that are no part of what is built from a source folder.
const NO_SOURCE: [&str; 5] = [".git", ".venv", "__pycache__", "node_modules", "venv"];

/// A path that could not be read, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("could not read {}", path.display())]
pub(crate) struct FingerprintError {
    pub(crate) path: PathBuf,
    #[source]
    source: io::Error,
}

/// The bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Adds a file's content, or a folder's names, executable bits and contents in lexical order.
pub(crate) fn add_path(hash: &mut Sha256, path: &Path) -> Result<(), FingerprintError> {
    let failed = |source| FingerprintError {
        path: path.to_path_buf(),
        source,
    };
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    if metadata.is_symlink() {
        hash.update(b"link\0");
        let target = fs::read_link(path).map_err(failed)?;
        hash.update(target.as_os_str().as_bytes());
    } else if metadata.is_dir() {
        let mut names = fs::read_dir(path)
            .and_then(|entries| {
                entries
                    .map(|entry| Ok(entry?.file_name()))
                    .collect::<io::Result<Vec<_>>>()
            })
            .map_err(failed)?;
        names.sort();
        hash.update(b"folder\0");
        for name in names {
            // setuptools writes its notes beside the source that it builds.
            let is_note = name.as_bytes().ends_with(b".egg-info");
            if is_note || NO_SOURCE.iter().any(|skipped| name == *skipped) {
                continue;
            }
            hash.update(name.as_bytes());
            hash.update(b"\0");
            add_path(hash, &path.join(&name))?;
        }
        hash.update(b"end\0");
    } else if metadata.is_file() {
        let executable = metadata.permissions().mode() & 0o111 != 0;
        hash.update(if executable {
            b"program\0".as_slice()
        } else {
            b"file\0"
        });
        hash.update(metadata.len().to_le_bytes());
        add_content(hash, path).map_err(failed)?;
    }
    Ok(())
}

/// Adds the bytes of a file.
pub(crate) fn add_content(hash: &mut Sha256, file: &Path) -> io::Result<()> {
    let mut file = File::open(file)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        hash.update(&buffer[..read]);
    }
}

/// The bytes in URL-safe base64 without padding (RFC 4648 §5), as `RECORD` files write digests.
pub(crate) fn base64_url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three = [0, 1, 2].map(|at| u32::from(chunk.get(at).copied().unwrap_or(0)));
        let bits = three[0] << 16 | three[1] << 8 | three[2];
        for at in 0..=chunk.len() {
            let index = (bits >> (18 - 6 * at)) & 63;
            text.push(char::from(LETTERS[index as usize]));
        }
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn digest(path: &Path) -> String {
        let mut hash = Sha256::new();
        add_path(&mut hash, path).unwrap();
        hex(&hash.finalize())
    }

    #[test]
    fn names_contents_and_modes_count_but_caches_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.py");
        fs::write(&file, "1").unwrap();
        let first = digest(dir.path());

        fs::create_dir(dir.path().join("__pycache__")).unwrap();
        fs::write(dir.path().join("__pycache__/a.pyc"), "x").unwrap();
        assert_eq!(digest(dir.path()), first);

        fs::write(&file, "2").unwrap();
        let changed = digest(dir.path());
        assert_ne!(changed, first);

        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(digest(dir.path()), changed);

        fs::write(&file, "1").unwrap();
        fs::rename(&file, dir.path().join("b.py")).unwrap();
        assert_ne!(digest(dir.path()), first);
    }

    #[test]
    fn digests_in_letters() {
        // RFC 4648 §10, without the padding, and one with both letters that differ.
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg"),
            (b"\xfb\xff\xbf", "-_-_"),
        ] {
            assert_eq!(base64_url(bytes), text);
        }
    }
}
