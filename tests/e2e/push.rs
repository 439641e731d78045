//! `slugc push`, to Docker's own registry.

use crate::registry::Registry;
use crate::{as_each_user, context};
use test_support::{Need, TestContext, Who, free_port, requires};

#[test]
fn a_registry_has_what_was_built() {
    requires!(Need::Program("docker-registry"), Need::Program("skopeo"));
    let Some(t) = context(Who::Plain) else { return };
    let registry = Registry::start(&t);
    let app = t.fixture("worker-only");
    let digest = t
        .slugc_in(&app)
        .args(["build", "."])
        .run()
        .success()
        .digest();
    let target = format!("{}/team/worker:v1", registry.host);
    t.slugc_in(&app)
        .args(["push", &target])
        .run()
        .success()
        .says(&[&digest]);
    let seen = test_support::output_of(
        "skopeo",
        &[
            "inspect",
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            &format!("docker://{target}"),
        ],
        t.scratch(),
    );
    assert_eq!(seen.trim(), digest);
    // Once more: nothing travels, and the tag still says the same.
    t.slugc_in(&app)
        .args(["push", &target])
        .run()
        .success()
        .says(&[&digest]);
}

as_each_user! {
    fn bad_targets(t: &TestContext) {
        let app = t.fixture("worker-only");
        t.slugc_in(&app).args(["build", "."]).run().success();
        t.slugc_in(&app).args(["push", "127.0.0.1:5000/Upper/case"]).run().failure(3).says(&["127.0.0.1:5000/Upper/case", "REGISTRY/REPOSITORY"]);
        // Nobody listens there: refused at once, and the place is named.
        let nobody = format!("127.0.0.1:{}/team/worker", free_port());
        t.slugc_in(&app).args(["push", &nobody]).run().failure(4).says(&[&nobody]);
    }
}
