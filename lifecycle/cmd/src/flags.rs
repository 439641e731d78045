//! Flags in the syntax of Go's `flag` package, which platforms write them in.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Flags that take a value; of one that is given several times the last counts, or all of them.
const WITH_VALUE: [&str; 34] = [
    "analyzed",
    "app",
    "build-config",
    "build-image",
    "buildpacks",
    "cache-dir",
    "cache-image",
    "exec-env",
    "extended",
    "extensions",
    "generated",
    "gid",
    "group",
    "image",
    "insecure-registry",
    "launch-cache",
    "launcher",
    "launcher-sbom",
    "layers",
    "layout-dir",
    "log-level",
    "order",
    "plan",
    "platform",
    "previous-image",
    "process-type",
    "project-metadata",
    "report",
    "run",
    "run-image",
    "stack",
    "system",
    "tag",
    "uid",
];

/// Flags that are on or off.
const SWITCHES: [&str; 8] = [
    "daemon",
    "force",
    "layout",
    // Nothing here is coloured.
    "no-color",
    "parallel",
    "skip-layers",
    "skip-restore",
    "version",
];

/// Flags as they were given, and the arguments after them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    values: BTreeMap<&'static str, Vec<OsString>>,
    switches: BTreeMap<&'static str, bool>,
    /// What is no flag: images.
    pub(crate) arguments: Vec<OsString>,
}

impl Flags {
    /// Reads `-flag value`, `-flag=value`, `--flag…` up to the first that is none; what follows are arguments. Flags
    /// that make no sense for a phase are let through.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let bytes = arg.as_bytes();
            let flag = bytes
                .strip_prefix(b"--")
                .or_else(|| bytes.strip_prefix(b"-"))
                .filter(|_| bytes != b"-");
            let Some(flag) = flag else {
                flags.arguments.push(arg);
                flags.arguments.extend(args);
                return Ok(flags);
            };
            if flag.is_empty() {
                flags.arguments.extend(args);
                return Ok(flags);
            }
            let mut parts = flag.splitn(2, |&byte| byte == b'=');
            let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
            let value = parts
                .next()
                .map(|value| OsString::from_vec(value.to_owned()));
            if let Some(known) = WITH_VALUE.iter().find(|known| **known == name) {
                let value = value.or_else(|| args.next());
                let value = value.ok_or_else(|| format!("flag needs a value: -{name}"))?;
                flags.values.entry(known).or_default().push(value);
            } else if let Some(known) = SWITCHES.iter().find(|known| **known == name) {
                let text = value.as_ref().map(|value| value.to_string_lossy());
                let on = match text {
                    None => true,
                    Some(text) => truth(&text).ok_or_else(|| {
                        format!("{text:?} is neither true nor false, for flag -{name}")
                    })?,
                };
                flags.switches.insert(known, on);
            } else {
                return Err(format!("there is no flag -{name}"));
            }
        }
        Ok(flags)
    }

    /// The value of a flag of [`WITH_VALUE`], the last one given.
    pub(crate) fn value(&self, name: &str) -> Option<&OsString> {
        self.values.get(name)?.last()
    }

    /// All values of a flag of [`WITH_VALUE`].
    pub(crate) fn values(&self, name: &str) -> &[OsString] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// A flag of [`SWITCHES`], if it was given.
    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        self.switches.get(name).copied()
    }
}

/// A truth value as Go's `strconv.ParseBool` reads it.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_as_go_reads_them() {
        for (line, expected) in [
            ("", Ok(None)),
            ("-app /a", Ok(Some("/a"))),
            ("--app /a", Ok(Some("/a"))),
            ("-app=/a", Ok(Some("/a"))),
            ("--app=/a=b", Ok(Some("/a=b"))),
            ("-app=", Ok(Some(""))),
            ("-app /a -app /b", Ok(Some("/b"))),
            ("-app -version", Ok(Some("-version"))),
            ("-app /a --", Ok(Some("/a"))),
            ("-no-color -app /a", Ok(Some("/a"))),
            ("-app", Err("flag needs a value: -app")),
            ("-nope", Err("there is no flag -nope")),
            ("image -app /a", Ok(None)),
            ("-- -app /a", Ok(None)),
            ("- -app /a", Ok(None)),
            (
                "-version=maybe",
                Err("\"maybe\" is neither true nor false, for flag -version"),
            ),
        ] {
            let parsed = Flags::parse(line.split_whitespace().map(OsString::from));
            let found = parsed.as_ref().map(|flags| {
                flags
                    .value("app")
                    .map(|value| value.to_string_lossy().into_owned())
            });
            let expected = expected.map(|value: Option<&str>| value.map(str::to_owned));
            assert_eq!(
                found.map_err(Clone::clone),
                expected.map_err(str::to_owned),
                "{line}"
            );
        }
        let line = "-version -daemon=false -tag a -tag=b one -two";
        let flags = Flags::parse(line.split_whitespace().map(OsString::from));
        let flags = flags.unwrap_or_default();
        assert_eq!(flags.switch("version"), Some(true));
        assert_eq!(flags.switch("daemon"), Some(false));
        assert_eq!(flags.switch("layout"), None);
        assert_eq!(flags.values("tag"), ["a", "b"]);
        assert_eq!(flags.arguments, ["one", "-two"]);
    }
}
