//! The environment in which pip, uv and the app's own code run.
//!
//! Both installers are configured by environment variables, each by its own. What the user set for pip
//! is translated for uv, so that one set of variables serves both.

use libcnb::Env;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::path::Path;

/// pip's variables with uv's names for them, for those whose values mean the same.
const SAME_VALUE: [(&str, &str); 5] = [
    ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
    ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
    ("PIP_CERT", "SSL_CERT_FILE"),
    ("PIP_DEFAULT_TIMEOUT", "UV_HTTP_TIMEOUT"),
    ("PIP_CONSTRAINT", "UV_CONSTRAINT"),
];
/// The same for switches.
const SWITCHES: [(&str, &str, &str); 3] = [
    ("PIP_NO_INDEX", "UV_NO_INDEX", "true"),
    ("PIP_PRE", "UV_PRERELEASE", "allow"),
    ("PIP_NO_BUILD_ISOLATION", "UV_NO_BUILD_ISOLATION", "true"),
];
/// The same for lists, which pip separates by spaces and uv by commas.
const LISTS: [(&str, &str); 2] = [
    ("PIP_FIND_LINKS", "UV_FIND_LINKS"),
    ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST"),
];

/// The time that builds of source packages see, so that archives made on the way are the same each
/// time: 1980-01-01 plus a day, the earliest that ZIP can hold in every time zone.
const SOURCE_DATE_EPOCH: &str = "315532801";

/// Variables that decide what an install gives, besides those with the prefixes `PIP_` and `UV_`.
const COMPILERS: [&str; 11] = [
    "AR",
    "CC",
    "CFLAGS",
    "CPATH",
    "CPPFLAGS",
    "CXX",
    "CXXFLAGS",
    "LDFLAGS",
    "LIBRARY_PATH",
    "PKG_CONFIG_PATH",
    "SOURCE_DATE_EPOCH",
];

/// The environment of the buildpack with the user's variables over it.
pub(crate) fn with_user_variables(user: &Env) -> Env {
    let mut env = Env::from_current();
    for (name, value) in user {
        env.insert(name, value);
    }
    env
}

