//! `slugc sign` and `slugc verify`: signatures of images in registries.

use crate::args::{SignArgs, VerifyArgs, spelled};
use crate::failure::{Exit, Failure, OrFail};
use crate::place::Place;
use crate::signing::attestation::{self, Form, Wanted};
use crate::signing::key::{KeyError, PrivateKey, PublicKey};
use crate::signing::{self, Signed, Target};
use crate::statements;
use crate::store::Store;
use crate::transfer::{Transfer, registry};
use crate::ui::password;
use crate::ui::printer::{Detail, Printer};
use oci_image::Reference;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

const PASSWORD: &str = "COSIGN_PASSWORD";
/// No key file is longer, in bytes.
const LONGEST_KEY: u64 = 64 << 10;

pub(crate) fn run(args: &SignArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let Some(image) = args.image.as_deref().filter(|_| !args.generate_key) else {
        return generate(&printer, &args.key);
    };
    let reference = in_registry(image)?;
    let key = private(&args.key)?;
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let client = registry::connect(&reference, &args.registry)?;
    let target = Target::find(&client, &reference)?;
    let transfer = Transfer::new(&store, &printer, &args.registry, None)?;
    // Found out before anything is signed: what stops it must not do half of it.
    let statements = statements::on(&transfer, &target, &args.attest)?;
    let with = |signed: Signed| match signed {
        Signed::Added => format!("with {}", args.key.display()),
        Signed::Already => format!("with {} already", args.key.display()),
    };
    let blobs = store.blobs();
    let (form, signed) = if args.bundle {
        (Form::Bundle, signing::sign_in_bundle(blobs, &target, &key)?)
    } else {
        (Form::Tag, signing::sign(blobs, &target, &key)?)
    };
    printer.line(&format!("Signed {}", with(signed)));
    for (kind, statement) in statements {
        let signed = attestation::attest(blobs, &target, &key, &statement, form)?;
        printer.line(&format!("Signed the {} {}", kind.title(), with(signed)));
    }
    printer.result(&target.shown());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn verify(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let reference = in_registry(&args.image)?;
    let key = PublicKey::parse(&text(&args.key)?).map_err(|error| unusable(&args.key, error))?;
    let client = registry::connect(&reference, &args.registry)?;
    let target = Target::find(&client, &reference)?;
    let with = args.key.display();
    if args.attest.is_empty() {
        signing::verify(&target, &key)?;
        printer.line(&format!("Verified with {with}"));
    }
    for kind in &args.attest {
        let title = kind.title();
        let wanted = Wanted {
            predicate_type: kind.predicate_type(),
            plural: &format!("signed statements ({title})"),
            none: &format!("it has no signed {title}"),
            hint: &format!(
                "sign one where it was built: slugc sign REF --key FILE --attest {}",
                spelled(kind)
            ),
        };
        let statements = attestation::verify(&target, &key, &wanted)?;
        if args.json {
            for statement in statements {
                printer.result(&line(&statement)?);
            }
        } else {
            printer.line(&format!("Verified the {title} with {with}"));
        }
    }
    if !args.json {
        printer.result(&target.shown());
    }
    Ok(ExitCode::SUCCESS)
}

/// A JSON document on one line.
fn line(document: &[u8]) -> Result<String, Failure> {
    let value: serde_json::Value = serde_json::from_slice(document)
        .or_fail(Exit::Network, || "cannot print the statement".to_owned())?;
    Ok(value.to_string())
}

fn in_registry(text: &str) -> Result<Reference, Failure> {
    match Place::target(text)? {
        Place::Registry(name) => Ok(name.or_latest()),
        other => Err(Failure::new(
            Exit::Usage,
            format!("{other} is in no registry, where signatures are kept"),
        )
        .hint("push the image first, and name REGISTRY/REPOSITORY[:TAG]")),
    }
}

fn generate(printer: &Printer, file: &Path) -> Result<ExitCode, Failure> {
    let making = || format!("cannot make the key {}", file.display());
    let public_file = file.with_extension("pub");
    if public_file == file {
        return Err(Failure::new(Exit::Usage, making())
            .hint("name the private key's file, for example cosign.key"));
    }
    // A key that is lost cannot be had again: none is written over.
    if file.symlink_metadata().is_ok() {
        return Err(Failure::new(Exit::Input, making())
            .because("there is a file of that name")
            .hint("name a file that is not there yet"));
    }
    let password = std::env::var(PASSWORD).ok();
    let key = PrivateKey::generate().or_fail(Exit::General, making)?;
    let private = key
        .file(password.as_deref())
        .or_fail(Exit::General, making)?;
    let public = key.public().file().or_fail(Exit::General, making)?;
    write_new(&public_file, &public, 0o644)?;
    write_new(file, &private, 0o600).inspect_err(|_| drop(std::fs::remove_file(&public_file)))?;
    if password.is_none() {
        printer.warning(&format!(
            "{} is not closed with a password: set {PASSWORD} to have it closed",
            file.display()
        ));
    }
    printer.result(&format!("{}\n{}", file.display(), public_file.display()));
    Ok(ExitCode::SUCCESS)
}

fn write_new(file: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let attempt = || -> std::io::Result<()> {
        let mut open = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(file)?;
        open.write_all(text.as_bytes())?;
        open.sync_all()
    };
    attempt()
        .or_fail(Exit::Input, || {
            format!("cannot make the key {}", file.display())
        })
        .map_err(|failure| {
            failure.hint("name a file that is not there yet, in a folder that you may write to")
        })
}

fn private(file: &Path) -> Result<PrivateKey, Failure> {
    let given = || {
        std::env::var(PASSWORD)
            .ok()
            // Without a terminal nobody can be asked.
            .or_else(|| password::ask(&format!("Password of {}: ", file.display())).ok())
    };
    PrivateKey::parse(&text(file)?, given).map_err(|error| unusable(file, error))
}

fn text(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(LONGEST_KEY).read_to_string(&mut text))
        .or_fail(Exit::Input, || {
            format!("cannot read the key {}", file.display())
        })
        .map_err(|failure| {
            failure.hint("name the file of a key; slugc sign --generate-key makes one")
        })?;
    Ok(text)
}

fn unusable(file: &Path, error: KeyError) -> Failure {
    let hint = match &error {
        KeyError::PasswordMissing | KeyError::Password => {
            "set COSIGN_PASSWORD to the key's password"
        }
        KeyError::Kind(_) => "sign with the private key, verify with the public one",
        _ => "make a key: slugc sign --generate-key --key cosign.key",
    };
    Failure::new(
        Exit::Input,
        format!("cannot use the key {}", file.display()),
    )
    .because(error)
    .hint(hint)
}
