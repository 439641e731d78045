//! `slugc ps:type`: how large the dynos of each type are.

use crate::app::App;
use crate::args::PsTypeArgs;
use crate::commands::{launch, ps_scale};
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use crate::supervisor;
use crate::ui::printer::{Detail, Printer};
use crate::ui::size;
use serde_json::json;
use slug_runtime::size::Size;
use slug_runtime::state::Sizes;
use slug_runtime::supervisor::Quantities;
use std::process::ExitCode;

/// What takes a size away.
const NONE: &str = "none";

pub(crate) fn run(args: &PsTypeArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    let processes = ps_scale::processes(&store, &app)?;
    let types = supervisor::scalable(&processes);
    let mut sizes = sizes(&app)?;
    let before = sizes.clone();
    for word in &args.changes {
        change(&mut sizes, word, &types)?;
    }
    let client = supervisor::find(&printer, &app)?;
    let refused = |error| supervisor::refused(&app, error);
    if sizes != before {
        set_sizes(&app, &sizes)?;
        if let Some(client) = &client {
            client.resize().map_err(refused)?;
        }
    }
    let quantities = match &client {
        Some(client) => ps_scale::live(&client.status().map_err(refused)?),
        None => launch::stored(&app, &processes)?,
    };
    if args.json {
        let rows: Vec<_> = rows(&types, &sizes, &quantities)
            .map(|(name, size, quantity)| {
                let memory = size.map(Size::memory);
                json!({ "type": name, "size": size, "quantity": quantity, "memory": memory })
            })
            .collect();
        let json = serde_json::to_string_pretty(&rows);
        printer.result(&json.or_fail(Exit::General, || "cannot print JSON".to_owned())?);
        return Ok(ExitCode::SUCCESS);
    }
    if sizes != before {
        printer.result("Scaling dynos... done");
    }
    for (name, size, quantity) in rows(&types, &sizes, &quantities) {
        let what = size.map_or_else(
            || "no size: as much memory as it likes".to_owned(),
            |size| format!("{size}, {} of memory", size::bytes(size.memory())),
        );
        printer.result(&format!("{name}: {quantity}, {what}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn rows<'a>(
    types: &'a [String],
    sizes: &'a Sizes,
    quantities: &'a Quantities,
) -> impl Iterator<Item = (&'a str, Option<Size>, u32)> {
    types.iter().map(|name| {
        let size = sizes.iter().find(|(kind, _)| kind.as_str() == name);
        let quantity = quantities.iter().find(|(kind, _)| kind.as_str() == name);
        (
            name.as_str(),
            size.map(|(_, size)| *size),
            quantity.map_or(0, |(_, count)| *count),
        )
    })
}

/// `web=standard-2x`, or `standard-2x` for all types.
fn change(sizes: &mut Sizes, word: &str, types: &[String]) -> Result<(), Failure> {
    let (name, size) = match word.split_once('=') {
        Some((name, size)) => (Some(name), size),
        None => (None, word),
    };
    let size: Option<Size> = if size == NONE {
        None
    } else {
        let parsed = size.parse();
        Some(parsed.or_fail(Exit::Usage, || format!("cannot understand {word:?}"))?)
    };
    if let Some(name) = name
        && !types.iter().any(|known| known == name)
    {
        return Err(supervisor::unknown_type(name, types));
    }
    let meant = types
        .iter()
        .filter(|known| name.is_none_or(|name| name == *known));
    for name in meant {
        // The image's own process types have no other names.
        let Ok(process_type) = name.parse() else {
            continue;
        };
        match size {
            Some(size) => drop(sizes.insert(process_type, size)),
            None => drop(sizes.remove(&process_type)),
        }
    }
    Ok(())
}

/// The stored sizes.
pub(crate) fn sizes(app: &App) -> Result<Sizes, Failure> {
    app.state().sizes().or_fail(Exit::Store, || {
        format!("cannot read the dyno sizes of {}", app.name.as_str())
    })
}

pub(crate) fn set_sizes(app: &App, sizes: &Sizes) -> Result<(), Failure> {
    app.state().set_sizes(sizes).or_fail(Exit::Store, || {
        format!("cannot keep the dyno sizes of {}", app.name.as_str())
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let types = ["web", "worker"].map(str::to_owned);
        let mut sizes = Sizes::new();
        change(&mut sizes, "basic", &types).unwrap();
        change(&mut sizes, "web=Standard-2X", &types).unwrap();
        let shown: Vec<String> = sizes
            .iter()
            .map(|(name, size)| format!("{name}={size}"))
            .collect();
        assert_eq!(shown, ["web=Standard-2X", "worker=Basic"]);
        change(&mut sizes, "web=none", &types).unwrap();
        assert_eq!(sizes.len(), 1);
        for (word, said) in [
            ("huge", "cannot understand \"huge\""),
            ("wep=basic", "no process type wep"),
        ] {
            let error = change(&mut sizes, word, &types).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
