//! Mirrors of registries.

use crate::BINARY;
use crate::places::built;
use crate::registry::{Registry, Wire, beside_registry};
use std::net::{IpAddr, UdpSocket};
use test_support::{Need, TestContext, Who, free_port, requires};

/// As podman's: `registries.conf` in the user's folder.
#[test]
fn mirrors_are_asked_first() {
    requires!(Need::Program("docker-registry"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let registry = Registry::start(&t);
    let (app, digest) = built(&t, &[]);
    let at = format!("{}/mirrored/shop:1", registry.host);
    t.slugc_in(&app).args(["push", &at]).run().success();
    let folder = t.home().join(".config/containers");
    std::fs::create_dir_all(&folder).unwrap();
    let nobody = format!("127.0.0.1:{}", free_port());
    let conf = |more: &str| {
        let text = format!(
            "[[registry]]\nprefix = \"registry.invalid/team\"\n{more}\n[[registry.mirror]]\nlocation = \"{nobody}/x\"\n\
             [[registry.mirror]]\nlocation = \"{}/mirrored\"\ninsecure = true\n",
            registry.host
        );
        std::fs::write(folder.join("registries.conf"), text).unwrap();
        t.give(&t.home());
    };
    conf("");
    let name = "registry.invalid/team/shop:1";
    let back = |arguments: &[&str]| t.slugc().args(arguments).run();
    back(&["pull", name]).success().says(&[
        &format!("passing over the mirror: cannot pull {nobody}/x/shop:1"),
        &format!("From the mirror {}/mirrored/shop:1", registry.host),
        &digest,
    ]);
    let names = back(&["images", "--output", "json"]).success().json();
    let rows = names.as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(row["digest"], digest);
    back(&["outdated", name, "--json"])
        .success()
        .says(&["current"]);
    conf("mirror-by-digest-only = true");
    // A tag is the registry's own to resolve: no mirror is asked.
    back(&["pull", name])
        .failure(4)
        .says(&["no answer from https://registry.invalid"])
        .never_says(&["mirror", &nobody, &registry.host]);
    let by_digest = format!("shop@{digest}");
    back(&["pull", &format!("registry.invalid/team/{by_digest}")])
        .success()
        .says(&[&format!(
            "From the mirror {}/mirrored/{by_digest}",
            registry.host
        )]);
    conf("blocked = true");
    for arguments in [["pull", name], ["push", name]] {
        let refused = back(&arguments);
        refused
            .failure(3)
            .says(&[&format!("{name} is blocked on this machine")])
            .never_says(&["From the mirror"]);
    }
    std::fs::write(folder.join("registries.conf"), "[[registry]\n").unwrap();
    back(&["pull", name])
        .failure(3)
        .says(&["registries.conf", "containers-registries.conf(5)"]);
}

/// An address that others on the network reach this machine by. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// What registries.conf says of a registry holds for its other location, too.
fn check_locations(who: Who) {
    let Some(t) = TestContext::with_own_store(BINARY, who) else {
        return;
    };
    let registry = Registry::start(&t);
    let (app, digest) = built(&t, &[]);
    let at = format!("{}/moved/shop:1", registry.host);
    t.slugc_in(&app).args(["push", &at]).run().success();
    let folder = t.home().join(".config/containers");
    std::fs::create_dir_all(&folder).unwrap();
    let conf = |text: &str| {
        std::fs::write(folder.join("registries.conf"), text).unwrap();
        t.give(&t.home());
    };
    let name = "registry.invalid/team/shop:1";
    let pull = || t.slugc().args(["pull", name]).run();
    conf(&format!("# {}\n", "x".repeat(1 << 20)));
    pull()
        .failure(3)
        .says(&["registries.conf", "more than 1048576 bytes"]);
    let Some(address) = own_address() else {
        println!("skipped: needs an address on a network");
        return;
    };
    let wire = Wire::at(address, &registry, u64::MAX);
    let moved = |insecure: bool| {
        conf(&format!(
            "[[registry]]\nprefix = \"registry.invalid/team\"\nlocation = \"{}/moved\"\ninsecure = {insecure}\n",
            wire.host
        ));
    };
    moved(false);
    pull().failure(4).says(&[&wire.host]);
    moved(true);
    pull().success().says(&[&digest]);
}

beside_registry! {
    check_locations => locations_as_root, locations_as_plain_user;
}
