//! The stacks that travel inside the program.

use std::path::Path;

use crate::lock::{Lock, LockError};
use crate::recipe::{Recipe, RecipeError};

macro_rules! keys {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../slug-13/", $name)).as_slice())),*]
    };
}

/// Debian's archive keys, out of its package debian-archive-keyring.
const KEYS: [(&str, &[u8]); 5] = keys![
    "keys/debian-archive-bookworm-automatic.pgp",
    "keys/debian-archive-bookworm-security-automatic.pgp",
    "keys/debian-archive-trixie-automatic.pgp",
    "keys/debian-archive-trixie-security-automatic.pgp",
    "keys/debian-archive-trixie-stable.pgp",
];

/// The recipe of a stack that travels inside the program, by its id; `None` if there is none.
pub fn builtin_recipe(id: &str) -> Option<Result<Recipe, RecipeError>> {
    (id == "slug-13").then(|| {
        let text = include_str!("../../slug-13/stack.toml");
        Recipe::parse(Path::new("slug-13/stack.toml"), text, |name| {
            KEYS.iter()
                .find(|(key, _)| Path::new(key) == name)
                .map(|(_, bytes)| bytes.to_vec())
                .ok_or_else(|| RecipeError::Read {
                    path: name.to_owned(),
                    source: std::io::ErrorKind::NotFound.into(),
                })
        })
    })
}

/// The lock of a stack that travels inside the program, by its id and architecture; `None` if there is none.
pub fn builtin_lock(id: &str, architecture: &str) -> Option<Result<Lock, LockError>> {
    let text = match (id, architecture) {
        ("slug-13", "amd64") => include_str!("../../slug-13/lock.toml"),
        _ => return None,
    };
    Some(Lock::parse(Path::new("slug-13/lock.toml"), text))
}

/// The texts of recipe and lock of a stack that travels inside the program, for telling whether a
/// stack was made of them; `None` if there is no such stack.
pub fn builtin_text(id: &str, architecture: &str) -> Option<(&'static str, Option<&'static str>)> {
    match (id, architecture) {
        ("slug-13", "amd64") => Some((
            include_str!("../../slug-13/stack.toml"),
            Some(include_str!("../../slug-13/lock.toml")),
        )),
        ("slug-13", _) => Some((include_str!("../../slug-13/stack.toml"), None)),
        _ => None,
    }
}
