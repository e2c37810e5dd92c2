//! How long a mapping lasts, and how long it says it does.

use super::mappings::{at_index, outside};
use super::*;

#[test]
fn a_lease_follows_the_rules_of_the_version_asked_items_123_124_146() {
    let cases = [
        ("0", "0", "604800"),
        ("1", "1", "1"),
        ("604800", "604800", "604800"),
        ("604801", "604801", "604800"),
        ("4294967295", "4294967295", "604800"),
    ];
    for (asked, first, second) in cases {
        for (at, expected) in [(V1, first), (V2, second), (V1_AT_2, first)] {
            let mut world = world();
            assert_eq!(
                world.ask(at, "AddPortMapping", &mapping(&[("NewLeaseDuration", asked)])),
                "200"
            );
            let entry = world.ask(at, "GetSpecificPortMappingEntry", &outside("8080", "TCP"));
            assert!(entry.ends_with(&format!(" NewLeaseDuration={expected}")), "{asked}: {entry}");
        }
    }
}

#[test]
fn version_2_tells_no_more_than_it_knows_items_38_123() {
    let mut world = world();
    let month = [("NewLeaseDuration", "2592000")];
    assert_eq!(world.ask(V1, "AddPortMapping", &mapping(&month)), "200");
    for (at, expected) in [(V1, "2592000"), (V2, "604800")] {
        for (action, arguments) in [
            ("GetSpecificPortMappingEntry", &outside("8080", "TCP")[..]),
            ("GetGenericPortMappingEntry", &at_index("0")[..]),
        ] {
            let entry = world.ask(at, action, arguments);
            assert!(entry.ends_with(&format!(" NewLeaseDuration={expected}")), "{entry}");
        }
    }
}

#[test]
fn the_time_left_is_told_and_what_has_ended_is_gone_items_126_146_151() {
    let mut world = world();
    assert_eq!(world.ask(V1, "AddPortMapping", &mapping(&[("NewLeaseDuration", "10")])), "200");
    let mut left = |seconds| {
        let entry = world.after(seconds).ask(V1, "GetGenericPortMappingEntry", &at_index("0"));
        entry.rsplit('=').next().unwrap().to_owned()
    };
    assert_eq!(left(0), "10");
    assert_eq!(left(4), "6");
    assert_eq!(left(5), "1");
    assert_eq!(left(1), "713");
    assert!(world.gateway.is_empty());
}

#[test]
fn a_fraction_of_a_second_left_is_not_reported_as_no_end_item_146() {
    let mut world = world();
    assert_eq!(world.ask(V1, "AddPortMapping", &mapping(&[("NewLeaseDuration", "10")])), "200");
    world.now += Duration::from_millis(9_999);
    let entry = world.ask(V1, "GetGenericPortMappingEntry", &at_index("0"));
    assert!(entry.ends_with(" NewLeaseDuration=1"), "{entry}");
}
