//! `slugc push`: an app's image to a registry.

use crate::app::{App, AppName};
use crate::args::PushArgs;
use crate::failure::{Exit, Failure};
use crate::host;
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use crate::ui::size;
use oci_image::{Reference, ReferenceParseError};
use oci_registry::keychain::Source;
use oci_registry::{Client, Keychain, Options, Progress, PushError, PushOptions, Pushed};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) fn run(args: &PushArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let target: Reference = args.target.parse().map_err(|error: ReferenceParseError| {
        Failure::new(Exit::Input, format!("cannot push to {}", args.target))
            .because(error)
            .hint("name a place in a registry: REGISTRY/REPOSITORY[:TAG]")
    })?;
    let target = target.or_latest();
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let app = App::of(&store, AppName::choose(&args.app, Path::new("."))?);
    let built = app.built_image()?;

    let failed = |exit| {
        Failure::new(
            exit,
            format!("cannot push the app {} to {target}", app.name.as_str()),
        )
    };
    let credentials = keychain().find(&target).map_err(|error| {
        failed(Exit::Input)
            .because(error)
            .hint("log in again, or remove the entry from the file")
    })?;
    let options = Options {
        insecure: args.insecure.clone(),
        proxy: host::proxy_for(&format!("https://{}/", target.registry())),
        ..Options::default()
    };
    let client = Client::new(target.registry(), credentials, &options).map_err(|error| {
        failed(Exit::Input)
            .because(error)
            .hint("correct HTTPS_PROXY")
    })?;

    printer.heading(&format!("Pushing {} to {target}", app.name.as_str()));
    let bar = printer.bytes_bar(0, "layers");
    let watch = |progress| match progress {
        Progress::Total(bytes) => bar.set_length(bytes),
        Progress::Passed(bytes) => bar.inc(bytes),
        Progress::Repeated(bytes) => bar.dec(bytes),
    };
    let options = PushOptions {
        watch: Some(&watch),
        ..PushOptions::default()
    };
    let pushed = oci_registry::push(&client, store.blobs(), &built.manifest, &target, &options);
    bar.finish_and_clear();
    let pushed = pushed.map_err(|error| match &error {
        PushError::Registry(request) => {
            let failure = failed(Exit::Network);
            let failure = match request.advice() {
                Some(advice) => failure.hint(advice),
                None => failure,
            };
            failure.because(error)
        }
        PushError::OtherDigest { .. } => failed(Exit::Input)
            .because(error)
            .hint("leave the digest out of the target"),
        _ => failed(Exit::Store).because(error).hint(format!(
            "build it again: slugc build {} --refresh -a {}",
            built.source.display(),
            app.name.as_str()
        )),
    })?;
    printer.line(&summary(&pushed));
    printer.result(&format!("{}@{}", target.name(), pushed.digest));
    Ok(ExitCode::SUCCESS)
}

fn summary(pushed: &Pushed) -> String {
    if pushed.unchanged {
        return "The tag names this image already; nothing sent".to_owned();
    }
    format!(
        "Sent {} blobs ({}); {} were there",
        pushed.sent,
        size::bytes(pushed.sent_bytes),
        pushed.mounted + pushed.present
    )
}

/// Where logins are kept, in the order in which they count: the lifecycle's variable, podman's files
/// (containers-auth.json(5)), docker's.
fn keychain() -> Keychain {
    let folder = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = folder("HOME");
    let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let files = [
        folder("REGISTRY_AUTH_FILE"),
        folder("XDG_RUNTIME_DIR").map(|path| path.join("containers/auth.json")),
        folder("XDG_CONFIG_HOME")
            .or_else(|| in_home(".config"))
            .map(|path| path.join("containers/auth.json")),
        folder("DOCKER_CONFIG")
            .or_else(|| in_home(".docker"))
            .map(|path| path.join("config.json")),
    ];
    let given = std::env::var("CNB_REGISTRY_AUTH")
        .ok()
        .map(Source::CnbRegistryAuth);
    Keychain {
        sources: given
            .into_iter()
            .chain(files.into_iter().flatten().map(Source::File))
            .collect(),
        helper_path: std::env::var_os("PATH").unwrap_or_default(),
    }
}
