//! Which group is chosen.

use crate::world::{World, buildpack};
use std::fs;

#[test]
fn detection_goes_through_orders_and_composites() {
    let world = World::new();
    for (id, detect) in [
        ("yes", ""),
        ("also", ""),
        ("no", "exit 100"),
        ("broken", "exit 3"),
        ("needy", "-nothing"),
    ] {
        world.add(&buildpack(id, "1.0.0").detect(detect));
    }
    world.composite("inner", "no | yes also");
    world.composite("outer", "inner also");
    world.composite("never", "no | needy");
    world.composite("cycle", "yes cycle");
    world.add(&buildpack("future", "1.0.0").api("0.99"));
    world.add(&buildpack("elsewhere", "1.0.0").target("windows"));
    for (order, expected) in [
        ("yes", Ok("yes")),
        ("no | yes", Ok("yes")),
        ("yes no?", Ok("yes")),
        ("yes no", Err(20)),
        ("no", Err(20)),
        ("no? no?", Err(20)),
        ("needy", Err(20)),
        ("yes needy?", Ok("yes")),
        ("broken", Err(21)),
        ("broken | yes", Ok("yes")),
        ("broken? yes", Ok("yes")),
        ("outer", Ok("yes,also")),
        ("inner yes", Ok("yes,also")),
        ("also inner", Ok("also,yes")),
        ("yes never?", Ok("yes")),
        ("yes never", Err(20)),
        ("never? yes", Ok("yes")),
        ("missing", Err(22)),
        ("cycle", Err(22)),
        ("future", Err(12)),
        ("elsewhere", Err(21)),
    ] {
        world.order(order);
        let found = world.detect();
        let found = match &found {
            Ok(detected) => {
                let ids: Vec<_> = detected
                    .group
                    .group
                    .iter()
                    .map(|element| element.id.as_str())
                    .collect();
                Ok(ids.join(","))
            }
            Err(error) => Err(error.exit_code()),
        };
        assert_eq!(found, expected.map(str::to_owned), "{order}");
    }
}

#[test]
fn a_buildpack_is_asked_once_and_its_words_are_shown_when_nothing_passes() {
    let world = World::new();
    let count = world.root().join("count");
    let detect = format!(
        "echo once >> {}; echo 'my words'; exit 100",
        count.display()
    );
    world.add(&buildpack("a", "1.0.0").detect(&detect));
    world.add(&buildpack("b", "1.0.0").detect("exit 100"));
    world.order("a | a b | b a");
    assert_eq!(world.detect().unwrap_err().exit_code(), 20);
    assert_eq!(fs::read_to_string(count).unwrap(), "once\n");
    let log = world.log();
    assert!(
        log.contains("Info ======== Output: a@1.0.0 ========\nInfo my words\n"),
        "{log}"
    );
    assert!(log.contains("Info fail: a@1.0.0"), "{log}");
}

#[test]
fn a_broken_build_plan_is_an_error_with_its_place() {
    let world = World::new();
    world.add(
        &buildpack("a", "1.0.0")
            .detect("printf '[[requires]]\\nname = 1\\n' > $CNB_BUILD_PLAN_PATH"),
    );
    world.order("a");
    assert_eq!(world.detect().unwrap_err().exit_code(), 21);
    assert!(
        world.log().contains("plan.toml:2:8: requires.name: "),
        "{}",
        world.log()
    );
}
