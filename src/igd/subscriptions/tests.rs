use super::*;
use proptest::prelude::*;

const AT: (Face, Service) = (Face::V2, Service::WanIp);

struct Lab {
    all: Subscriptions<()>,
    now: Instant,
    random: u8,
}

impl Lab {
    fn new() -> Lab {
        Lab { all: Subscriptions::default(), now: Instant::now(), random: 0 }
    }

    fn add(&mut self, host: &str) -> Option<(String, u32)> {
        self.random = self.random.wrapping_add(1);
        let mut random = [0; 16];
        random[0] = self.random;
        let host = host.parse().unwrap();
        self.all.add(AT, host, Vec::new(), Some(3600), (), self.now, random)
    }

    /// One subscriber that may be told.
    fn begun(&mut self) -> String {
        let (sid, _) = self.add("192.168.1.10").unwrap();
        self.all.begin(&sid, self.now);
        self.now += FIRST_PAUSE;
        sid
    }

    fn event(&mut self, values: &Values) -> Option<Event> {
        let (at, ..) = self.all.ready(0, self.now)?;
        self.all.event(at, values).map(|(event, _)| event)
    }
}

fn values(address: &str, count: u32) -> Values {
    vec![
        ("ExternalIPAddress", address.to_owned()),
        ("PortMappingNumberOfEntries", count.to_string()),
        ("SystemUpdateID", (count / 2).to_string()),
    ]
}

fn names(event: Option<&Event>) -> Vec<&'static str> {
    event.map(|event| event.values.iter().map(|(name, _)| *name).collect()).unwrap_or_default()
}

#[test]
fn a_term_is_half_an_hour_at_least_and_a_day_at_most_72_73() {
    let mut lab = Lab::new();
    for (asked, granted) in [
        (Some(0), 1800),
        (Some(300), 1800),
        (Some(1801), 1801),
        (Some(u32::MAX), 86_400),
        (None, 86_400),
    ] {
        let host = "192.168.1.10".parse().unwrap();
        let random = [granted as u8; 16];
        let got = lab.all.add(AT, host, Vec::new(), asked, (), lab.now, random).unwrap();
        assert_eq!(got.1, granted);
        assert_eq!(lab.all.renew(AT, &got.0, asked, lab.now), Some(granted));
        lab.all.cancel(&got.0);
    }
}

#[test]
fn nothing_is_told_before_the_answer_is_written_and_then_everything_79() {
    let mut lab = Lab::new();
    let (sid, _) = lab.add("192.168.1.10").unwrap();
    assert_eq!(lab.event(&values("a", 1)), None);
    lab.all.begin(&sid, lab.now);
    assert_eq!(lab.event(&values("a", 1)), None, "the answer is to be read first");
    assert_eq!(lab.all.poll_timeout(lab.now), Some(lab.now + FIRST_PAUSE));
    lab.now += FIRST_PAUSE;
    let event = lab.event(&values("a", 1)).unwrap();
    assert_eq!((event.sequence, &event.values), (0, &values("a", 1)));
}

#[test]
fn what_changes_while_a_notify_is_under_way_goes_with_the_next_80_86() {
    let mut lab = Lab::new();
    let sid = lab.begun();
    let first = lab.event(&values("a", 1)).unwrap();
    assert_eq!(lab.event(&values("b", 2)), None, "one at a time");
    lab.all.finish(&sid, first, Outcome::Delivered, lab.now);
    assert_eq!(lab.event(&values("b", 2)), None, "not at once");
    assert_eq!(lab.all.poll_timeout(lab.now), Some(lab.now + MODERATION));
    lab.now += MODERATION;
    assert_eq!(lab.event(&values("a", 1)), None, "nothing has changed");
    let second = lab.event(&values("a", 2));
    assert_eq!(names(second.as_ref()), ["PortMappingNumberOfEntries", "SystemUpdateID"]);
    let second = second.unwrap();
    assert_eq!(second.sequence, 1);
    lab.all.finish(&sid, second, Outcome::Delivered, lab.now);
    lab.now += MODERATION;
    // The update id stays, and is told with the count all the same.
    let third = lab.event(&values("a", 3));
    assert_eq!(names(third.as_ref()), ["PortMappingNumberOfEntries", "SystemUpdateID"]);
    lab.all.finish(&sid, third.unwrap(), Outcome::Delivered, lab.now);
    lab.now += MODERATION;
    assert_eq!(names(lab.event(&values("c", 3)).as_ref()), ["ExternalIPAddress"]);
}

