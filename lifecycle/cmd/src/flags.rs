//! Flags in the syntax of Go's `flag` package, which platforms write them in.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Flags that take a value.
const WITH_VALUE: [&str; 15] = [
    "analyzed",
    "app",
    "build-config",
    "buildpacks",
    "exec-env",
    "extensions",
    "generated",
    "group",
    "layers",
    "log-level",
    "order",
    "plan",
    "platform",
    "run",
    "system",
];

/// Flags as they were given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    values: BTreeMap<&'static str, OsString>,
    /// `-version`.
    pub(crate) version: bool,
}

impl Flags {
    /// Reads `-flag value`, `-flag=value`, `--flag…`; the last one counts. What follows `--`, or is not a flag, is an
    /// argument, and the phases here take none. Flags that make no sense for a phase are let through.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let bytes = arg.as_bytes();
            let Some(flag) = bytes
                .strip_prefix(b"--")
                .or_else(|| bytes.strip_prefix(b"-"))
            else {
                return Err(format!("received unexpected argument {}", arg.display()));
            };
            if flag.is_empty() {
                return match args.next() {
                    None => Ok(flags),
                    Some(arg) => Err(format!("received unexpected argument {}", arg.display())),
                };
            }
            let mut parts = flag.splitn(2, |&byte| byte == b'=');
            let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
            let value = parts
                .next()
                .map(|value| OsString::from_vec(value.to_owned()));
            if let Some(known) = WITH_VALUE.iter().find(|known| **known == name) {
                let value = value.or_else(|| args.next());
                let value = value.ok_or_else(|| format!("flag needs a value: -{name}"))?;
                flags.values.insert(known, value);
            } else {
                let on = match value
                    .as_ref()
                    .map(|value| value.to_string_lossy())
                    .as_deref()
                {
                    None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
                    Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
                    Some(other) => {
                        return Err(format!(
                            "{other:?} is neither true nor false, for flag -{name}"
                        ));
                    }
                };
                match name.as_str() {
                    "version" => flags.version = on,
                    // Nothing here is coloured.
                    "no-color" => {}
                    _ => return Err(format!("there is no flag -{name}")),
                }
            }
        }
        Ok(flags)
    }

    /// The value of a flag of [`WITH_VALUE`].
    pub(crate) fn value(&self, name: &str) -> Option<&OsString> {
        self.values.get(name)
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
            ("image", Err("received unexpected argument image")),
            ("-- image", Err("received unexpected argument image")),
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
        assert!(Flags::parse(["-version".into()]).is_ok_and(|flags| flags.version));
    }
}
