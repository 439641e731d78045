#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::os::unix::fs::PermissionsExt;

fn create(
    addons: &Addons,
    service: &str,
    app: &str,
    name: Option<&str>,
) -> Result<Addon, AddonError> {
    addons.create(&NewAddon {
        plan: &service.parse().unwrap(),
        app,
        name,
        attachment: None,
        is_set: &|name| name == "HEROKU_POSTGRESQL_RED_URL",
        created_at: jiff::Timestamp::UNIX_EPOCH,
    })
}

#[test]
fn the_first_database_is_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let addons = Addons::new(folder.path());
    assert!(addons.all().unwrap().is_empty());
    let first = create(&addons, "postgres", "shop", None).unwrap();
    let second = create(&addons, "postgres", "shop", None).unwrap();
    let of_other = create(&addons, "postgres", "blog", None).unwrap();

    let names = |addon: &Addon| {
        addon
            .names_in("shop")
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&first)[0], "DATABASE");
    assert!(names(&first)[1].starts_with("HEROKU_POSTGRESQL_"));
    assert_eq!(names(&second).len(), 1);
    assert_ne!(names(&first)[1], names(&second)[0]);
    assert!(names(&of_other).is_empty());
    assert_eq!(of_other.names_in("blog").next(), Some("DATABASE"));

    assert_ne!(first.port, second.port);
    assert_ne!(first.password, second.password);
    assert_eq!(addons.of_app("shop").unwrap().len(), 2);
    assert_eq!(addons.get(&first.name).unwrap(), first);
}

#[test]
fn records_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let addons = Addons::new(folder.path());
    let addon = create(&addons, "redis", "shop", Some("cache")).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(addons.folder("cache")), 0o700);
    assert_eq!(mode(addons.folder("cache").join("addon.json")), 0o600);
    assert_eq!(addon.names_in("shop").collect::<Vec<_>>(), ["REDIS"]);
}

#[test]
fn names_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let addons = Addons::new(folder.path());
    create(&addons, "redis", "shop", Some("cache")).unwrap();
    let again = create(&addons, "redis", "shop", Some("cache")).unwrap_err();
    assert!(matches!(again, AddonError::Exists { .. }), "{again}");
    let bad = create(&addons, "redis", "shop", Some("../cache")).unwrap_err();
    assert!(matches!(bad, AddonError::Name { .. }), "{bad}");
    for missing in ["other", "../cache", ""] {
        let error = addons.get(missing).unwrap_err();
        assert!(matches!(error, AddonError::Unknown { .. }), "{error}");
    }
}

#[test]
fn what_is_removed_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let addons = Addons::new(folder.path());
    let addon = create(&addons, "kafka", "shop", None).unwrap();
    assert!(addon.controller_port.is_some());
    fs::create_dir(addons.folder(&addon.name).join("data")).unwrap();
    addons.remove(&addon.name).unwrap();
    assert!(addons.get(&addon.name).is_err());
    assert!(!addons.folder(&addon.name).exists());
}

#[test]
fn attachments_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let addons = Addons::new(folder.path());
    let addon = create(&addons, "redis", "shop", None).unwrap();
    addons
        .update(&addon.name, |attachments| {
            attachments.push(Attachment {
                app: "blog".to_owned(),
                name: "CACHE".to_owned(),
            });
        })
        .unwrap();
    assert_eq!(
        addons.of_app("blog").unwrap()[0].names_in("blog").next(),
        Some("CACHE")
    );
}

#[test]
fn an_app_knows_one_addon_by_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let addons = Addons::new(folder.path());
    let first = create(&addons, "redis", "shop", None).unwrap();
    let second = create(&addons, "redis", "blog", None).unwrap();
    let attach = |addon: &Addon, app: &str| {
        addons.update(&addon.name, |attachments| {
            attachments.push(Attachment {
                app: app.to_owned(),
                name: "REDIS".to_owned(),
            });
        })
    };
    for (addon, app) in [(&first, "shop"), (&second, "shop"), (&first, "blog")] {
        let error = attach(addon, app).unwrap_err();
        assert!(matches!(error, AddonError::Attached { .. }), "{error}");
        assert_eq!(addons.get(&addon.name).unwrap(), *addon);
    }
    attach(&first, "news").unwrap();
    // What is there twice, from before, does not keep anything from being changed.
    let mut doubled = second.clone();
    doubled.attachments.extend(second.attachments.clone());
    addons.save(&doubled).unwrap();
    attach(&second, "other").unwrap();
}
