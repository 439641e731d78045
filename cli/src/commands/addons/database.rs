//! `pg:psql`, `pg:info`, `pg:wait`, `pg:reset` and `pg:promote`.

use super::config;
use super::confirm::confirm;
use super::failure;
use super::find::World;
use crate::addon_vars;
use crate::args::{ConfirmedDatabaseArgs, DatabaseArgs, PromoteArgs, PsqlArgs};
use crate::commands::running::pass_through;
use crate::failure::{Exit, Failure, OrFail};
use crate::release::Occasion;
use crate::ui::printer::Printer;
use slug_runtime::addons::{
    Addon, Attachment, Client, Service, Streams, colour_variable, run_client,
};
use slug_runtime::run::Terminal;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What libpq's programs read (`PostgreSQL` documentation, "Environment Variables").
pub(super) struct Connection {
    port: String,
    user: String,
    password: String,
    database: String,
}

impl Connection {
    pub(super) fn of(addon: &Addon) -> Self {
        Self {
            port: addon.port.to_string(),
            user: addon.user.clone(),
            password: addon.password.clone(),
            database: addon.database.clone(),
        }
    }

    /// To another database of the same server.
    pub(super) fn to(addon: &Addon, database: &str) -> Self {
        Self {
            database: database.to_owned(),
            ..Self::of(addon)
        }
    }

    pub(super) fn env(&self) -> [(&str, &str); 6] {
        [
            ("PGHOST", "127.0.0.1"),
            ("PGPORT", &self.port),
            ("PGUSER", &self.user),
            ("PGPASSWORD", &self.password),
            ("PGDATABASE", &self.database),
            ("PGAPPNAME", "slugc"),
        ]
    }
}

pub(super) fn psql(printer: &Printer, args: &PsqlArgs) -> Result<ExitCode, Failure> {
    let world = World::open(&args.database.app)?;
    let addon = world.of_service(Service::Postgres, args.database.addon.as_deref())?;
    let name = addon
        .names_in(world.app_name())
        .next()
        .unwrap_or(&addon.name);
    let prompt = format!("{}::{name}%R%# ", world.app_name());
    let mut words: Vec<String> = ["psql", "--no-psqlrc", "--set"].map(str::to_owned).to_vec();
    words.push(format!("PROMPT1={prompt}"));
    words.extend(["--set".to_owned(), format!("PROMPT2={prompt}")]);
    let mut files = Vec::new();
    if let Some(command) = &args.command {
        words.extend(["--command".to_owned(), command.clone()]);
    } else if let Some(file) = &args.file {
        let file = file
            .canonicalize()
            .or_fail(Exit::Input, || format!("cannot read {}", file.display()))?;
        // The first mistake ends it, and the exit code tells.
        words.extend(["--set=ON_ERROR_STOP=1", "--file=/tmp/file.sql"].map(str::to_owned));
        files.push((file, PathBuf::from("/tmp/file.sql")));
    }
    let _in_use = world.start(printer, &addon)?;
    let term = std::env::var("TERM").ok();
    let folder = std::env::current_dir()
        .ok()
        .filter(|folder| folder != Path::new("/"));
    let code = run_client(
        &world.addons,
        &addon,
        Client {
            argv: &words,
            env: &Connection::of(&addon).env(),
            folder: folder.as_deref(),
            files: &files,
            streams: Streams::Own(Terminal::WhenThereIsOne {
                term: term.as_deref(),
            }),
        },
    )
    .map_err(|error| failure("cannot run psql", error))?;
    Ok(pass_through(code))
}

/// Runs SQL and returns what psql prints: unaligned rows, columns separated by `|`.
pub(super) fn query(
    world: &World,
    addon: &Addon,
    connection: &Connection,
    sql: &[&str],
) -> Result<String, Failure> {
    let mut argv: Vec<String> = [
        "psql",
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        "--set=ON_ERROR_STOP=1",
    ]
    .map(str::to_owned)
    .to_vec();
    for command in sql {
        argv.extend(["--command".to_owned(), (*command).to_owned()]);
    }
    output(world, addon, &argv, &connection.env())
}

/// What a client prints; its errors go where this program's go.
pub(super) fn output(
    world: &World,
    addon: &Addon,
    argv: &[String],
    env: &[(&str, &str)],
) -> Result<String, Failure> {
    let reading = || "cannot keep what the server answers".to_owned();
    let mut printed = tempfile::tempfile().or_fail(Exit::General, reading)?;
    let stdout = printed.try_clone().or_fail(Exit::General, reading)?;
    run_to_end(world, addon, argv, env, None, Some(stdout))?;
    let mut text = String::new();
    printed
        .rewind()
        .and_then(|()| printed.read_to_string(&mut text))
        .or_fail(Exit::General, reading)?;
    Ok(text)
}

/// Runs a client with files as its streams; it must succeed.
pub(super) fn run_to_end(
    world: &World,
    addon: &Addon,
    argv: &[String],
    env: &[(&str, &str)],
    stdin: Option<File>,
    stdout: Option<File>,
) -> Result<(), Failure> {
    let program = argv.first().map_or("", String::as_str);
    let client = Client {
        argv,
        env,
        folder: None,
        files: &[],
        streams: Streams::Files { stdin, stdout },
    };
    let code = run_client(&world.addons, addon, client)
        .map_err(|error| failure(format!("cannot run {program}"), error))?;
    if code == 0 {
        return Ok(());
    }
    Err(Failure::new(
        Exit::General,
        format!("{program} failed with exit code {code}; its own words are above"),
    ))
}

