//! What git knows of an app's folder: the commit that is checked out, and where the repository comes from. Its files are
//! read by hand: no program runs, so that nothing that a repository configures is obeyed, and it takes microseconds.

use ignore::gitignore::GitignoreBuilder;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// HEAD, a ref or a `.git` file are one line.
const LONGEST_LINE: u64 = 4 << 10;
/// Configurations and packed refs of real repositories are far smaller.
const LONGEST_FILE: u64 = 32 << 20;
/// How often a ref may name another one, as in git itself.
const MOST_REFS: usize = 5;

/// A checked out commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkout {
    /// In hexadecimal digits, SHA-1 or SHA-256.
    pub(crate) commit: String,
    /// The remote's address without anything secret, where it is one that others can reach.
    pub(crate) remote: Option<String>,
}

/// The checkout that a folder is part of; `None` where there is none, where nothing is committed, or where the
/// repository ignores the folder.
pub(crate) fn checkout(folder: &Path) -> Option<Checkout> {
    let root = folder.ancestors().find(|it| it.join(".git").exists())?;
    if is_ignored(root, folder) {
        return None;
    }
    let git = git_dir(root)?;
    // A linked worktree shares refs and configuration with the main one (gitrepository-layout(5)).
    let common = match line(&git.join("commondir")) {
        Some(path) => git.join(path),
        None => git.clone(),
    };
    let commit = resolve(&git, &common, &line(&git.join("HEAD"))?)?;
    let remote = read(&common.join("config"), LONGEST_FILE)
        .and_then(|config| remote(&config))
        .and_then(|url| public(&url));
    Some(Checkout { commit, remote })
}

/// `.git`, a folder or a file that says where the folder is.
fn git_dir(root: &Path) -> Option<PathBuf> {
    let path = root.join(".git");
    if path.is_dir() {
        return Some(path);
    }
    let target = line(&path)?;
    Some(root.join(target.strip_prefix("gitdir:")?.trim()))
}

/// Whether a `.gitignore` between the repository's folder and this one leaves it out: then the commit is not its.
fn is_ignored(root: &Path, folder: &Path) -> bool {
    folder
        .ancestors()
        .skip(1)
        .take_while(|it| it.starts_with(root))
        .any(|above| {
            let mut rules = GitignoreBuilder::new(above);
            // A pattern that cannot be understood ignores nothing, as in git.
            drop(rules.add(above.join(".gitignore")));
            rules
                .build()
                .is_ok_and(|rules| rules.matched_path_or_any_parents(folder, true).is_ignore())
        })
}

/// The commit that HEAD, or the ref that it names, stands for.
fn resolve(git: &Path, common: &Path, head: &str) -> Option<String> {
    let mut value = head.to_owned();
    for _ in 0..MOST_REFS {
        let Some(name) = value.strip_prefix("ref:").map(str::trim) else {
            return is_commit(&value).then_some(value);
        };
        let plain = name.starts_with("refs/") && !name.split('/').any(|part| part == "..");
        if !plain {
            return None;
        }
        value = line(&git.join(name))
            .or_else(|| line(&common.join(name)))
            .or_else(|| packed(common, name))?;
    }
    None
}

fn packed(common: &Path, name: &str) -> Option<String> {
    let text = read(&common.join("packed-refs"), LONGEST_FILE)?;
    text.lines().find_map(|line| {
        let (commit, of) = line.split_once(' ')?;
        (of == name).then(|| commit.to_owned())
    })
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The address of `origin`, else of the only remote (git-config(1), "Syntax").
fn remote(config: &str) -> Option<String> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut section = None;
    for line in config.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.split(']').next().unwrap_or_default();
            let name = header
                .strip_prefix("remote ")
                .map(|it| it.trim().trim_matches('"'));
            section = name.map(str::to_owned);
        } else if let (Some(name), Some((key, value))) = (&section, line.split_once('='))
            && key.trim().eq_ignore_ascii_case("url")
            && !found.iter().any(|(known, _)| known == name)
        {
            found.push((name.clone(), value.trim().trim_matches('"').to_owned()));
        }
    }
    let origin = found.iter().position(|(name, _)| name == "origin");
    match (origin, found.len()) {
        (Some(position), _) => Some(found.swap_remove(position).1),
        (None, 1) => found.pop().map(|(_, url)| url),
        _ => None,
    }
}

/// An address without user name, password and query; `None` for paths of this machine.
pub(crate) fn public(url: &str) -> Option<String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        // `git@host:path`: a user name, and never a password.
        let (host, path) = url.split_once(':')?;
        let plain = !host.contains('/') && host.len() > 1 && !path.is_empty();
        return plain.then(|| url.to_owned());
    };
    if !["https", "http", "ssh", "git"].contains(&scheme) {
        return None;
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or_default();
    (!host.is_empty()).then(|| format!("{scheme}://{host}/{path}"))
}

/// What [`public`] gives as a URL: scp's form `git@host:path` is another spelling of `ssh://host/path`.
pub(crate) fn as_url(address: &str) -> String {
    match address.split_once(':') {
        Some((authority, path)) if !path.starts_with("//") => {
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("ssh://{host}/{}", path.trim_start_matches('/'))
        }
        _ => address.to_owned(),
    }
}

fn line(path: &Path) -> Option<String> {
    let text = read(path, LONGEST_LINE)?;
    text.lines().next().map(|line| line.trim().to_owned())
}

fn read(path: &Path, longest: u64) -> Option<String> {
    // Pipes and devices would be read for ever, and even the opening of a pipe waits.
    let is_file = |found: std::io::Result<std::fs::Metadata>| found.is_ok_and(|it| it.is_file());
    if !is_file(path.metadata()) {
        return None;
    }
    let file = File::open(path).ok()?;
    if !is_file(file.metadata()) {
        return None;
    }
    let mut text = String::new();
    file.take(longest).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
#[path = "git_tests.rs"]
mod tests;
