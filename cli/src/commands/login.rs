//! `slugc login REGISTRY` and `slugc logout REGISTRY`.

use crate::args::{LoginArgs, LogoutArgs};
use crate::failure::{Exit, Failure, OrFail};
use crate::logins::Logins;
use crate::transfer::registry;
use crate::ui::password;
use crate::ui::printer::{Detail, Printer};
use oci_image::Reference;
use oci_registry::{Client, Credentials, Found, Reason};
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;

/// Longer passwords are files that were piped in by mistake.
const LONGEST_PASSWORD: u64 = 64 << 10;

pub(crate) fn run(args: &LoginArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let name = host(&args.host)?;
    let mut logins = Logins::read(&file()?)?;
    let username = match &args.username {
        Some(username) => username.clone(),
        None if args.password_stdin => {
            return Err(Failure::new(Exit::Usage, "--password-stdin needs -u USER"));
        }
        None => asked(password::ask_openly("Username: "))?,
    };
    let password = if args.password_stdin {
        from_stdin()?
    } else {
        asked(password::ask("Password: "))?
    };
    if username.is_empty() || password.is_empty() {
        return Err(
            Failure::new(Exit::Usage, "a login needs a user name and a password")
                .hint("slugc login REGISTRY -u USER --password-stdin < FILE"),
        );
    }
    check(args, &name, &username, &password)?;
    let place = logins.store(&key(&name), &username, &password)?;
    printer.result(&format!(
        "Logged in to {} as {username}; kept in {place}",
        name.registry()
    ));
    warn_of_another(&printer, &name, &username);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn logout(args: &LogoutArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let name = host(&args.host)?;
    let known = Logins::read(&file()?)?.forget(&key(&name))?;
    printer.result(&if known {
        format!("Logged out of {}", name.registry())
    } else {
        format!("There was no login for {}", name.registry())
    });
    Ok(ExitCode::SUCCESS)
}

/// Nothing is kept that the registry does not take.
fn check(args: &LoginArgs, name: &Reference, username: &str, given: &str) -> Result<(), Failure> {
    let registry = name.registry();
    let failed = |exit| Failure::new(exit, format!("cannot log in to {registry}"));
    let found = Found {
        credentials: Credentials::Basic {
            username: username.to_owned(),
            password: given.to_owned(),
        },
        origin: "this login".to_owned(),
    };
    let options = registry::options(registry, &args.registry)?;
    let client = Client::new(registry, Some(found), &options)
        .map_err(|error| registry::unusable(failed(Exit::Input), error))?;
    client.check_credentials().map_err(|error| {
        let failure = match (&*error.reason, error.advice()) {
            (Reason::Status { status: 401 | 403, .. } | Reason::Token { .. }, _) => {
                failed(Exit::Input).hint(
                    "check user name and password; registries with two-factor logins want an access token as password",
                )
            }
            (_, Some(advice)) => failed(Exit::Network).hint(advice),
            (_, None) => failed(Exit::Network),
        };
        failure.because(error)
    })
}

/// podman's files count before docker's.
fn warn_of_another(printer: &Printer, name: &Reference, username: &str) {
    if let Ok(Some(found)) = registry::keychain().find(name)
        && !matches!(&found.credentials, Credentials::Basic { username: other, .. } if other == username)
    {
        printer.warning(&format!(
            "{} has another login for {}, which comes first",
            found.origin,
            name.registry()
        ));
    }
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin()
        .take(LONGEST_PASSWORD)
        .read_to_string(&mut text)
        .or_fail(Exit::Input, || {
            "cannot read the password from stdin".to_owned()
        })?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn asked(answer: io::Result<String>) -> Result<String, Failure> {
    answer.map_err(|error| match error.kind() {
        io::ErrorKind::Interrupted => Failure::new(Exit::Signal(2), "the login was interrupted"),
        io::ErrorKind::NotFound => {
            Failure::new(Exit::Usage, "there is no terminal to ask for the login on")
                .hint("slugc login REGISTRY -u USER --password-stdin < FILE")
        }
        _ => Failure::new(Exit::General, "cannot ask for the login").because(error),
    })
}

/// A registry as typed: `r.example`, `localhost:5000`, also with https:// before it.
fn host(text: &str) -> Result<Reference, Failure> {
    let bare = text
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .trim_end_matches('/');
    // Any repository will do: logins are for registries.
    let name: Option<Reference> = format!("{bare}/login").parse().ok();
    name.filter(|name| {
        !bare.contains('/') && (name.registry() == bare || bare == "index.docker.io")
    })
    .ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{text:?} is no registry"))
            .hint("write HOST or HOST:PORT, for example registry.example")
    })
}

/// What docker's file calls a registry.
fn key(name: &Reference) -> String {
    if name.registry() == "docker.io" {
        "https://index.docker.io/v1/".to_owned()
    } else {
        name.registry().to_owned()
    }
}

fn file() -> Result<PathBuf, Failure> {
    registry::docker_config().ok_or_else(|| {
        Failure::new(Exit::Input, "cannot tell where logins are kept").hint("set HOME")
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn registries() {
        for (text, kept) in [
            ("r.example", "r.example"),
            ("localhost:5000", "localhost:5000"),
            ("https://r.example/", "r.example"),
            ("docker.io", "https://index.docker.io/v1/"),
            ("index.docker.io", "https://index.docker.io/v1/"),
        ] {
            assert_eq!(key(&host(text).unwrap()), kept, "{text}");
        }
        for bad in ["", "shop", "r.example/team", "r.example:x", "a b"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
