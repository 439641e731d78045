//! The stacks that travel inside the program.

use std::path::Path;

use crate::lock::{Lock, LockError};
use crate::recipe::{Recipe, RecipeError};

macro_rules! keys {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../slug-13/", $name)).as_slice())),*]
    };
}

/// The id of the stack that apps are built on.
pub const DEFAULT: &str = "slug-13";

/// Debian's archive keys, out of its package debian-archive-keyring.
const KEYS: [(&str, &[u8]); 5] = keys![
    "keys/debian-archive-bookworm-automatic.pgp",
    "keys/debian-archive-bookworm-security-automatic.pgp",
    "keys/debian-archive-trixie-automatic.pgp",
    "keys/debian-archive-trixie-security-automatic.pgp",
    "keys/debian-archive-trixie-stable.pgp",
];

/// A recipe that travels inside the program, and its lock for amd64.
struct Builtin {
    id: &'static str,
    recipe: &'static str,
    lock: &'static str,
}

macro_rules! builtin {
    ($($id:literal),* $(,)?) => {
        [$(Builtin {
            id: $id,
            recipe: include_str!(concat!("../../", $id, "/stack.toml")),
            lock: include_str!(concat!("../../", $id, "/lock.toml")),
        }),*]
    };
}

const BUILTIN: [Builtin; 4] = builtin!["slug-13", "addon-postgres", "addon-redis", "addon-kafka",];

fn find(id: &str) -> Option<&'static Builtin> {
    BUILTIN.iter().find(|builtin| builtin.id == id)
}

/// The recipe of a stack that travels inside the program, by its id; `None` if there is none.
pub fn builtin_recipe(id: &str) -> Option<Result<Recipe, RecipeError>> {
    let builtin = find(id)?;
    let path = Path::new(id).join("stack.toml");
    Some(Recipe::parse(&path, builtin.recipe, |name| {
        // Recipes of add-ons share the keys of slug-13.
        let name = name.strip_prefix("../slug-13").unwrap_or(name);
        KEYS.iter()
            .find(|(key, _)| Path::new(key) == name)
            .map(|(_, bytes)| bytes.to_vec())
            .ok_or_else(|| RecipeError::Read {
                path: name.to_owned(),
                source: std::io::ErrorKind::NotFound.into(),
            })
    }))
}

/// The lock of a stack that travels inside the program, by its id and architecture; `None` if there is none.
pub fn builtin_lock(id: &str, architecture: &str) -> Option<Result<Lock, LockError>> {
    let (_, text) = builtin_text(id, architecture)?;
    let path = Path::new(id).join("lock.toml");
    Some(Lock::parse(&path, text?))
}

/// The texts of recipe and lock of a stack that travels inside the program, for telling whether a
/// stack was made of them; `None` if there is no such stack.
pub fn builtin_text(id: &str, architecture: &str) -> Option<(&'static str, Option<&'static str>)> {
    let builtin = find(id)?;
    let lock = (architecture == "amd64").then_some(builtin.lock);
    Some((builtin.recipe, lock))
}