pub(super) fn info(printer: &Printer, args: &DatabaseArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let addon = world.of_service(Service::Postgres, args.addon.as_deref())?;
    let _in_use = world.start(printer, &addon)?;
    let sql = "SELECT current_setting('server_version'), pg_size_pretty(pg_database_size(current_database())), \
               (SELECT count(*) FROM pg_stat_user_tables), \
               (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()), \
               current_setting('max_connections')";
    let row = query(&world, &addon, &Connection::of(&addon), &[sql])?;
    let mut columns = row.trim_end().split('|').map(str::to_owned);
    let mut next = || columns.next().unwrap_or_default();
    let (version, size, tables, connections, most) = (next(), next(), next(), next(), next());
    let names: Vec<String> = addon
        .names_in(world.app_name())
        .map(|name| format!("{name}_URL"))
        .collect();
    printer.result(&format!("=== {}", names.join(", ")));
    for (label, value) in [
        ("Plan", addon.plan().to_string()),
        ("Status", "Available".to_owned()),
        ("Connections", format!("{connections}/{most}")),
        ("PG Version", version),
        ("Created", addon.created_at.to_string()),
        ("Data Size", size),
        ("Tables", tables),
        ("Address", format!("127.0.0.1:{}", addon.port)),
        ("Add-on", addon.name.clone()),
    ] {
        printer.result(&format!("{:<14}{value}", format!("{label}:")));
    }
    Ok(())
}

pub(super) fn wait(printer: &Printer, args: &DatabaseArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let addon = world.of_service(Service::Postgres, args.addon.as_deref())?;
    let _in_use = world.start(printer, &addon)?;
    printer.result(&format!("{} is available", addon.name));
    Ok(())
}

pub(super) fn reset(printer: &Printer, args: &ConfirmedDatabaseArgs) -> Result<(), Failure> {
    let world = World::open(&args.database.app)?;
    let addon = world.of_service(Service::Postgres, args.database.addon.as_deref())?;
    confirm(
        printer,
        world.app_name(),
        args.confirm.as_deref(),
        &format!("this deletes all data of {}", addon.name),
        &format!("pg:reset {}", addon.name),
    )?;
    let _in_use = world.start(printer, &addon)?;
    let database = &addon.database;
    query(
        &world,
        &addon,
        &Connection::to(&addon, "postgres"),
        &[
            &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
            &format!("CREATE DATABASE {database}"),
        ],
    )?;
    printer.result(&format!("Reset {}", addon.name));
    Ok(())
}

pub(super) fn promote(printer: &Printer, args: &PromoteArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let app = world.app_name().to_owned();
    let addon = world.of_service(Service::Postgres, Some(&args.addon))?;
    let first = Service::Postgres.first_attachment();
    let is_first = |addon: &Addon| addon.names_in(&app).any(|name| name == first);
    let config = config::config_of(&world.app)?;
    // Recorded without its config var: the command was killed the last time.
    if is_first(&addon) && config.get(&format!("{first}_URL")) == Some(&addon.url()) {
        return Err(Failure::new(
            Exit::Usage,
            format!("{} is {first}_URL of {app} already", addon.name),
        ));
    }
    if addon.names_in(&app).next().is_none() {
        return Err(Failure::new(
            Exit::Usage,
            format!("{} is not attached to {app}", addon.name),
        )
        .hint(format!("slugc addons:attach {} -a {app}", addon.name)));
    }
    let updating = |error| failure(format!("cannot promote {}", addon.name), error);
    let old = world.addons.of_app(&app).map_err(updating)?;
    let old = old.into_iter().find(|other| {
        let is_used = || config.get(&format!("{first}_URL")) == Some(&other.url());
        other.name != addon.name && (is_first(other) || is_used())
    });
    let as_first = Attachment {
        app: app.clone(),
        name: first.to_owned(),
    };
    if let Some(old) = old.as_ref().filter(|old| is_first(old)) {
        // Whoever is no longer the database keeps another name.
        let coloured = Attachment {
            app: app.clone(),
            name: colour_variable(Service::Postgres, &old.colour),
        };
        let is_only = old.names_in(&app).count() == 1;
        world
            .addons
            .update(&old.name, |attachments| {
                attachments.retain(|it| *it != as_first);
                attachments.extend(is_only.then_some(coloured));
            })
            .map_err(updating)?;
    }
    if !is_first(&addon) {
        let promote = |all: &mut Vec<Attachment>| all.push(as_first.clone());
        world
            .addons
            .update(&addon.name, promote)
            .map_err(updating)?;
    }
    let given = addon_vars::of(&world.store, &world.app)?;
    let release = config::set_config_vars(
        printer,
        &world,
        &world.app,
        Occasion::Change,
        format!("Promote {} to {first}_URL", addon.name),
        |config| {
            for (name, value) in given {
                config.entry(name).or_insert(value);
            }
            config.extend(addon.config_vars(first));
        },
    )
    .inspect_err(|_| {
        config::put_back(printer, &world, &addon.name, |all| {
            all.retain(|it| *it != as_first);
        });
        if let Some(old) = &old {
            config::put_back(printer, &world, &old.name, |all| {
                all.clone_from(&old.attachments);
                all.extend((!all.contains(&as_first)).then_some(as_first));
            });
        }
    })?;
    printer.result(&format!(
        "Promoted {} to {first}_URL on {app}, v{}",
        addon.name, release.version
    ));
    Ok(())
}

/// Copies what a reader has into a file of the user's, which appears whole or not at all.
pub(super) fn copy_out(mut from: File, to: &Path) -> Result<(), Failure> {
    let writing = || format!("cannot write {}", to.display());
    let folder = match to.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut staged = tempfile::NamedTempFile::new_in(folder).or_fail(Exit::General, writing)?;
    std::io::copy(&mut from, &mut staged).or_fail(Exit::General, writing)?;
    staged.flush().or_fail(Exit::General, writing)?;
    staged.persist(to).or_fail(Exit::General, writing)?;
    Ok(())
}
