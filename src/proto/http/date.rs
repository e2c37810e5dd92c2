//! The one date format HTTP writes (RFC 9110 §5.6.7).

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The last second of the year 9999: the format has four digits for the year.
const LAST: u64 = 253_402_300_799;
const DAY: u64 = 86_400;

/// An IMF-fixdate, like `Sun, 06 Nov 1994 08:49:37 GMT`, for seconds since 1970. Later than the
/// year 9999 is written as its last second.
pub fn date(unix_seconds: u64) -> String {
    let seconds = unix_seconds.min(LAST);
    let (days, time) = (seconds / DAY, seconds % DAY);
    let (year, year_day) = year_of(days);
    let (month, month_day) = month_of(year, year_day);
    format!(
        "{}, {:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        name(&DAYS, days % 7),
        month_day + 1,
        name(&MONTHS, month),
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

/// The year of a day since 1970, and the day in it, from 0.
fn year_of(mut days: u64) -> (u64, u64) {
    // Whole cycles of 400 years first: the calendar repeats with them.
    const CYCLE: u64 = 400 * 365 + 97;
    let mut year = 1970 + days / CYCLE * 400;
    days %= CYCLE;
    while days >= length(year) {
        days -= length(year);
        year += 1;
    }
    (year, days)
}

/// The month of a day of the year, and the day in it, both from 0.
fn month_of(year: u64, mut days: u64) -> (u64, u64) {
    let february = length(year) - 337;
    for (month, length) in (0..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        if days < length {
            return (month, days);
        }
        days -= length;
    }
    (11, 30)
}

/// Days in a year.
fn length(year: u64) -> u64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    365 + u64::from(leap)
}

fn name(names: &[&'static str], index: u64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (2_147_483_648, "Tue, 19 Jan 2038 03:14:08 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }

    proptest! {
        #[test]
        fn dates_follow_each_other(day in 0u64..2_932_895) {
            let (a, b) = (date(day * 86_400), date((day + 1) * 86_400));
            prop_assert_eq!((a.len(), b.len()), (29, 29));
            prop_assert_ne!(a, b);
        }
    }
}
