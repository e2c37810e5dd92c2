use super::*;
use proptest::prelude::*;

fn host(number: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + number).to_be_bytes())
}

#[test]
fn a_host_full_of_searching_programs_is_never_starved() {
    let mut budget = Budget::default();
    let start = Instant::now();
    // Two programs, each by unicast and multicast for everything and for two single types, three
    // times within a second; and the same again every minute.
    for minute in 0..5 {
        for step in 0..3 {
            let now = start + Duration::from_secs(minute * 60) + Duration::from_millis(step * 300);
            for _program in 0..2 {
                for count in [11, 11, 1, 1] {
                    assert_eq!(budget.take(host(1), count, now), count);
                }
            }
        }
    }
}

#[test]
fn item_261_a_source_gets_its_burst_and_then_its_rate() {
    let mut budget = Budget::default();
    let start = Instant::now();
    assert_eq!(budget.left(host(1), start), SOURCE_BURST);
    assert_eq!(budget.take(host(1), 1000, start), SOURCE_BURST);
    assert_eq!(budget.left(host(1), start), 0);
    assert_eq!(budget.take(host(1), 1, start), 0);
    assert_eq!(budget.take(host(2), 5, start), 5);
    // A thousand questions in a second earn no more than one does.
    let sum: u32 =
        (1..=1000).map(|ms| budget.take(host(1), 11, start + Duration::from_millis(ms))).sum();
    assert_eq!(sum, SOURCE_PER_SECOND);
    let later = start + Duration::from_secs(3600);
    assert_eq!(budget.take(host(1), 1000, later), SOURCE_BURST);
}

#[test]
fn item_261_forged_sources_get_no_more_than_all_may_have() {
    let mut budget = Budget::default();
    let start = Instant::now();
    let flood =
        |budget: &mut Budget, now| -> u32 { (0..500).map(|n| budget.take(host(n), 11, now)).sum() };
    assert_eq!(flood(&mut budget, start), TOTAL_BURST);
    assert_eq!(flood(&mut budget, start), 0);
    assert_eq!(flood(&mut budget, start + Duration::from_secs(1)), TOTAL_PER_SECOND);
}

#[test]
fn item_261_a_host_with_many_addresses_of_ipv6_leaves_the_others_half() {
    let mut budget = Budget::default();
    let start = Instant::now();
    let address = |n: u16| IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, n]);
    let flood = |budget: &mut Budget, now| -> u32 {
        (0..500).map(|n| budget.take(address(n), 11, now)).sum()
    };
    assert_eq!(flood(&mut budget, start), TOTAL_V6_BURST);
    for second in 1..60 {
        let now = start + Duration::from_secs(second);
        assert_eq!(flood(&mut budget, now), TOTAL_V6_PER_SECOND);
        assert_eq!(budget.left(address(1), now), 0);
        assert_eq!(budget.take(host(1), 11, now), 11);
    }
}

#[test]
fn the_quietest_source_is_forgotten_first() {
    let mut budget = Budget::default();
    let now = Instant::now();
    budget.take(host(0), SOURCE_BURST, now);
    for other in 1..SOURCES_MAX as u32 {
        budget.take(host(other), 1, now);
    }
    assert_eq!(budget.take(host(0), 1, now), 0);
    for other in 100..99 + SOURCES_MAX as u32 {
        budget.take(host(other), 1, now);
        assert_eq!(budget.take(host(0), 1, now), 0);
    }
    for other in 200..200 + SOURCES_MAX as u32 {
        budget.take(host(other), 1, now);
    }
    assert_eq!(budget.take(host(0), 1, now), 1);
}

#[test]
fn a_clock_that_stands_still_or_goes_back_gives_nothing() {
    let mut budget = Budget::default();
    let now = Instant::now() + Duration::from_secs(10);
    assert_eq!(budget.take(host(1), SOURCE_BURST, now), SOURCE_BURST);
    assert_eq!(budget.take(host(1), 1, now - Duration::from_secs(5)), 0);
    assert_eq!(budget.take(host(1), 1, now), 0);
}

proptest! {
    #[test]
    fn no_questions_make_the_budget_give_more_than_its_limits(
        takes in proptest::collection::vec((0u32..200, any::<u32>(), 0u64..2000), 1..200),
    ) {
        let mut budget = Budget::default();
        let start = Instant::now();
        let (mut now, mut sum) = (start, 0u64);
        for (source, count, pause) in takes {
            now += Duration::from_millis(pause);
            let left = budget.left(host(source), now);
            let granted = budget.take(host(source), count, now);
            prop_assert_eq!(granted, count.min(left));
            prop_assert!(granted <= count.min(SOURCE_BURST));
            sum += u64::from(granted);
        }
        let earned = (now - start).as_millis() as u64 * u64::from(TOTAL_PER_SECOND) / 1000;
        prop_assert!(sum <= u64::from(TOTAL_BURST) + earned);
    }
}