/// What both installers need besides the user's settings.
pub(crate) fn for_builds_from_source(env: &Env) -> Env {
    let mut env = env.clone();
    default(&mut env, "SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH);
    // Debug information would hold the path of the scratch folder, which is another one each time.
    default(&mut env, "CFLAGS", "-g0");
    default(&mut env, "CXXFLAGS", "-g0");
    env
}

/// The environment for uv: the user's settings for uv, else those for pip, and never a Python of
/// uv's own choice.
pub(crate) fn for_uv(env: &Env) -> Env {
    let mut env = env.clone();
    let own_index = env.contains_key("UV_INDEX_URL") || env.contains_key("UV_DEFAULT_INDEX");
    for (pip, uv) in SAME_VALUE {
        if uv == "UV_DEFAULT_INDEX" && own_index {
            continue;
        }
        if uv == "UV_INDEX" && env.contains_key("UV_EXTRA_INDEX_URL") {
            continue;
        }
        if let Some(value) = env.get(pip).cloned() {
            default(&mut env, uv, value);
        }
    }
    for (pip, uv, value) in SWITCHES {
        if env.get(pip).is_some_and(is_on) {
            default(&mut env, uv, value);
        }
    }
    for (pip, uv) in LISTS {
        if let Some(value) = env.get(pip) {
            let value = value.to_string_lossy();
            let commas = value.split_whitespace().collect::<Vec<_>>().join(",");
            default(&mut env, uv, commas);
        }
    }
    default(&mut env, "UV_SYSTEM_CERTS", "true");
    default(&mut env, "UV_PYTHON_DOWNLOADS", "never");
    env.insert("UV_NO_PROGRESS", "true");
    env
}

/// The environment for uv where a lock says from which index each package is: an index that is set for pip
/// would make the lock look outdated. uv's own settings are the user's decision, as they were for `uv lock`.
pub(crate) fn for_uv_lock(env: &Env) -> Env {
    const OF_RESOLUTION: [&str; 6] = [
        "PIP_CONSTRAINT",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_INDEX_URL",
        "PIP_NO_INDEX",
        "PIP_PRE",
    ];
    let mut kept = Env::new();
    for (name, value) in env {
        if !OF_RESOLUTION.iter().any(|other| name == *other) {
            kept.insert(name, value);
        }
    }
    for_uv(&kept)
}

/// Puts the programs of a virtual environment before all others.
pub(crate) fn activate(env: &mut Env, venv: &Path) {
    let mut path = vec![venv.join("bin")];
    if let Some(inherited) = env.get("PATH") {
        path.extend(std::env::split_paths(inherited));
    }
    // A PATH that can't be joined was not usable before either.
    if let Ok(path) = std::env::join_paths(path) {
        env.insert("PATH", path);
    }
    env.insert("VIRTUAL_ENV", venv);
}

/// The environment for Poetry, PDM and Pipenv: the one environment that is there, no questions, and caches in
/// a layer. The password store of a desktop is not there; waiting for it takes Poetry half a minute.
pub(crate) fn for_project_tool(env: &Env, venv: &Path, cache: &Path) -> Env {
    let mut env = for_pip(&for_builds_from_source(env));
    activate(&mut env, venv);
    for (name, value) in [
        ("PDM_CHECK_UPDATE", "0"),
        ("PDM_IGNORE_SAVED_PYTHON", "1"),
        ("PDM_NON_INTERACTIVE", "1"),
        ("PIPENV_NOSPIN", "1"),
        ("PIPENV_VERBOSITY", "-1"),
        ("PIPENV_YES", "1"),
        // Bytecode is compiled afterwards, in the form that needs no look at the source.
        ("PIP_NO_COMPILE", "1"),
        ("POETRY_KEYRING_ENABLED", "false"),
        ("POETRY_NO_INTERACTION", "1"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("NO_COLOR", "1"),
    ] {
        env.insert(name, value);
    }
    for name in [
        "PDM_CACHE_DIR",
        "PIPENV_CACHE_DIR",
        "PIP_CACHE_DIR",
        "POETRY_CACHE_DIR",
    ] {
        env.insert(name, cache);
    }
    env
}

/// The environment for pip: the user's index settings for uv where there are none for pip.
pub(crate) fn for_pip(env: &Env) -> Env {
    let mut env = env.clone();
    for (uv, pip) in [
        ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"),
        ("UV_INDEX_URL", "PIP_INDEX_URL"),
        ("UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL"),
        ("UV_INDEX", "PIP_EXTRA_INDEX_URL"),
    ] {
        if let Some(value) = env.get(uv).cloned() {
            default(&mut env, pip, value);
        }
    }
    env.insert("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    env.insert("PIP_NO_INPUT", "1");
    env.insert("PIP_ROOT_USER_ACTION", "ignore");
    env.insert("PIP_PROGRESS_BAR", "off");
    env
}

/// Where authorities and proxies are is the machine's business: it changes how packages travel, not which.
const TRANSPORT: [&str; 4] = [
    "PIP_CERT",
    "PIP_PROXY",
    "PIP_CLIENT_CERT",
    "PIP_DEFAULT_TIMEOUT",
];

/// A digest of every variable that can change what an install gives. It ends up in an image's label, so
/// passwords in addresses stay out of it: a new token must not make a new image, nor be guessed from one.
pub(crate) fn fingerprint(env: &Env) -> String {
    digest(env, |name| {
        is_of_installers(name) || COMPILERS.contains(&name)
    })
}

/// The same for an install that compiles nothing.
pub(crate) fn fingerprint_of_wheels(env: &Env) -> String {
    digest(env, is_of_installers)
}

fn is_of_installers(name: &str) -> bool {
    let is_secret = ["PASSWORD", "TOKEN", "USERNAME"]
        .iter()
        .any(|word| name.contains(word));
    !is_secret
        && !TRANSPORT.contains(&name)
        && ["PIP_", "UV_", "POETRY_", "PDM_", "PIPENV_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

fn digest(env: &Env, counts: impl Fn(&str) -> bool) -> String {
    let mut relevant: Vec<_> = env
        .iter()
        .filter(|(name, _)| counts(&name.to_string_lossy()))
        .collect();
    relevant.sort();
    let mut hash = Sha256::new();
    for (name, value) in relevant {
        let value = without_credentials(&value.to_string_lossy());
        for bytes in [name.as_encoded_bytes(), value.as_bytes()] {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
    }
    crate::fingerprint::hex(&hash.finalize())
}

/// The text with `user:password@` taken out of every address in it.
fn without_credentials(text: &str) -> String {
    let mut parts = text.split("://");
    let mut clean = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let end = part.find([' ', ',', '\n']).unwrap_or(part.len());
        let (address, rest) = part.split_at(end);
        let authority = address.find('/').unwrap_or(address.len());
        let start = address[..authority].rfind('@').map_or(0, |at| at + 1);
        clean = format!("{clean}://{}{rest}", &address[start..]);
    }
    clean
}

/// Whether a switch such as `DISABLE_COLLECTSTATIC` is on.
pub(crate) fn is_on(value: &OsString) -> bool {
    !matches!(
        value.to_string_lossy().trim().to_ascii_lowercase().as_str(),
        "" | "0" | "false" | "no" | "off"
    )
}

/// Whether the value of `BP_PYTHON_REFRESH` says "look now" rather than naming a period.
pub(crate) fn is_switch(value: &str) -> bool {
    matches!(
        value.trim().to_ascii_lowercase().as_str(),
        "1" | "true" | "yes" | "on"
    )
}

fn default(env: &mut Env, name: &str, value: impl Into<OsString>) {
    if !env.contains_key(name) {
        env.insert(name, value);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        let mut env = Env::new();
        for (name, value) in pairs {
            env.insert(name, value);
        }
        env
    }

    #[test]
    fn pips_settings_serve_uv() {
        let uv = for_uv(&env(&[
            ("PIP_INDEX_URL", "https://host/simple"),
            ("PIP_FIND_LINKS", "/a /b"),
            ("PIP_NO_INDEX", "1"),
        ]));
        assert_eq!(uv.get("UV_DEFAULT_INDEX").unwrap(), "https://host/simple");
        assert_eq!(uv.get("UV_FIND_LINKS").unwrap(), "/a,/b");
        assert_eq!(uv.get("UV_NO_INDEX").unwrap(), "true");
    }

    #[test]
    fn uvs_own_settings_win() {
        let uv = for_uv(&env(&[
            ("PIP_INDEX_URL", "https://pip/simple"),
            ("UV_INDEX_URL", "https://uv/simple"),
            ("PIP_NO_INDEX", "0"),
        ]));
        assert!(!uv.contains_key("UV_DEFAULT_INDEX"));
        assert!(!uv.contains_key("UV_NO_INDEX"));
    }

    #[test]
    fn the_fingerprint_sees_settings_and_nothing_else() {
        let plain = fingerprint(&env(&[("HOME", "/a")]));
        assert_eq!(plain, fingerprint(&env(&[("HOME", "/b")])));
        assert_eq!(plain, fingerprint(&env(&[("PIP_CERT", "/etc/ca.pem")])));
        assert_eq!(
            fingerprint(&env(&[("PIP_INDEX_URL", "https://me:one@host/simple a")])),
            fingerprint(&env(&[("PIP_INDEX_URL", "https://me:two@host/simple a")]))
        );
        assert_ne!(
            fingerprint(&env(&[("PIP_INDEX_URL", "https://me:one@host/simple")])),
            fingerprint(&env(&[("PIP_INDEX_URL", "https://me:one@other/simple")]))
        );
        for secret in ["UV_INDEX_MINE_PASSWORD", "POETRY_HTTP_BASIC_MINE_PASSWORD"] {
            assert_eq!(plain, fingerprint(&env(&[(secret, "one")])));
        }
        assert_ne!(plain, fingerprint(&env(&[("PIP_PRE", "1")])));
        let compiled = env(&[("CFLAGS", "-O3"), ("CPATH", "/layers/apt/include")]);
        assert_ne!(plain, fingerprint(&compiled));
        assert_eq!(plain, fingerprint_of_wheels(&compiled));
        assert_ne!(plain, fingerprint_of_wheels(&env(&[("PIP_PRE", "1")])));
        assert_ne!(
            fingerprint(&env(&[("PIP_PRE", "1")])),
            fingerprint(&env(&[("PIP_PRE1", "")]))
        );
    }
}
