//! Which files hold secrets: the Python buildpack's list, which keeps them out of images under other platforms too.
//!
//! A build that changes nothing asks this of each file: names are compared by hand, which takes no preparation.

use std::fs::File;
use std::io::Read;
use std::path::Path;

const LIST: &str = include_str!("../../../buildpacks/python/secrets.txt");

/// How much of a file is read to find out whether it is one, in bytes.
const READ: u64 = 64 * 1024;

/// The rules of the list.
pub(super) struct Secrets {
    by_name: Vec<Name>,
    /// Names that may be secrets, with the text that makes them one.
    by_text: Vec<(Name, &'static str)>,
}

/// A line of the list.
struct Name {
    /// The folder that the file has to lie in.
    folder: Option<&'static str>,
    /// May have stars in it.
    pattern: &'static str,
    /// Takes names out again.
    is_exception: bool,
}

impl Secrets {
    pub(super) fn read() -> Self {
        let (mut by_name, mut by_text) = (Vec::new(), Vec::new());
        for line in LIST
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            match line.split_once('\t') {
                Some((name, text)) => by_text.push((Name::parse(name), text)),
                None => by_name.push(Name::parse(line)),
            }
        }
        Self { by_name, by_text }
    }

    /// Whether a file, by its path relative to the root and its name, holds secrets. Only those whose name leaves it open
    /// are read.
    pub(super) fn has(&self, root: &Path, path: &Path, name: &[u8]) -> bool {
        let mut of_name = self.by_name.iter().rev();
        // The last line that fits counts, as in .gitignore.
        match of_name.find(|line| line.fits(path, name)) {
            Some(line) => !line.is_exception,
            None => self
                .by_text
                .iter()
                .any(|(line, text)| line.fits(path, name) && holds(&root.join(path), text)),
        }
    }
}

impl Name {
    fn parse(text: &'static str) -> Self {
        let plain = text.strip_prefix('!');
        let (folder, pattern) = match plain.unwrap_or(text).split_once('/') {
            Some((folder, pattern)) => (Some(folder), pattern),
            None => (None, plain.unwrap_or(text)),
        };
        Self {
            folder,
            pattern,
            is_exception: plain.is_some(),
        }
    }

    /// The name is that of the path.
    fn fits(&self, path: &Path, name: &[u8]) -> bool {
        matches(self.pattern.as_bytes(), name)
            && self.folder.is_none_or(|folder| {
                let parent = path.parent().and_then(Path::file_name);
                parent.is_some_and(|parent| parent == folder)
            })
    }
}

/// Whether a name fits a pattern, in which a star stands for anything.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let Some(star) = pattern.iter().position(|byte| *byte == b'*') else {
        return pattern == name;
    };
    let (before, after) = (&pattern[..star], &pattern[star + 1..]);
    let Some(rest) = name.strip_prefix(before) else {
        return false;
    };
    if !after.contains(&b'*') {
        return rest.ends_with(after);
    }
    (0..=rest.len()).any(|at| matches(after, &rest[at..]))
}

fn holds(file: &Path, text: &str) -> bool {
    // A pipe would never end.
    if !std::fs::symlink_metadata(file).is_ok_and(|meta| meta.is_file()) {
        return false;
    }
    let mut content = Vec::new();
    // What can't be read is told of when it is copied.
    File::open(file)
        .and_then(|file| file.take(READ).read_to_end(&mut content))
        .is_ok()
        && content
            .windows(text.len())
            .any(|window| window == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_stars() {
        for (pattern, name, fits) in [
            (".env", ".env", true),
            (".env", ".env.local", false),
            (".env.*", ".env.local", true),
            (".env.*", ".env", false),
            ("*.pem", ".pem", true),
            ("*.pem", "a.pem.txt", false),
            ("*key*.json", "my-key-1.json", true),
            ("*key*.json", "key.json", true),
            ("*key*.json", "kay.json", false),
            ("client_secret*.json", "client_secret.json", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                fits,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn the_list() {
        let secrets = Secrets::read();
        let root = Path::new("/nowhere");
        for (path, is_secret) in [
            (".env", true),
            ("deep/er/.env.production", true),
            (".env.example", false),
            (".aws/credentials", true),
            ("home/.aws/credentials", true),
            ("credentials", false),
            ("aws/credentials", false),
            ("id_rsa", true),
            ("app.py", false),
        ] {
            let path = Path::new(path);
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            assert_eq!(secrets.has(root, path, name), is_secret, "{path:?}");
        }
    }
}
