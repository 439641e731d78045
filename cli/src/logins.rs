//! docker's file of logins, as `docker login` writes it: what else is in it stays.

use crate::failure::{Exit, Failure, OrFail};
use oci_registry::KeychainError;
use oci_registry::keychain::{self, Helper};
use serde_json::{Map, Value};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The file, read.
pub(crate) struct Logins {
    path: PathBuf,
    document: Map<String, Value>,
}

impl Logins {
    /// A missing file, or an empty one, has no logins.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        // A link, as those who keep their settings in a repository have, stays one.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(
                    Failure::new(Exit::Input, format!("cannot read {}", path.display()))
                        .because(error),
                );
            }
        };
        let document = if text.trim().is_empty() {
            Some(Map::new())
        } else {
            serde_json::from_str(&text).ok()
        };
        match document {
            Some(document) => Ok(Self { path, document }),
            // What is wrong is not quoted: it may be a secret.
            None => Err(Failure::new(
                Exit::Input,
                format!("{} is not a JSON object", path.display()),
            )
            .hint("correct the file, or move it away")),
        }
    }

    /// The credential helper that the file names for the registry.
    pub(crate) fn helper(&self, key: &str) -> Option<String> {
        let own = self.document.get("credHelpers").and_then(|it| it.get(key));
        own.or_else(|| self.document.get("credsStore"))
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
    }

    fn program(&self, name: &str) -> Result<Helper, KeychainError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Helper::find(name, &path, &self.path.display().to_string())
    }

    /// Keeps the login. Returns where.
    pub(crate) fn store(
        &mut self,
        key: &str,
        username: &str,
        password: &str,
    ) -> Result<String, Failure> {
        let mut entry = Map::new();
        let mut place = self.path.display().to_string();
        if let Some(name) = self.helper(key) {
            self.program(&name)
                .and_then(|helper| helper.store(key, username, password))
                .or_fail(Exit::Input, || "cannot keep the login".to_owned())?;
            // An empty entry says that the helper has it.
            place = format!("docker-credential-{name}");
        } else {
            let pair = keychain::encode_pair(username, password);
            entry.insert("auth".to_owned(), Value::String(pair));
        }
        let auths = self.document.entry("auths");
        let auths = auths.or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(auths) = auths {
            auths.insert(key.to_owned(), Value::Object(entry));
        } else {
            *auths = Value::Object(Map::from_iter([(key.to_owned(), Value::Object(entry))]));
        }
        self.write()?;
        Ok(place)
    }

    /// Forgets the login. Returns whether there was one.
    pub(crate) fn forget(&mut self, key: &str) -> Result<bool, Failure> {
        let auths = self
            .document
            .get_mut("auths")
            .and_then(Value::as_object_mut);
        let known = auths.is_some_and(|auths| auths.shift_remove(key).is_some());
        if let Some(name) = self.helper(key) {
            self.program(&name)
                .and_then(|helper| helper.erase(key))
                .or_fail(Exit::Input, || "cannot forget the login".to_owned())?;
        }
        if known {
            self.write()?;
        }
        Ok(known)
    }

    /// For its owner only, replaced by one rename.
    fn write(&self) -> Result<(), Failure> {
        let attempt = || -> std::io::Result<()> {
            let folder = self.path.parent().unwrap_or(Path::new("/"));
            if !folder.is_dir() {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(folder)?;
            }
            let mut text = Vec::new();
            // Docker's indentation: a diff of the file shows the login only.
            let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
            let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
            serde::Serialize::serialize(&self.document, &mut serializer)?;
            text.push(b'\n');
            let mut staged = tempfile::Builder::new()
                .prefix(".slugc-")
                .permissions(fs::Permissions::from_mode(0o600))
                .tempfile_in(folder)?;
            staged.write_all(&text)?;
            staged.as_file().sync_all()?;
            staged.persist(&self.path).map_err(|error| error.error)?;
            Ok(())
        };
        attempt().or_fail(Exit::General, || {
            format!("cannot write {}", self.path.display())
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_else_is_in_the_file_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("new/config.json");
        let mut logins = Logins::read(&path).unwrap();
        logins.store("r.example", "ann", "pa:ss").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\n\t\"auths\": {\n\t\t\"r.example\": {\n\t\t\t\"auth\": \"YW5uOnBhOnNz\"\n\t\t}\n\t}\n}\n"
        );
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        fs::write(
            &path,
            r#"{"HttpHeaders":{"a":"b"},"auths":{"x":{"auth":"eA=="}}}"#,
        )
        .unwrap();
        let link = scratch.path().join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut logins = Logins::read(&link).unwrap();
        logins.store("r.example", "ann", "pw").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let mut logins = Logins::read(&path).unwrap();
        assert!(logins.forget("r.example").unwrap());
        assert!(!logins.forget("r.example").unwrap());
        let document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(document["HttpHeaders"]["a"], "b");
        assert_eq!(
            document["auths"],
            serde_json::json!({"x": {"auth": "eA=="}})
        );

        fs::write(&path, "no json with a secret").unwrap();
        let failure = Logins::read(&path).err().unwrap();
        assert!(!failure.to_string().contains("secret"));
    }
}