#[test]
fn who_cannot_be_reached_is_tried_again_with_the_newest_values_83() {
    let mut lab = Lab::new();
    let sid = lab.begun();
    let mut pause = RETRY_FIRST;
    for try_ in 0..9 {
        let event = lab.event(&values("a", try_)).unwrap();
        assert_eq!((event.sequence, names(Some(&event)).len()), (0, 3), "nobody heard the first");
        lab.all.finish(&sid, event, Outcome::Unreachable, lab.now);
        lab.now += pause - Duration::from_millis(1);
        assert_eq!(lab.event(&values("a", 99)), None);
        lab.now += Duration::from_millis(1);
        pause = (pause * 2).min(RETRY_MAX);
    }
    let event = lab.event(&values("a", 10)).unwrap();
    lab.all.finish(&sid, event, Outcome::Lost, lab.now);
    lab.now += RETRY_MAX;
    let event = lab.event(&values("a", 11)).unwrap();
    assert_eq!((event.sequence, names(Some(&event)).len()), (1, 3), "one may have been heard");
    lab.all.finish(&sid, event, Outcome::Unknown, lab.now);
    assert!(lab.all.is_empty(), "the subscriber has forgotten it");
}

#[test]
fn a_subscription_ends_with_its_term_or_when_cancelled_74_76_78_84() {
    let mut lab = Lab::new();
    let sid = lab.begun();
    let other = (Face::V1, Service::WanIp);
    assert_eq!(lab.all.renew(other, &sid, None, lab.now), None, "of another service");
    assert!(!lab.all.cancel_at(other, &sid));
    assert_eq!(lab.all.renew(AT, "uuid:none", None, lab.now), None);
    assert!(!lab.all.cancel("uuid:none"));
    assert!(lab.all.cancel_at(AT, &sid));
    let (sid, _) = lab.add("192.168.1.10").unwrap();
    assert_eq!(lab.all.poll_timeout(lab.now), Some(lab.now + Duration::from_secs(3600)));
    lab.now += Duration::from_secs(3599);
    assert_eq!(lab.all.renew(AT, &sid, Some(1800), lab.now), Some(1800));
    lab.now += Duration::from_secs(1799);
    lab.all.expire(lab.now);
    assert_eq!(lab.all.len(), 1);
    lab.now += Duration::from_secs(1);
    lab.all.expire(lab.now);
    assert!(lab.all.is_empty());
}

#[test]
fn there_is_room_for_so_many_and_one_host_cannot_take_it_all_77_265() {
    let mut lab = Lab::new();
    for _ in 0..SUBSCRIPTIONS_PER_HOST {
        assert!(lab.add("192.168.1.10").is_some());
    }
    assert_eq!(lab.add("192.168.1.10"), None);
    for host in 0..SUBSCRIPTIONS_V6_MAX {
        assert!(lab.add(&format!("2001:db8::{host:x}")).is_some());
    }
    assert_eq!(lab.add("2001:db8::ffff"), None, "IPv6 is full");
    for _ in 0..SUBSCRIPTIONS_PER_HOST {
        assert!(lab.add("192.168.1.20").is_some());
    }
    assert_eq!(lab.all.len(), SUBSCRIPTIONS_MAX);
    assert_eq!(lab.add("192.168.1.30"), None, "all is full");
}

proptest! {
    #[test]
    fn what_was_told_last_is_what_is(
        steps in proptest::collection::vec((0..4u32, 0..4u32, 0..4u8), 1..40),
    ) {
        let mut lab = Lab::new();
        let sid = lab.begun();
        let mut told = std::collections::BTreeMap::new();
        let mut now = values("0", 0);
        for (address, count, outcome) in steps {
            now = values(&address.to_string(), count);
            lab.now += Duration::from_secs(u64::from(count));
            if let Some(event) = lab.event(&now) {
                let outcome = match outcome {
                    0 => Outcome::Unreachable,
                    1 => Outcome::Lost,
                    _ => Outcome::Delivered,
                };
                if outcome == Outcome::Delivered {
                    told.extend(event.values.clone());
                }
                lab.all.finish(&sid, event, outcome, lab.now);
            }
        }
        lab.now += RETRY_MAX;
        if let Some(event) = lab.event(&now) {
            told.extend(event.values);
        }
        prop_assert_eq!(told, now.into_iter().collect());
    }
}
